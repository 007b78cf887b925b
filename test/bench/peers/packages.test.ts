import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCommand, installPackages, whyMissing } from './packages.ts';

test('findCommand() finds what is there, and says when nothing is', async () => {
  assert.match((await findCommand('sh')) ?? '', /\/sh$/);
  assert.equal(await findCommand('no-such-command-at-all'), undefined);
});

test('whyMissing() names the package that brings a command', () => {
  assert.match(whyMissing('h2load'), /no h2load \(package nghttp2-client /);
});

test('installPackages() does nothing where nothing of what it knows is missing', async () => {
  const said: string[] = [];
  await installPackages(['sh', 'no-such-command-at-all'], (what) => said.push(what));
  assert.deepEqual(said, []);
});
