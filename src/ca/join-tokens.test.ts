import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createJoinToken, openJoinTokens } from './join-tokens.ts';
import { brokenDisk } from './testing/broken-disk.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';

const shop = { namespace: 'shop', serviceAccount: 'web' };

async function prepared(t: TestContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-tokens-'));
  t.after(() => rm(stateDir, { recursive: true }));
  const clock = createTurnableClock();
  const created = await createJoinToken({ stateDir, ...shop, ttlMs: 60_000, clock });
  return { stateDir, clock, created, tokens: await openJoinTokens({ stateDir, clock }) };
}

test('consume() accepts a token once, and check() uses nothing up', async (t) => {
  const { tokens, created } = await prepared(t);
  assert.deepEqual(await tokens.check(created.token), { ok: true, id: created.id, identity: shop });
  assert.deepEqual(await tokens.consume(created.token), {
    ok: true,
    id: created.id,
    identity: shop,
  });
  const again = await tokens.consume(created.token);
  assert.ok(!again.ok && again.reasonCode === 'token-used');
});

test('consume() tells a used token from an unknown one after a restart', async (t) => {
  const { stateDir, clock, created, tokens } = await prepared(t);
  await tokens.consume(created.token);
  const reopened = await openJoinTokens({ stateDir, clock });
  const again = await reopened.consume(created.token);
  assert.ok(!again.ok && again.reasonCode === 'token-used');
});

test('consume() lets one of many concurrent callers win', async (t) => {
  const { stateDir, clock, created } = await prepared(t);
  const several = await Promise.all(
    Array.from({ length: 20 }, () => openJoinTokens({ stateDir, clock })),
  );
  const outcomes = await Promise.all(several.map((tokens) => tokens.consume(created.token)));
  assert.equal(outcomes.filter(({ ok }) => ok).length, 1);
  for (const outcome of outcomes) assert.ok(outcome.ok || outcome.reasonCode === 'token-used');
});

test('consume() refuses everything that is not exactly the token', async (t) => {
  const { tokens, created } = await prepared(t);
  const [prefix, id, secret] = created.token.split('.');
  const otherSecret = `${secret!.startsWith('A') ? 'B' : 'A'}${secret!.slice(1)}`;
  const otherId = `${id!.startsWith('A') ? 'B' : 'A'}${id!.slice(1)}`;
  for (const [token, reasonCode] of [
    ['', 'token-malformed'],
    ['x'.repeat(100_000), 'token-malformed'],
    [`${prefix}.${id}`, 'token-malformed'],
    [`weft-jain.${id}.${secret}`, 'token-malformed'],
    [`${prefix}.${'../'.repeat(7)}a.${secret}`, 'token-malformed'],
    [`${prefix}.${'/etc/passwd'.padEnd(22, 'x')}.${secret}`, 'token-malformed'],
    [`${prefix}.${otherId}.${secret}`, 'token-unknown'],
    [`${prefix}.${id}.${otherSecret}`, 'token-wrong'],
  ] as const) {
    const outcome = await tokens.consume(token);
    assert.ok(!outcome.ok && outcome.reasonCode === reasonCode, token.slice(0, 80));
  }
  assert.ok((await tokens.consume(created.token)).ok, 'none of them used the token up');
});

test('consume() refuses a token from the moment that it expires', async (t) => {
  const { tokens, clock, created } = await prepared(t);
  clock.turn(60_000);
  const outcome = await tokens.consume(created.token);
  assert.ok(!outcome.ok && outcome.reasonCode === 'token-expired');
});

test('a failing disk refuses a token instead of accepting it', async (t) => {
  const { stateDir, clock, created } = await prepared(t);
  const disk = brokenDisk('rename', 'EIO');
  const tokens = await openJoinTokens({ stateDir, clock, disk });
  const outcome = await tokens.consume(created.token);
  assert.ok(!outcome.ok && outcome.reasonCode === 'token-store-failed');
});

test('createJoinToken() keeps a hash for its owner alone, and never the secret', async (t) => {
  const { stateDir, created } = await prepared(t);
  const path = join(stateDir, 'tokens', `${created.id}.json`);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(stateDir, 'tokens'))).mode & 0o777, 0o700);
  const secret = created.token.split('.')[2]!;
  assert.ok(!(await readFile(path, 'utf8')).includes(secret));
});

test('createJoinToken() sweeps what has expired', async (t) => {
  const { stateDir, clock, tokens, created } = await prepared(t);
  await tokens.consume(created.token);
  clock.turn(60_000);
  const { id } = await createJoinToken({ stateDir, ...shop, clock });
  assert.deepEqual(await readdir(join(stateDir, 'tokens')), [`${id}.json`]);
});

test('createJoinToken() leaves nothing behind when the disk is full', async (t) => {
  const { stateDir, clock, created } = await prepared(t);
  const disk = brokenDisk('sync', 'ENOSPC');
  await assert.rejects(createJoinToken({ stateDir, ...shop, clock, disk }), { code: 'ENOSPC' });
  assert.deepEqual(await readdir(join(stateDir, 'tokens')), [`${created.id}.json`]);
});

test('createJoinToken() refuses names and lives that are not allowed', async (t) => {
  const { stateDir } = await prepared(t);
  for (const wrong of [
    { namespace: 'Shop' },
    { namespace: '../x' },
    { serviceAccount: '' },
    { ttlMs: 0 },
    { ttlMs: Number.NaN },
    { ttlMs: 700_000_000 },
  ]) {
    await assert.rejects(createJoinToken({ stateDir, ...shop, ...wrong }), RangeError);
  }
});

test('openJoinTokens() refuses a directory that others may enter', async (t) => {
  const { stateDir } = await prepared(t);
  await chmod(join(stateDir, 'tokens'), 0o755);
  await assert.rejects(openJoinTokens({ stateDir }), /mode is 755.*chmod 700/);
});

test('check() refuses a damaged token file by its name', async (t) => {
  const { stateDir, created, tokens } = await prepared(t);
  const path = join(stateDir, 'tokens', `${created.id}.json`);
  await writeFile(path, (await readFile(path, 'utf8')).slice(0, 40));
  const outcome = await tokens.check(created.token);
  assert.ok(!outcome.ok && outcome.reasonCode === 'token-store-failed');
  assert.ok(outcome.reason.includes(path));
});
