// Credentials from Vault: logged in by a JWT, followed by their metadata, and taken away when they are deleted or forbidden.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { opensslCa } from '@weft/ca/testing/openssl-ca';
import { type Clock, systemClock } from '@weft/model/clock';
import {
  startVaultServer,
  type VaultServer,
  type VaultServerOptions,
} from '../../../../../test/support/vault-server.ts';
import { readingsOf } from '../../testing/readings.ts';
import { createVaultHttp } from './vault-http.ts';
import { createVaultSession, type VaultSession } from './vault-session.ts';
import { createVaultSource } from './vault-source.ts';

interface Rig extends AsyncDisposable {
  readonly vault: VaultServer;
  readonly session: VaultSession;
  readonly source: ReturnType<typeof createVaultSource>;
  writeJwt(jwt: string): void;
}

interface RigOptions extends VaultServerOptions {
  readonly clock?: Clock;
  readonly ca?: string;
}

async function createRig(options: RigOptions = {}): Promise<Rig> {
  const { clock = systemClock, ca, ...server } = options;
  await using stack = new AsyncDisposableStack();
  const vault = stack.use(await startVaultServer(server));
  const directory = mkdtempSync(join(tmpdir(), 'weft-vault-'));
  stack.defer(() => rmSync(directory, { recursive: true }));
  const jwtFile = join(directory, 'token');
  writeFileSync(jwtFile, 'jwt-1\n');
  const http = stack.use(
    createVaultHttp({
      server: { isTls: server.tls !== undefined, host: '127.0.0.1', port: vault.port },
      ca,
      namespace: undefined,
    }),
  );
  const session = createVaultSession({
    http,
    authMount: 'kubernetes',
    role: 'weft',
    jwtFile,
    clock,
  });
  const source = stack.use(
    createVaultSource({
      session,
      mount: 'secret',
      description: 'vault',
      clock: systemClock,
      pollMs: 10,
    }),
  );
  const owned = stack.move();
  return {
    vault,
    session,
    source,
    writeJwt: (jwt) => writeFileSync(jwtFile, jwt),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('follow() tells the values of a place, each new version, and that it was deleted', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { username: 'web', password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  const first = await readings.next();
  assert.deepEqual(first.texts, { username: 'web', password: 'one' });
  rig.vault.put('shop/db', { username: 'web', password: 'two' });
  const second = await readings.next();
  assert.deepEqual(second.texts, { username: 'web', password: 'two' });
  assert.notEqual(first.version, second.version);
  rig.vault.deleteNewest('shop/db');
  assert.equal((await readings.next()).kind, 'gone');
});

test('follow() reads values once for each version, and not at each look', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  await readings.next();
  const { asked } = rig.vault;
  await until(() => asked.filter((one) => one.includes('/metadata/')).length >= 5);
  assert.equal(asked.filter((one) => one.includes('/data/')).length, 1);
});

test('follow() works where values may be read and metadata may not', async () => {
  await using rig = await createRig();
  rig.vault.forbid('/v1/secret/metadata/');
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
  rig.vault.put('shop/db', { password: 'two' });
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
});

test('follow() takes away what its role may not read any more', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  await readings.next();
  rig.vault.forbid('/v1/secret/');
  assert.equal((await readings.next()).kind, 'gone');
  rig.vault.allow('/v1/secret/');
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
});

test('follow() makes no token after the other for a place that its role may not read', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { password: 'one' });
  rig.vault.forbid('/v1/secret/');
  using readings = readingsOf(rig.source, 'shop/db');
  assert.equal((await readings.next()).kind, 'gone');
  const { asked } = rig.vault;
  await until(() => asked.filter((one) => one.includes('/metadata/')).length >= 5);
  assert.equal(asked.filter((one) => one.endsWith('/login')).length, 1);
});

test('follow() takes nothing away when token after token is revoked', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  await readings.next();
  rig.vault.revokeTokens();
  const { asked, tokens } = rig.vault;
  await until(() => tokens.size === 1);
  rig.vault.revokeTokens();
  assert.equal((await readings.next()).kind, 'unavailable');
  assert.equal(asked.filter((one) => one.endsWith('/login')).length, 2);
});

test('follow() logs in again when its token was revoked, with the JWT of now', async () => {
  const clock = createTurnableClock();
  await using rig = await createRig({ clock });
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  await readings.next();
  rig.vault.expectJwt('jwt-2');
  rig.writeJwt('jwt-2');
  clock.turn(5_000);
  rig.vault.revokeTokens();
  rig.vault.put('shop/db', { password: 'two' });
  const told = await readings.next();
  assert.deepEqual(told.texts, { password: 'two' });
});

test('follow() takes nothing away while the server is sealed', async () => {
  await using rig = await createRig();
  rig.vault.put('shop/db', { password: 'one' });
  using readings = readingsOf(rig.source, 'shop/db');
  await readings.next();
  rig.vault.seal(true);
  const told = await readings.next();
  assert.deepEqual([told.kind, told.reason], ['unavailable', 'it is sealed or in maintenance']);
  rig.vault.seal(false);
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
});

test('a token is renewed while it lives, and revoked at the end', async () => {
  const clock = createTurnableClock();
  const rig = await createRig({ clock, leaseSeconds: 100 });
  rig.vault.put('shop/db', { password: 'one' });
  const signal = AbortSignal.timeout(10_000);
  await rig.session.get('secret/metadata/shop/db', signal);
  clock.turn(70_000);
  await rig.session.get('secret/metadata/shop/db', signal);
  const { asked, tokens } = rig.vault;
  assert.ok(asked.includes('POST /v1/auth/token/renew-self'));
  assert.equal(asked.filter((one) => one.endsWith('/login')).length, 1);
  assert.equal(tokens.size, 1);
  await rig[Symbol.asyncDispose]();
  assert.equal(tokens.size, 0);
});

test('a login that is refused is tried again ever more seldom, and its JWT is in no reason', async () => {
  const clock = createTurnableClock();
  await using rig = await createRig({ clock, jwt: 'another-jwt' });
  const signal = AbortSignal.timeout(10_000);
  for (let at = 0; at < 10; at++) {
    const answer = await rig.session.get('secret/metadata/shop/db', signal);
    assert.equal(answer.ok, false);
    assert.doesNotMatch(answer.ok ? '' : answer.reason, /jwt-1/);
    clock.turn(1_000);
  }
  assert.equal(rig.vault.asked.filter((one) => one.endsWith('/login')).length, 3);
});

test('a server whose certificate nobody vouches for is told no JWT', async () => {
  const leaf = opensslCa({ extensions: ['subjectAltName=IP:127.0.0.1'] });
  const tls = { key: leaf.keyPem, cert: leaf.certificatePem };
  await using strange = await createRig({ tls });
  const refused = await strange.session.get('secret/metadata/x', AbortSignal.timeout(10_000));
  assert.equal(refused.ok, false);
  assert.deepEqual(strange.vault.asked, []);
  await using known = await createRig({ tls, ca: leaf.certificatePem });
  known.vault.put('x', { a: 'b' });
  using readings = readingsOf(known.source, 'x');
  assert.deepEqual((await readings.next()).texts, { a: 'b' });
});

async function until(isSo: () => boolean): Promise<void> {
  const { eventually } = await import('../../../../../test/support/lab-wait.ts');
  await eventually(isSo, { what: 'it' });
}
