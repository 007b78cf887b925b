// Injection of one Pod: idempotent, undone exactly, renewed by a newer Weft, and not fooled by a Pod that only says it has its sidecar.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { injectPod } from './inject-pod.ts';
import { containersOf, listAt, objectAt, textAt } from './pod-shape.ts';
import { defaultInjectionSettings, type InjectionSettings } from './settings.ts';
import { uninjectPod } from './uninject-pod.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const settings: InjectionSettings = defaultInjectionSettings({
  version: '1.0.0',
  trustDomain,
  rootNamespace: 'weft-system',
});

function injected(pod: PlainObject, by = settings): PlainObject {
  const outcome = injectPod(pod, by);
  assert.equal(outcome.kind, 'injected', 'reason' in outcome ? outcome.reason : '');
  return outcome.kind === 'injected' ? outcome.pod : {};
}

function uninjected(pod: PlainObject): PlainObject {
  const outcome = uninjectPod(pod);
  assert.equal(outcome.kind, 'uninjected');
  return outcome.kind === 'uninjected' ? outcome.pod : {};
}

const names = fc.constantFrom('web', 'api', 'cache', 'db', 'job', 'a-b');
const port = fc.oneof(fc.integer({ min: 1, max: 14_999 }), fc.constantFrom('http', 'none'));
const action = fc.oneof(
  fc.record({
    httpGet: fc.record(
      { port, path: fc.constantFrom('/', 'x', '/$(Y)'), scheme: fc.constantFrom('HTTP', 'HTTPS') },
      { requiredKeys: ['port'] },
    ),
  }),
  fc.record({ tcpSocket: fc.record({ port }) }),
  fc.record({
    grpc: fc.record(
      { port: fc.constant(9), service: fc.constant('s') },
      { requiredKeys: ['port'] },
    ),
  }),
  fc.record({ exec: fc.record({ command: fc.constant(['true']) }) }),
);
const probe = fc
  .tuple(
    action,
    fc.record({ periodSeconds: fc.nat(), timeoutSeconds: fc.nat() }, { requiredKeys: [] }),
  )
  .map(([handler, timing]) => ({ ...timing, ...handler }));
const container = fc.record(
  {
    name: names,
    ports: fc.constant([{ name: 'http', containerPort: 8080 }]),
    readinessProbe: probe,
    livenessProbe: probe,
    startupProbe: probe,
  },
  { requiredKeys: ['name'] },
);
const isNamedOnce = { selector: ({ name }: { readonly name: string }) => name };
const pods = fc
  .record({
    metadata: fc.record(
      {
        name: names,
        annotations: fc.dictionary(
          fc.constantFrom('example.com/a', 'weft.dev/log-level'),
          fc.constant('debug'),
          { minKeys: 1, noNullPrototype: true },
        ),
      },
      { requiredKeys: ['name'] },
    ),
    spec: fc.record(
      {
        initContainers: fc
          .uniqueArray(container, { ...isNamedOnce, minLength: 1, maxLength: 2 })
          .map((list) => list.map((entry) => ({ ...entry, name: `init-${entry.name}` }))),
        containers: fc.uniqueArray(container, { ...isNamedOnce, minLength: 1, maxLength: 3 }),
        volumes: fc.constant([{ name: 'data', emptyDir: {} }]),
      },
      { requiredKeys: ['containers'] },
    ),
  })
  // Prototypes are no part of JSON.
  .map((pod) => structuredClone(pod));

test('uninjectPod() gives back what injectPod() was given', () => {
  fc.assert(
    fc.property(pods, (pod) => {
      assert.deepEqual(uninjected(injected(pod)), pod);
    }),
    { numRuns: runs(150) },
  );
});

test('injectPod() leaves a Pod that it has injected, and renews one that an older Weft has', () => {
  const newer = { ...settings, version: '1.1.0', sidecarImage: 'weft/sidecar:1.1.0' };
  fc.assert(
    fc.property(pods, (pod) => {
      const once = injected(pod);
      const again = injectPod(once, settings);
      assert.deepEqual(again, { kind: 'left', reason: 'it has its sidecar already', isDone: true });
      assert.deepEqual(injected(once, newer), injected(pod, newer));
    }),
    { numRuns: runs(100) },
  );
});

