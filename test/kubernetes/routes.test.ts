// Routes of a real API server are told how they stand, as Gateway API's schema of a status asks for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMeshViews } from '@weft/controlplane/compile/mesh-views';
import { RouteStatusWriter } from '@weft/controlplane/kubernetes/route-status-writer';
import { openKubernetesSource } from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { objectAt } from '@weft/kube/object-fields';
import { resource } from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { installCrds } from '../support/kube-objects.ts';
import { kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const log = pino({ level: 'silent' });
const ROUTES = resource('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes', 'namespaced');

/** Of the shape of Gateway API's own: what a status must have, and what it may look like. */
const CRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: { api-approved.kubernetes.io: "unapproved, test" }
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: { kind: HTTPRoute, plural: httproutes, singular: httproute }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: { type: object, x-kubernetes-preserve-unknown-fields: true }
          status:
            type: object
            required: [parents]
            properties:
              parents:
                type: array
                maxItems: 32
                items:
                  type: object
                  required: [conditions, controllerName, parentRef]
                  properties:
                    controllerName: { type: string, pattern: '^[a-z0-9.-]+/[A-Za-z0-9/._~%!$&''()*+,;=:-]+$' }
                    parentRef:
                      type: object
                      required: [name]
                      properties:
                        group: { type: string, default: gateway.networking.k8s.io }
                        kind: { type: string, default: Gateway }
                        name: { type: string }
                        namespace: { type: string, minLength: 1 }
                        port: { type: integer, minimum: 1 }
                        sectionName: { type: string, minLength: 1 }
                    conditions:
                      type: array
                      maxItems: 8
                      x-kubernetes-list-type: map
                      x-kubernetes-list-map-keys: [type]
                      items:
                        type: object
                        required: [lastTransitionTime, message, reason, status, type]
                        properties:
                          lastTransitionTime: { type: string, format: date-time }
                          message: { type: string, maxLength: 32768 }
                          observedGeneration: { type: integer, format: int64, minimum: 0 }
                          reason: { type: string, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' }
                          status: { type: string, enum: ["True", "False", Unknown] }
                          type: { type: string }
`;
const OBJECTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: good, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules: [{ backendRefs: [{ name: web, port: 80 }, { name: none, port: 80 }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: odd, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules: [{ filters: [{ type: CORS }] }]
`;

test('routes get the statuses that Gateway API has for them', { skip }, async () => {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startKubelab({ controllers: [] }));
  await installCrds(lab);
  for (const input of [CRD, OBJECTS]) {
    await eventually(
      async () => {
        const { code } = await lab.kubectl(['apply', '--server-side', '-f', '-'], { input });
        return code === 0 || undefined;
      },
      { what: 'manifests to be taken', withinMs: 20_000 },
    );
  }
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  const clock = systemClock;
  const { client } = lab;
  const source = stack.use(
    await openKubernetesSource({ client, rootNamespace: 'weft-system', log, clock }),
  );
  const views = stack.use(
    createMeshViews({
      source,
      trustDomain,
      rootNamespace: 'weft-system',
      bundle: () => ({ version: '1', pem: '' }),
      onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
    }),
  );
  stack.use(new RouteStatusWriter({ client, source, views, clock, log }));
  const told = (name: string, reasons: string) =>
    eventually(
      async () => {
        const answer = await client.get(ROUTES, { namespace: 'shop', name });
        return (answer.ok && reasonsOf(objectAt(answer.value, 'status')) === reasons) || undefined;
      },
      { what: `${name} to be ${reasons}`, withinMs: 10_000 },
    );
  await told('good', 'Accepted BackendNotFound');
  await told('odd', 'UnsupportedValue ResolvedRefs');
  const waited = ['wait', 'httproute/good', '-n', 'shop', '--timeout=5s'];
  const condition = '--for=jsonpath={.status.parents[0].conditions[0].status}=True';
  assert.equal((await lab.kubectl([...waited, condition])).code, 0);
});

function reasonsOf(status: PlainObject | undefined): string {
  const listOf = (value: unknown): readonly PlainObject[] =>
    Array.isArray(value) ? value.filter(isPlainObject) : [];
  return listOf(status?.['parents'])
    .flatMap((parent) => listOf(parent['conditions']))
    .map(({ reason }) => String(reason))
    .join(' ');
}
