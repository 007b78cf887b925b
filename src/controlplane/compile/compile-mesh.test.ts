import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { PodObject, RegistryObject } from '@weft/model/mesh/objects';
import type { MtlsMode } from '@weft/model/policy/types';
import {
  metaOf,
  namespaceOf,
  peerAuthenticationOf,
  podOf,
  serviceOf,
  sliceOf,
  snapshotOf,
} from '../../../test/support/mesh-objects.ts';
import { compileMesh } from './compile-mesh.ts';

function compile(...objects: readonly RegistryObject[]): Mesh {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  return compileMesh(snapshotOf(objects), { trustDomain, rootNamespace: 'weft-system' });
}

const WEB = 'outbound|80||web.shop.svc.cluster.local';

/** `ADDRESS:PORT HEALTH TLS-MODE`, and the ServiceAccount that must answer. */
const endpointsOf = (mesh: Mesh, name = WEB): readonly string[] | undefined =>
  mesh.destinations
    .get(name)
    ?.endpoints.endpoints.map(({ address, port, health, tlsMode, identity }) =>
      [`${address}:${port}`, health, tlsMode, identity?.split('/').at(-1) ?? '-'].join(' '),
    );

const endpointCases: readonly {
  readonly name: string;
  readonly objects: readonly RegistryObject[];
  readonly expected: readonly string[];
}[] = [
  {
    name: 'a ready Pod',
    objects: [podOf('web'), serviceOf('web')],
    expected: ['10.0.0.1:8080 healthy mesh web'],
  },
  {
    name: 'a port that is reached without the sidecar, in plain text',
    objects: [
      podOf('web', {
        meta: {
          ...metaOf('web-1', 'shop', { app: 'web' }),
          annotations: new Map([['weft.dev/exclude-inbound-ports', '9100, 8080']]),
        },
      }),
      serviceOf('web'),
    ],
    expected: ['10.0.0.1:8080 healthy disabled -'],
  },
  {
    name: 'no Pod that is not ready',
    objects: [podOf('web', { isReady: false }), serviceOf('web')],
    expected: [],
  },
  {
    name: 'one that is not ready where the Service asks for it',
    objects: [podOf('web', { isReady: false }), serviceOf('web', { publishesNotReady: true })],
    expected: ['10.0.0.1:8080 healthy mesh web'],
  },
  {
    name: 'a Pod that is being deleted, draining',
    objects: [podOf('web', { isDeleting: true }), serviceOf('web')],
    expected: ['10.0.0.1:8080 draining mesh web'],
  },
  {
    name: 'no Pod that has ended',
    objects: [podOf('web', { isFinished: true }), serviceOf('web')],
    expected: [],
  },
  {
    name: 'no Pod of another namespace',
    objects: [podOf('web', { namespace: 'other' }), serviceOf('web')],
    expected: [],
  },
  {
    name: 'nothing for an empty selector',
    objects: [podOf('web'), serviceOf('web', { selector: new Map() })],
    expected: [],
  },
  {
    name: 'the port that is named',
    objects: [
      podOf('web', { ports: [{ name: 'x', port: 9000 }] }),
      serviceOf('web', { ports: [{ targetPort: 'x' }] }),
    ],
    expected: ['10.0.0.1:9000 healthy mesh web'],
  },
  {
    name: 'the address of the family that the Service has',
    objects: [
      podOf('web', { ips: ['10.0.0.1', 'fd00::1'] }),
      serviceOf('web', { clusterIps: ['fd00::99'] }),
    ],
    expected: ['fd00::1:8080 healthy mesh web'],
  },
  {
    name: 'plaintext for a Pod without sidecar',
    objects: [
      podOf('web', { labels: { app: 'web', 'weft.dev/inject': 'false' } }),
      serviceOf('web'),
    ],
    expected: ['10.0.0.1:8080 healthy disabled -'],
  },
  {
    name: 'plaintext for a namespace that is left out',
    objects: [podOf('web'), serviceOf('web'), namespaceOf('shop', { 'weft.dev/inject': 'false' })],
    expected: ['10.0.0.1:8080 healthy disabled -'],
  },
  {
    name: 'mutual TLS for a Pod that is asked in where its namespace is left out',
    objects: [
      podOf('web', { labels: { app: 'web', 'weft.dev/inject': 'true' } }),
      serviceOf('web'),
      namespaceOf('shop', { 'weft.dev/inject': 'false' }),
    ],
    expected: ['10.0.0.1:8080 healthy mesh web'],
  },
  {
    name: 'plaintext for a port with mode DISABLE',
    objects: [podOf('web'), serviceOf('web'), peerAuthenticationOf('DISABLE')],
    expected: ['10.0.0.1:8080 healthy disabled -'],
  },
  {
    name: 'what slices say, not what the selector would find',
    objects: [
      podOf('web'),
      serviceOf('web'),
      sliceOf('web', {
        endpoints: [
          { addresses: ['192.0.2.1'], isReady: true, isDraining: false, pod: undefined },
          { addresses: ['192.0.2.2'], isReady: false, isDraining: true, pod: undefined },
          { addresses: ['192.0.2.3'], isReady: false, isDraining: false, pod: undefined },
        ],
      }),
    ],
    expected: ['192.0.2.1:8080 healthy disabled -', '192.0.2.2:8080 draining disabled -'],
  },
  {
    name: 'of an address in two slices the ready one, once',
    objects: [
      podOf('web'),
      serviceOf('web'),
      ...[false, true].map((isReady, index) =>
        sliceOf('web', {
          meta: metaOf(`web-${index}`),
          endpoints: [{ addresses: ['10.0.0.1'], isReady, isDraining: false, pod: 'web-1' }],
        }),
      ),
    ],
    expected: ['10.0.0.1:8080 healthy mesh web'],
  },
  {
    name: 'the identity of who has the address, not of whom a slice names',
    objects: [
      podOf('web'),
      podOf('thief', { ips: ['10.0.0.66'] }),
      serviceOf('web'),
      sliceOf('web', {
        endpoints: [{ addresses: ['10.0.0.66'], isReady: true, isDraining: false, pod: 'web-1' }],
      }),
    ],
    expected: ['10.0.0.66:8080 healthy mesh thief'],
  },
];
for (const { name, objects, expected } of endpointCases) {
  test(`a Service has for endpoints ${name}`, () => {
    assert.deepEqual(endpointsOf(compile(...objects)), expected);
  });
}

