// Which bindings may read which places of which source, and what an operator may set up.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CredentialSourceRef } from '@weft/model/credentials/types';
import { systemClock } from '@weft/model/clock';
import { createMemorySource } from '../testing/credential-rig.ts';
import { openConfiguredSources } from './configured-sources.ts';
import { parseSourceConfigs } from './source-config.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-sources-'));
process.on('exit', () => rmSync(directory, { recursive: true }));

const folder = (more: object = {}): object => ({
  name: 'files',
  namespaces: ['shop'],
  folder: { path: directory },
  ...more,
});
const open = async (...sources: readonly object[]) => {
  const parsed = parseSourceConfigs({ sources });
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const secrets = createMemorySource();
  return openConfiguredSources({ configs: parsed.value, secrets, clock: systemClock });
};
const named = (path: string, source = 'files'): CredentialSourceRef => ({
  kind: 'named',
  source,
  path,
});

const FOUND: readonly (readonly [
  string,
  object,
  string,
  CredentialSourceRef,
  string | undefined,
])[] = [
  ['its own part of a source', {}, 'shop', named('db'), 'shop/db'],
  ["nothing of a source that is others'", {}, 'pay', named('db'), undefined],
  [
    'its own part of a source that is for all',
    { namespaces: ['*'] },
    'pay',
    named('shop/db'),
    'pay/shop/db',
  ],
  ['a prefix first', { prefix: 'weft/mesh' }, 'shop', named('db'), 'weft/mesh/shop/db'],
  ['any place of a source that is shared', { layout: 'shared' }, 'shop', named('db'), 'db'],
  ['nothing of a source that is not there', {}, 'shop', named('db', 'other'), undefined],
  ['Secrets of its own namespace', {}, 'shop', { kind: 'secret', name: 'pay-db' }, 'shop/pay-db'],
];

for (const [what, more, namespace, ref, place] of FOUND) {
  test(`a binding reads ${what}`, async () => {
    await using sources = await open(folder(more));
    const found = sources.find(namespace, ref);
    assert.equal(found.ok ? found.place : undefined, place, JSON.stringify(found));
  });
}

test('without a cluster a Secret is nowhere', async () => {
  await using sources = await openConfiguredSources({ configs: [], clock: systemClock });
  const found = sources.find('shop', { kind: 'secret', name: 'db' });
  assert.match(found.ok ? '' : found.reason, /no cluster/);
});

test('openConfiguredSources() says which folder is not there', async () => {
  await assert.rejects(open(folder({ folder: { path: '/none/such' } })), /\/none\/such/);
});

const vault = (more: object): object => ({
  name: 'vault',
  namespaces: ['shop'],
  vault: { address: 'https://vault.example:8200', ...more },
});

const REFUSED: readonly (readonly [string, object, string, string])[] = [
  ['for nobody', folder({ namespaces: [] }), 'sources[0].namespaces', 'no-namespaces'],
  ['for nobody said', folder({ namespaces: undefined }), 'sources[0].namespaces', 'no-namespaces'],
  ['that is nowhere', { name: 'x', namespaces: ['*'] }, 'sources[0]', 'no-source'],
  ['with a misspelt field', folder({ namespace: 'x' }), 'sources[0].namespace', 'unknown-field'],
  ['in a relative folder', folder({ folder: { path: 'x' } }), 'sources[0].folder.path', 'bad-path'],
  ['that leads up', folder({ prefix: '../x' }), 'sources[0].prefix', 'bad-path'],
  [
    'without TLS',
    vault({ address: 'http://vault.example:8200' }),
    'sources[0].vault.address',
    'no-tls',
  ],
  [
    'at an address with a user',
    vault({ address: 'https://a@b:8200' }),
    'sources[0].vault.address',
    'bad-address',
  ],
  [
    'with a path in its address',
    vault({ address: 'https://b/v1' }),
    'sources[0].vault.address',
    'bad-address',
  ],
  ['with a mount that leads up', vault({ mount: '../sys' }), 'sources[0].vault.mount', 'bad-path'],
];
for (const [what, source, field, code] of REFUSED) {
  test(`no source is set up ${what}`, () => {
    const parsed = parseSourceConfigs({ sources: [source] });
    const found = parsed.problems.map((problem) => `${problem.field} ${problem.code}`);
    assert.ok(!parsed.ok && found.includes(`${field} ${code}`), found.join('; '));
  });
}

test('one name is one source, and http goes to loopback', () => {
  assert.equal(parseSourceConfigs({ sources: [folder(), folder()] }).ok, false);
  assert.equal(
    parseSourceConfigs({ sources: [vault({ address: 'http://127.0.0.1:8200' })] }).ok,
    true,
  );
  assert.equal(parseSourceConfigs({}).ok, false);
});
