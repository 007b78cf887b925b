import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import { DEFAULT_MESH_CONFIG, type MeshConfig } from '@weft/model/mesh/config';
import { compileSettings } from './mesh-settings.ts';

const trustDomain = parseTrustDomain('cluster.local');

function settingsOf(...configs: readonly Partial<MeshConfig>[]) {
  assert.ok(trustDomain !== undefined);
  const objects = configs.map((config, index) => ({
    kind: 'MeshConfig' as const,
    name: `config-${index}`,
    config: { ...DEFAULT_MESH_CONFIG, ...config },
  }));
  return compileSettings(objects, { trustDomain, rootNamespace: 'weft-system' });
}

test('compileSettings() has the defaults when nothing is said', () => {
  const { settings, problems } = settingsOf();
  assert.deepEqual(settings, {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    rootNamespace: 'weft-system',
    clusterDomain: 'cluster.local',
    pathNormalization: 'BASE',
    ambiguousPaths: 'NORMALIZE',
    outboundTrafficPolicy: 'ALLOW_ANY',
    extensionProviders: [],
    trustedHops: 0,
    jwksAllowedNetworks: [],
  });
  assert.deepEqual(problems, []);
});

test('compileSettings() takes of several configurations the strictest of each setting, and says so', () => {
  const { settings, problems } = settingsOf(
    { pathNormalization: 'MERGE_SLASHES', trustedHops: 2, trustDomainAliases: ['a', 'b'] },
    { outboundTrafficPolicy: 'REGISTRY_ONLY', trustedHops: 1, trustDomainAliases: ['b', 'c'] },
  );
  assert.equal(settings.pathNormalization, 'MERGE_SLASHES');
  assert.equal(settings.outboundTrafficPolicy, 'REGISTRY_ONLY');
  assert.equal(settings.trustedHops, 1);
  assert.deepEqual(settings.trustDomainAliases, ['b']);
  assert.deepEqual(
    problems.map(({ code, severity }) => [code, severity]),
    [['several-mesh-configs', 'error']],
  );
});

test('compileSettings() accepts no alias that is no trust domain', () => {
  const { settings, problems } = settingsOf({
    trustDomainAliases: ['old.example', '', 'spiffe://x', 'A', '*', 'cluster.local'],
  });
  assert.deepEqual(settings.trustDomainAliases, ['old.example']);
  assert.equal(problems.length, 4);
});
