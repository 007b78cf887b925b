// What is told of Pods without a proxy: which ports are their agent's, and that nobody keeps their calls in.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { PodObject, RegistryObject } from '@weft/model/mesh/objects';
import { meshConfigOf, podOf, snapshotOf } from '../../../../test/support/mesh-objects.ts';
import { compileMesh } from '../compile-mesh.ts';
import type { Membership } from '../mesh-settings.ts';

const WITHOUT_PROXY = ['weft.dev/proxy', 'none'] as const;
const INJECTED = ['weft.dev/injected', '{}'] as const;

function annotated(pod: PodObject, ...annotations: readonly (readonly [string, string])[]) {
  return { ...pod, meta: { ...pod.meta, annotations: new Map(annotations) } };
}

const closed = meshConfigOf({
  outboundTrafficPolicyByNamespace: new Map([['shop', 'REGISTRY_ONLY']]),
});

function problemsOf(membership: Membership, ...objects: readonly RegistryObject[]) {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const mesh = compileMesh(snapshotOf(objects), {
    trustDomain,
    rootNamespace: 'weft-system',
    membership,
  });
  return mesh.problems.flatMap(({ code, message, cure, object }) =>
    object?.kind === 'Pod' ? [[code, message, cure] as const] : [],
  );
}

test('without a proxy the ports of interception are the application’s, and those of the agent are not', () => {
  const ports = [15_001, 15_006, 15_021].map((port) => ({ name: '', port }));
  const pod = podOf('web', { ports });
  const [proxied] = problemsOf('injected', annotated(pod, INJECTED));
  assert.match(proxied?.[1] ?? '', /has port 15001, 15006, 15021, which/);
  const [agent] = problemsOf('injected', annotated(pod, INJECTED, WITHOUT_PROXY));
  assert.match(agent?.[1] ?? '', /has port 15021, which/);
  assert.equal(agent?.[2], 'move the application off 15000, 15020, 15021');
});

test('that nobody keeps the calls of a Pod without a proxy in is told where they are to be kept in', () => {
  const pod = annotated(podOf('web'), INJECTED, WITHOUT_PROXY);
  const codes = (...objects: readonly RegistryObject[]) =>
    problemsOf('injected', ...objects).map(([code]) => code);
  assert.deepEqual(codes(pod, closed), ['open-calls']);
  assert.deepEqual(codes(pod), [], 'nothing is asked of it');
  assert.deepEqual(codes(annotated(podOf('web'), INJECTED), closed), [], 'its proxy does');
  assert.deepEqual(codes(annotated(podOf('web'), WITHOUT_PROXY), closed), [], 'it is not ours');
  const elsewhere = { ...pod, meta: { ...pod.meta, namespace: 'other' } };
  assert.deepEqual(codes(elsewhere, closed), []);
});
