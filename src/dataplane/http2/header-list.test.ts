// What is taken out of a head, and what stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editHeaders, readHead } from './header-list.ts';

const raw = [
  ':method',
  'GET',
  ':path',
  '/',
  ':authority',
  'a',
  'x-user',
  'root',
  'x_user',
  'root',
  'x-us_er',
  'kept',
  'cookie',
  'a=b',
];

test('a header is taken out in every spelling that an application may take for it', () => {
  const reading = readHead(raw);
  assert.ok(reading.ok);
  const isRemoved = (name: string): boolean => name === 'x-user';
  const edited = editHeaders(reading.head, { path: '/b', isRemoved, added: ['x-user', 'ann'] });
  assert.deepEqual(edited.slice(0, 6), [':method', 'GET', ':path', '/b', ':authority', 'a']);
  assert.deepEqual(edited.slice(6), ['x-us_er', 'kept', 'cookie', 'a=b', 'x-user', 'ann']);
});
