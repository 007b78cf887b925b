import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RegistryObject } from '@weft/model/mesh/objects';
import {
  authorizationOf,
  peerAuthenticationOf,
  podOf,
  serviceOf,
  snapshotOf,
} from '../../../test/support/mesh-objects.ts';
import { withSupposedPods } from './supposed-pods.ts';

const web = { selector: { matchLabels: { app: 'web' } } };
const rules = [{ to: [{ operation: { ports: ['7070'] } }] }];

function supposed(objects: readonly RegistryObject[], other: readonly RegistryObject[] = []) {
  const before = new Set(objects.filter(({ kind }) => kind === 'Pod'));
  const whole = withSupposedPods(snapshotOf(objects), 'weft-system', snapshotOf(other));
  return [...whole.objects.values()]
    .filter((object) => object.kind === 'Pod' && !before.has(object))
    .map((object) =>
      object.kind === 'Pod'
        ? `${object.meta.namespace}/${object.meta.name}:${object.ports.map(({ port }) => port).join()}`
        : '',
    );
}

const CASES: readonly (readonly [string, readonly RegistryObject[], readonly string[]])[] = [
  [
    'none where there are Pods',
    [podOf('web'), serviceOf('web'), authorizationOf({ ...web, rules })],
    [],
  ],
  ["a Service's, at its target port", [serviceOf('web')], ['shop/(app=web):8080']],
  [
    "a policy's, at the ports that it names",
    [authorizationOf({ ...web, rules })],
    ['shop/(app=web):8080,7070'],
  ],
  [
    'one for a namespace that has a policy for all',
    [authorizationOf({ rules: [{}] })],
    ['shop/(any):8080'],
  ],
  ['none for the root namespace', [authorizationOf({ rules: [{}] }, 'p', 'weft-system')], []],
  [
    'one for two policies of one selector',
    [authorizationOf(web), authorizationOf(web, 'q')],
    ['shop/(app=web):8080'],
  ],
  ["a PeerAuthentication's", [peerAuthenticationOf('STRICT')], ['shop/(any):8080']],
];
for (const [claim, objects, expected] of CASES) {
  test(`withSupposedPods() supposes ${claim}`, () => {
    assert.deepEqual(supposed(objects), expected);
  });
}

test('withSupposedPods() supposes what another version names, so that both have it', () => {
  assert.deepEqual(supposed([], [authorizationOf(web)]), ['shop/(app=web):8080']);
});
