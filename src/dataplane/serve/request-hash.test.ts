// The same request chooses the same endpoint, by what its route looks at; a cookie is made where it is asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxhash64 } from '../upstream/xxhash64.ts';
import { hashRequest } from './request-hash.ts';

const headOf = (headers: Readonly<Record<string, readonly string[]>>) => ({
  header: (name: string) => headers[name],
});
const USER = { kind: 'header', name: 'x-user' } as const;
const READ_COOKIE = { kind: 'cookie', name: 'sid', path: '' } as const;
const SET_COOKIE = { ...READ_COOKIE, path: '/shop', ttlMs: 90_500 } as const;
const hashText = (text: string): bigint => xxhash64(Buffer.from(text, 'latin1'));

test('a header is hashed as Envoy hashes it, several values in any order alike', () => {
  assert.equal(hashRequest([USER], headOf({ 'x-user': ['ann'] })).hash, hashText('ann'));
  assert.equal(hashRequest([USER], headOf({})).hash, undefined);
  const both = hashRequest([USER], headOf({ 'x-user': ['ann', 'bob'] })).hash;
  assert.equal(hashRequest([USER], headOf({ 'x-user': ['bob', 'ann'] })).hash, both);
  assert.notEqual(both, hashText('ann'));
});

test('a cookie is found among others, quoted or not, and never by a part of its name', () => {
  for (const line of ['sid=ann', 'a=b; sid=ann; c=d', ' sid = "ann" ', 'mysid=x; sid=ann']) {
    const { hash, setCookie } = hashRequest([SET_COOKIE], headOf({ cookie: [line] }));
    assert.equal(hash, hashText('ann'), line);
    assert.equal(setCookie, undefined);
  }
  for (const line of ['mysid=ann', 'sid', '']) {
    assert.equal(hashRequest([READ_COOKIE], headOf({ cookie: [line] })).hash, undefined, line);
  }
});

test('a cookie that is missing is made, and its value is hashed already', () => {
  const { hash, setCookie } = hashRequest([SET_COOKIE], headOf({}), () => 'fresh');
  assert.equal(hash, hashText('fresh'));
  assert.equal(setCookie, 'sid="fresh"; Max-Age=91; Path=/shop; HttpOnly');
  const session = hashRequest([{ ...SET_COOKIE, ttlMs: 0 }], headOf({}), () => 'x').setCookie;
  assert.equal(session, 'sid="x"; Path=/shop; HttpOnly');
  assert.equal(hashRequest([READ_COOKIE], headOf({})).setCookie, undefined, 'it is only read');
});

test('several policies count together, and a cookie beyond what a client sends is not looked for', () => {
  const head = headOf({ 'x-user': ['ann'], cookie: ['sid=ann'] });
  const both = hashRequest([USER, READ_COOKIE], head).hash;
  const ann = hashText('ann');
  assert.equal(both, (((ann << 1n) | (ann >> 63n)) & 0xffff_ffff_ffff_ffffn) ^ ann);
  const many = `${'a=b;'.repeat(400)}sid=ann`;
  assert.equal(hashRequest([READ_COOKIE], headOf({ cookie: [many] })).hash, undefined);
});
