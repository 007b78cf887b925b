// Which chain each client gets at ports of every protocol and mode: sidecars of both kinds, applications' own TLS, plaintext.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { buildEndpointCluster } from '@weft/controlplane/resources/clusters';
import { buildInboundListener } from '@weft/controlplane/resources/inbound-listener';
import { compileListener, type ConnectionTraits, selectChain } from '@weft/dataplane/state/chain';
import { parseTrustDomain } from '@weft/model/identity';
import type { MtlsMode } from '@weft/model/policy/types';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import { MESH_OFFERS } from '@weft/xds/resources/listener';
import type { UpstreamTls } from '@weft/xds/resources/cluster';
import { peerAuthenticationOf, podOf, snapshotOf } from '../support/mesh-objects.ts';

const RAW = { transport: 'raw_buffer', serverName: undefined } as const;
const OWN = { transport: 'tls', serverName: 'web.example.com' } as const;

/** What clients say at their first bytes. */
function callersOf(mesh: UpstreamTls): { readonly [caller: string]: ConnectionTraits } {
  const weft = (applicationProtocols: readonly string[]): ConnectionTraits => ({
    transport: 'tls',
    serverName: mesh.sni,
    applicationProtocols,
  });
  /** It offers what its cluster lists; where nothing is listed, the registered name of what it carries. */
  const envoy = (...carried: readonly string[]): ConnectionTraits =>
    weft(mesh.alpn.length === 0 ? carried : mesh.alpn);
  return {
    'Weft HTTP/1.1': weft(MESH_OFFERS.http1),
    'Weft HTTP/2': weft(MESH_OFFERS.http2),
    'Weft TCP': weft(MESH_OFFERS.tcp),
    'Envoy HTTP/1.1': envoy('http/1.1'),
    'Envoy HTTP/2': envoy('h2'),
    'Envoy TCP': envoy(),
    // gRPC without a proxy.
    'gRPC by its name': {
      transport: 'tls',
      serverName: 'web.shop.svc.cluster.local.mesh.weft.dev',
      applicationProtocols: ['h2'],
    },
    'a program of the mesh': { ...OWN, applicationProtocols: ['weft-h2'] },
    'own TLS, HTTP/2': { ...OWN, applicationProtocols: ['h2'] },
    'own TLS': { ...OWN, applicationProtocols: [] },
    'plain HTTP': { ...RAW, applicationProtocols: ['http/1.1'] },
    plaintext: { ...RAW, applicationProtocols: [] },
  };
}

function chainsOf(name: string, mode: MtlsMode): { readonly [caller: string]: string } {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const pod = podOf('web', { ports: [{ name, port: 8080 }] });
  const options = { trustDomain, rootNamespace: 'weft-system' };
  const workload = compileMesh(
    snapshotOf([pod, peerAuthenticationOf(mode)]),
    options,
  ).workloads.get('web-1.shop');
  const [port] = workload?.inbound?.ports ?? [];
  assert.ok(workload?.inbound !== undefined && port !== undefined);
  const { meshTls } = buildEndpointCluster(workload, port, '10.0.0.1');
  assert.ok(meshTls !== undefined);
  const { bytes } = encodeResource('listener', buildInboundListener(workload.inbound));
  const decoded = decodeResource('listener', bytes);
  assert.ok(decoded.ok, JSON.stringify(decoded));
  const listener = compileListener(decoded.value);
  return Object.fromEntries(
    Object.entries(callersOf(meshTls)).map(([caller, traits]) => [
      caller,
      selectChain(listener, { address: '10.0.0.1', port: 8080 }, traits)?.name ?? 'none',
    ]),
  );
}

const everybody = (chain: string, others: object = {}): object => ({
  'Weft HTTP/1.1': chain,
  'Weft HTTP/2': chain,
  'Weft TCP': chain,
  'Envoy HTTP/1.1': chain,
  'Envoy HTTP/2': chain,
  'Envoy TCP': chain,
  'gRPC by its name': chain,
  'a program of the mesh': chain,
  'own TLS, HTTP/2': chain,
  'own TLS': chain,
  'plain HTTP': chain,
  plaintext: chain,
  ...others,
});

const OUTSIDERS = {
  'own TLS, HTTP/2': '8080-plain-tcp-tls',
  'own TLS': '8080-plain-tcp-tls',
} as const;

const MATRIX: readonly (readonly [string, MtlsMode, object])[] = [
  ['http', 'STRICT', everybody('8080-mesh-http')],
  ['grpc', 'STRICT', everybody('8080-mesh-http')],
  ['tcp', 'STRICT', everybody('8080-mesh-tcp')],
  [
    '',
    'STRICT',
    everybody('8080-mesh-http', {
      'Weft TCP': '8080-mesh-tcp-tls',
      'Envoy TCP': '8080-mesh-tcp-tls',
      'own TLS': '8080-mesh-tcp-tls',
      'plain HTTP': '8080-mesh-tcp-raw_buffer',
      plaintext: '8080-mesh-tcp-raw_buffer',
    }),
  ],
  [
    'grpc',
    'PERMISSIVE',
    everybody('8080-mesh-http', {
      'gRPC by its name': '8080-mesh-named-http',
      'own TLS, HTTP/2': '8080-plain-tcp',
      'own TLS': '8080-plain-tcp',
      'plain HTTP': '8080-plain-http',
      plaintext: '8080-plain-http',
    }),
  ],
  [
    '',
    'PERMISSIVE',
    everybody('8080-mesh-named-http', {
      'Weft TCP': '8080-mesh-named-tcp',
      'Envoy TCP': '8080-mesh-named-tcp',
      'a program of the mesh': '8080-mesh-http',
      ...OUTSIDERS,
      'plain HTTP': '8080-plain-http',
      plaintext: '8080-plain-tcp-raw_buffer',
    }),
  ],
];

for (const [name, mode, expected] of MATRIX) {
  test(`who gets which chain of a port named ${JSON.stringify(name)} under ${mode}`, () => {
    assert.deepEqual(chainsOf(name, mode), expected);
  });
}