const portsOf = (mesh: Mesh, id = 'web-1.shop'): readonly string[] | undefined =>
  mesh.workloads
    .get(id)
    ?.inbound.ports.map(({ port, protocol, mode }) => `${port} ${protocol} ${mode}`);

const ownModes = (mode: MtlsMode, ports: readonly (readonly [number, MtlsMode])[]) =>
  peerAuthenticationOf(mode, {
    name: 'own',
    selector: new Map([['app', 'web']]),
    portModes: new Map(ports),
  });

test('a workload has the ports of its containers, of its Services, and those with a mode of their own', () => {
  const mesh = compile(
    podOf('web', { ports: [{ name: 'tcp-x', port: 9000 }] }),
    serviceOf('web'),
    ownModes('STRICT', [[7000, 'DISABLE']]),
  );
  assert.deepEqual(portsOf(mesh), ['7000 auto DISABLE', '8080 http1 STRICT', '9000 tcp STRICT']);
});

test('what a Service says of a port holds before what its container is called', () => {
  const pod = podOf('web', { ports: [{ name: 'tcp', port: 8080 }] });
  assert.deepEqual(portsOf(compile(pod)), ['8080 tcp PERMISSIVE']);
  assert.deepEqual(portsOf(compile(pod, serviceOf('web'))), ['8080 http1 PERMISSIVE']);
});

test('where Services say different things of a port its bytes decide, and there is a warning', () => {
  const other = serviceOf('web', {
    meta: metaOf('web-tcp'),
    ports: [{ name: 'tcp' }],
    clusterIps: [],
  });
  const mesh = compile(podOf('web'), serviceOf('web'), other);
  assert.deepEqual(portsOf(mesh), ['8080 auto PERMISSIVE']);
  assert.ok(mesh.problems.some(({ code }) => code === 'port-clash'));
});

test("another namespace's Service has no say over a workload's ports", () => {
  const foreign = serviceOf('foreign', {
    namespace: 'other',
    selector: undefined,
    ports: [{ name: 'tcp' }],
  });
  const slice = sliceOf('foreign', {
    meta: metaOf('foreign-1', 'other'),
    ports: [{ name: 'tcp', port: 8080 }],
    endpoints: [{ addresses: ['10.0.0.1'], isReady: true, isDraining: false, pod: 'web-1' }],
  });
  const mesh = compile(podOf('web'), serviceOf('web'), foreign, slice);
  assert.deepEqual(portsOf(mesh), ['8080 http1 PERMISSIVE']);
});

test('a Pod whose ServiceAccount can be no identity is not in the mesh, and the others are', () => {
  const bad: PodObject = podOf('bad', { serviceAccount: 'Not/Valid', ips: ['10.0.0.9'] });
  const mesh = compile(podOf('web'), bad);
  assert.equal(mesh.workloads.get('bad-1.shop')?.isInMesh, false);
  assert.equal(mesh.workloads.get('web-1.shop')?.isInMesh, true);
  assert.deepEqual(
    mesh.problems.map(({ code }) => code),
    ['no-identity'],
  );
});

test('an address that two Services have leads to the first by name, and the other is told', () => {
  const mesh = compile(
    podOf('web'),
    serviceOf('web', { meta: metaOf('b') }),
    serviceOf('web', { meta: metaOf('a') }),
  );
  assert.equal(mesh.destinationsByAddress.get('10.96.0.1_80')?.target.service, 'a');
  assert.deepEqual(
    mesh.problems.map(({ code, object }) => [code, object?.name]),
    [['address-clash', 'b']],
  );
});

test('a policy that cannot be read closes the workloads that it selects', () => {
  const mesh = compile(podOf('web'), podOf('cart', { ips: ['10.0.0.2'] }), {
    kind: 'BrokenPolicy',
    of: 'RequestAuthentication',
    policy: { namespace: 'shop', name: 'jwt', action: undefined },
    selector: new Map([['app', 'web']]),
  });
  const brokenOf = (id: string) => mesh.workloads.get(id)?.inbound.broken.map(({ name }) => name);
  assert.deepEqual(brokenOf('web-1.shop'), ['jwt']);
  assert.deepEqual(brokenOf('cart-1.shop'), []);
});

test('in a cluster those Pods are in the mesh that the injector gave a sidecar; callers speak plain text to the others', () => {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const with_ = podOf('web');
  const injected: PodObject = {
    ...with_,
    meta: { ...with_.meta, annotations: new Map([['weft.dev/injected', '{}']]) },
  };
  const without: PodObject = {
    ...podOf('web'),
    meta: { ...metaOf('bare'), labels: with_.meta.labels },
    ips: ['10.0.0.9'],
  };
  const mesh = compileMesh(snapshotOf([injected, without, serviceOf('web')]), {
    trustDomain,
    rootNamespace: 'weft-system',
    membership: 'injected',
  });
  assert.deepEqual(endpointsOf(mesh), [
    '10.0.0.1:8080 healthy mesh web',
    '10.0.0.9:8080 healthy disabled -',
  ]);
});
