// A CUSTOM policy that holds for a TCP port is said to refuse there, one that names HTTP ports is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorizationOf, podOf } from '../../../../test/support/mesh-objects.ts';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { compileMesh } from '../compile-mesh.ts';

const trustDomain = parseTrustDomain('cluster.local');
const POD = podOf('web', {
  ports: [
    { name: 'http', port: 8080 },
    { name: 'tcp-lines', port: 7070 },
  ],
});

function codesOf(rule: object, action = 'CUSTOM'): readonly string[] {
  assert.ok(trustDomain !== undefined);
  const provider = action === 'CUSTOM' ? { provider: { name: 'a' } } : {};
  const policy = authorizationOf({ action, ...provider, rules: [rule] });
  const objects = new Map<string, RegistryObject>([
    ['pod', POD],
    ['policy', policy],
  ]);
  const identity = { trustDomain, rootNamespace: 'weft-system' };
  return compileMesh({ revision: 1, objects }, identity).problems.map(({ code }) => code);
}

const onPort = (port: string) => ({ to: [{ operation: { ports: [port] } }] });

test('customProblems() warns of a rule that holds for a TCP port', () => {
  assert.ok(codesOf({}).includes('custom-on-tcp'));
  assert.ok(codesOf(onPort('7070')).includes('custom-on-tcp'));
});

test('customProblems() says nothing of rules for HTTP ports, nor of other actions', () => {
  assert.ok(!codesOf(onPort('8080')).includes('custom-on-tcp'));
  assert.ok(!codesOf({}, 'DENY').includes('custom-on-tcp'));
});

test('findAuthorizers() names the provider that is missing', () => {
  assert.ok(codesOf(onPort('8080')).includes('missing-provider'));
});
