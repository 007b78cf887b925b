// Which federations hold: none of our own name, none under an alias, none outside the root namespace, and never two of one name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_MESH_CONFIG } from '@weft/model/mesh/config';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import { parseTrustDomain } from '@weft/model/identity';
import { compileSettings } from './mesh-settings.ts';

const own = parseTrustDomain('mesh.example');
assert.ok(own !== undefined);
const identity = { trustDomain: own, rootNamespace: 'weft-system' };

function federation(
  trustDomain: string,
  { namespace = 'weft-system', name = trustDomain } = {},
): FederatedTrustDomain {
  const parsed = parseFederatedTrustDomain({
    apiVersion: 'security.weft.dev/v1',
    kind: 'FederatedTrustDomain',
    metadata: { name, namespace },
    spec: { trustDomain, bundleEndpoint: { url: 'https://a.example/b', profile: 'https_web' } },
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

function compile(federated: readonly FederatedTrustDomain[], aliases: readonly string[] = []) {
  const config = { ...DEFAULT_MESH_CONFIG, trustDomainAliases: aliases };
  const configs = [{ kind: 'MeshConfig' as const, name: 'mesh', config }];
  return compileSettings(configs, identity, federated);
}

test('compileSettings() takes trust domains of others, sorted, and says nothing where there are none', () => {
  const { settings, federations, problems } = compile([federation('b.test'), federation('a.test')]);
  assert.deepEqual(settings.federatedTrustDomains, ['a.test', 'b.test']);
  assert.deepEqual(
    federations.map(({ trustDomain }) => trustDomain),
    ['a.test', 'b.test'],
  );
  assert.deepEqual(problems, []);
  assert.ok(!('federatedTrustDomains' in compile([]).settings));
});

const REFUSED: readonly (readonly [string, readonly FederatedTrustDomain[], string])[] = [
  ['our own trust domain', [federation('mesh.example')], 'own-trust-domain'],
  ['an alias of ours', [federation('old.example')], 'own-trust-domain'],
  ['the name that policies mean ourselves by', [federation('cluster.local')], 'own-trust-domain'],
  [
    'another namespace than the root',
    [federation('a.test', { namespace: 'shop' })],
    'not-in-root-namespace',
  ],
  [
    'two objects of one trust domain',
    [federation('a.test', { name: 'x' }), federation('a.test', { name: 'y' })],
    'several-federations',
  ],
];
for (const [claim, federated, code] of REFUSED) {
  test(`compileSettings() federates with nobody by ${claim}`, () => {
    const { settings, federations, problems } = compile(federated, ['old.example']);
    assert.equal(settings.federatedTrustDomains, undefined);
    assert.deepEqual(federations, []);
    assert.deepEqual(
      problems.map((problem) => [problem.code, problem.severity, problem.object?.kind]),
      federated.map(() => [code, 'error', 'FederatedTrustDomain']),
    );
  });
}

test('one outside the root namespace does not take the place of the one inside', () => {
  const { settings } = compile([federation('a.test'), federation('a.test', { namespace: 'shop' })]);
  assert.deepEqual(settings.federatedTrustDomains, ['a.test']);
});
