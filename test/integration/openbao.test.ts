// With a real OpenBao: credentials of its KV v2 engine are read with the rights that docs/credentials.md names, followed,
// taken away when they are deleted or forbidden, and kept while it is sealed.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock as clock } from '@weft/model/clock';
import { openConfiguredSources } from '@weft/controlplane/credentials/sources/configured-sources';
import { parseSourceConfigs } from '@weft/controlplane/credentials/sources/source-config';
import { type Readings, readingsOf } from '@weft/controlplane/credentials/testing/readings';
import { type Openbao, openbaoBinary, startOpenbao } from '../support/openbao.ts';
import { CREDENTIAL_MS } from '../support/lab-wait.ts';

const binary = await openbaoBinary();
const only = { skip: 'missing' in binary ? binary.missing : false };
const POLICY = /```hcl\n([^`]*)```/.exec(
  readFileSync(new URL('../../docs/credentials.md', import.meta.url), 'utf8'),
)?.[1];

const owned = new AsyncDisposableStack();
let bao: Openbao;
let jwtFile: string;

before(async () => {
  if ('missing' in binary) return;
  bao = owned.use(await startOpenbao(binary.path));
  const directory = mkdtempSync(join(tmpdir(), 'weft-bao-test-'));
  owned.defer(() => rmSync(directory, { recursive: true }));
  jwtFile = join(directory, 'token');
  writeFileSync(jwtFile, bao.jwt('weft'), { mode: 0o600 });
  await allow();
  await bao.ask('POST', 'auth/jwt/role/weft', {
    role_type: 'jwt',
    bound_audiences: ['weft'],
    user_claim: 'sub',
    token_policies: ['weft'],
    // Renewed again and again while the tests run.
    token_ttl: '4s',
    token_max_ttl: '1h',
  });
});
after(() => owned.disposeAsync());

const allow = (policy: string = POLICY ?? ''): Promise<unknown> =>
  bao.ask('POST', 'sys/policies/acl/weft', { policy });
const put = (data: object): Promise<unknown> =>
  bao.ask('POST', 'secret/data/weft/shop/db', { data });

interface Following extends AsyncDisposable {
  readonly readings: Readings;
}

/** As a control plane reads what a binding of namespace shop names. */
async function follow(): Promise<Following> {
  const parsed = parseSourceConfigs({
    sources: [
      {
        name: 'bao',
        namespaces: ['shop'],
        prefix: 'weft',
        vault: {
          address: bao.address,
          caFile: bao.caFile,
          auth: { mount: 'jwt', role: 'weft', jwtFile },
        },
      },
    ],
  });
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const sources = await openConfiguredSources({ configs: parsed.value, clock });
  const found = sources.find('shop', { kind: 'named', source: 'bao', path: 'db' });
  assert.ok(found.ok);
  const readings = readingsOf(found.source, found.place);
  return {
    readings,
    async [Symbol.asyncDispose]() {
      readings[Symbol.dispose]();
      await sources[Symbol.asyncDispose]();
    },
  };
}

test('a value, its rotation in time, its deletion and its return', only, async () => {
  await put({ password: 'one' });
  await using following = await follow();
  const { readings } = following;
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
  for (const password of ['two', 'three']) {
    const startedAt = performance.now();
    await put({ password });
    assert.deepEqual((await readings.next()).texts, { password });
    assert.ok(performance.now() - startedAt < CREDENTIAL_MS);
  }
  await bao.ask('DELETE', 'secret/data/weft/shop/db');
  assert.equal((await readings.next()).kind, 'gone');
  await bao.ask('POST', 'secret/undelete/weft/shop/db', { versions: [3] });
  assert.deepEqual((await readings.next()).texts, { password: 'three' });
  await bao.ask('DELETE', 'secret/metadata/weft/shop/db');
  assert.equal((await readings.next()).kind, 'gone');
});

test('a right that is taken from its role takes the credential away', only, async () => {
  await put({ password: 'one' });
  await using following = await follow();
  const { readings } = following;
  assert.equal((await readings.next()).kind, 'values');
  await allow('path "secret/data/other/*" { capabilities = ["read"] }');
  const told = await readings.next();
  assert.deepEqual([told.kind, told.reason], ['gone', 'its role may not read this place']);
  await allow();
  assert.equal((await readings.next()).kind, 'values');
});

test('values alone can be read where metadata cannot', only, async () => {
  await put({ password: 'one' });
  await allow('path "secret/data/weft/*" { capabilities = ["read"] }');
  await using following = await follow();
  const { readings } = following;
  assert.deepEqual((await readings.next()).texts, { password: 'one' });
  await put({ password: 'two' });
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
  await allow();
});

test('a token that was revoked is replaced; a sealed server takes nothing away', only, async () => {
  await put({ password: 'one' });
  await using following = await follow();
  const { readings } = following;
  assert.equal((await readings.next()).kind, 'values');
  await bao.ask('POST', 'sys/leases/revoke-prefix/auth/jwt/login');
  await put({ password: 'two' });
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
  await bao.seal();
  assert.equal((await readings.next()).kind, 'unavailable');
  await bao.unseal();
  assert.deepEqual((await readings.next()).texts, { password: 'two' });
});

test('a JWT that its role does not take is no login, and is in no reason', only, async () => {
  await put({ password: 'one' });
  const good = readFileSync(jwtFile, 'utf8');
  writeFileSync(jwtFile, `${good}x`);
  await using following = await follow();
  const told = await following.readings.next();
  writeFileSync(jwtFile, good);
  assert.equal(told.kind, 'unavailable');
  assert.match(told.reason ?? '', /no login as role weft at auth\/jwt/);
  assert.ok(!(told.reason ?? '').includes(good.slice(0, 20)));
});