const plain: PlainObject = { metadata: { name: 'p' }, spec: { containers: [{ name: 'web' }] } };

const withSidecar = (pod: PlainObject, change: PlainObject): PlainObject => {
  const spec = objectAt(pod, 'spec');
  const initContainers = listAt(spec, 'initContainers').map((entry) =>
    entry['name'] === 'weft-sidecar' ? { ...entry, ...change } : entry,
  );
  return { ...pod, spec: { ...spec, initContainers } };
};

test('injectPod() is not fooled by a Pod that only says that it has its sidecar', () => {
  const real = injected(plain);
  const forgeries: readonly PlainObject[] = [
    { ...real, spec: plain['spec'] },
    withSidecar(real, { image: 'evil:1' }),
    withSidecar(real, { command: ['sleep', 'infinity'] }),
    withSidecar(real, { env: [] }),
    withSidecar(real, { securityContext: { privileged: true } }),
    { ...plain, metadata: { annotations: { 'weft.dev/injected': '{}' } } },
    { ...plain, metadata: { annotations: { 'weft.dev/injected': 'no JSON' } } },
  ];
  for (const forged of forgeries) {
    const outcome = injectPod(forged, settings);
    assert.equal(outcome.kind, 'injected');
    if (outcome.kind === 'injected') assert.deepEqual(outcome.pod['spec'], real['spec']);
  }
});

test('injectPod() leaves what the API server, a LimitRange and other webhooks added to an injected Pod', () => {
  const real = injected(plain);
  const spec = objectAt(real, 'spec');
  const grown = withSidecar(real, {
    imagePullPolicy: 'IfNotPresent',
    terminationMessagePath: '/dev/termination-log',
  });
  const limits = {
    requests: { cpu: '50m', memory: '96Mi' },
    limits: { cpu: '2', memory: '256Mi' },
  };
  for (const pod of [
    grown,
    withSidecar(real, { resources: limits }),
    { ...real, spec: { ...spec, volumes: [{ name: 'other' }, ...listAt(spec, 'volumes')] } },
  ]) {
    assert.equal(injectPod(pod, settings).kind, 'left');
  }
});

test('injectPod() puts its containers first again where another webhook came between', () => {
  const real = injected(plain);
  const spec = objectAt(real, 'spec');
  const initContainers = [{ name: 'other' }, ...listAt(spec, 'initContainers')];
  const again = injected({ ...real, spec: { ...spec, initContainers } });
  assert.deepEqual(
    listAt(objectAt(again, 'spec'), 'initContainers').map((entry) => entry['name']),
    ['weft-capture', 'weft-sidecar', 'other'],
  );
});

test('uninjectPod() takes away only what has a name of Weft, whatever the record names', () => {
  const record = { version: '1', template: 't', containers: ['web'], volumes: ['data'] };
  const pod = {
    metadata: { annotations: { 'weft.dev/injected': JSON.stringify(record) } },
    spec: { containers: [{ name: 'web' }], volumes: [{ name: 'data' }] },
  };
  assert.deepEqual(uninjected(pod)['spec'], pod.spec);
});

test('no container of the mesh has a right beside NET_ADMIN for the capture step, in every mode', () => {
  for (const mode of ['native', 'classic']) {
    const metadata = { annotations: { 'weft.dev/sidecar-mode': mode } };
    const pod = injected({ ...plain, metadata });
    const own = containersOf(objectAt(pod, 'spec')).filter(({ name }) => name.startsWith('weft-'));
    assert.equal(own.length, 2);
    for (const { container, name } of own) {
      const context = objectAt(container, 'securityContext');
      const isCapture = name === 'weft-capture';
      assert.deepEqual(context, {
        runAsUser: isCapture ? 0 : 1337,
        runAsGroup: isCapture ? 0 : 1337,
        runAsNonRoot: !isCapture,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: isCapture ? { drop: ['ALL'], add: ['NET_ADMIN'] } : { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      });
      assert.ok(textAt(container, 'image')?.startsWith('weft/'));
    }
  }
});
