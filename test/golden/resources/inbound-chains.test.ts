// What must hold: whatever a connection looks like, the sidecar's choice of a chain lets plaintext in only where the
// port's own mode does, and every chain it can end in carries the rules.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { buildInboundListener } from '@weft/controlplane/resources/inbound-listener';
import {
  compileListener,
  needsInspection,
  selectChain,
  type ChainRuntime,
  type ConnectionTraits,
} from '@weft/dataplane/state/chain';
import { parseTrustDomain } from '@weft/model/identity';
import type { MtlsMode } from '@weft/model/policy/types';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import {
  authorizationOf,
  peerAuthenticationOf,
  podOf,
  snapshotOf,
} from '../../support/mesh-objects.ts';

const MODES = ['STRICT', 'PERMISSIVE', 'DISABLE'] as const;
const PORTS = {
  http: 'http1',
  grpc: 'grpc',
  tcp: 'tcp',
  tls: 'tls',
  other: 'auto',
} as const;
const UNDECLARED = 9_999;

const RAW = { transport: 'raw_buffer', serverName: undefined } as const;
const TLS = { transport: 'tls', serverName: 'x.example' } as const;
const ARRIVALS: Readonly<Record<string, ConnectionTraits>> = {
  'plain bytes': { ...RAW, applicationProtocols: [] },
  'plain HTTP/1': { ...RAW, applicationProtocols: ['http/1.1'] },
  'plain h2c': { ...RAW, applicationProtocols: ['h2c'] },
  'mesh HTTP/1': { ...TLS, applicationProtocols: ['weft-http/1.1'] },
  'mesh HTTP/2': { ...TLS, applicationProtocols: ['weft-h2'] },
  'mesh TCP': { ...TLS, applicationProtocols: ['weft'] },
  'own TLS': { ...TLS, applicationProtocols: [] },
  'own TLS with h2': { ...TLS, applicationProtocols: ['h2', 'http/1.1'] },
};

/** A workload whose own mode and whose ports' mode differ, under an ALLOW and a DENY. */
function listenerOf(mode: MtlsMode, portMode: MtlsMode) {
  const ports = Object.keys(PORTS).map((name, index) => ({ name, port: 8_000 + index }));
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const selector = new Map([['app', 'web']]);
  const portModes = new Map(ports.map(({ port }) => [port, portMode]));
  const rules = [{ from: [{ source: { namespaces: ['shop'] } }] }];
  const mesh = compileMesh(
    snapshotOf([
      podOf('web', { ports }),
      peerAuthenticationOf(mode, { selector, portModes }),
      authorizationOf({ action: 'ALLOW', rules }, 'allow'),
      authorizationOf({ action: 'DENY', rules }, 'deny'),
    ]),
    { trustDomain, rootNamespace: 'weft-system' },
  );
  const spec = mesh.workloads.get('web-1.shop')?.inbound;
  assert.ok(spec !== undefined);
  const { bytes } = encodeResource('listener', buildInboundListener(spec));
  const read = decodeResource('listener', bytes);
  assert.ok(read.ok, JSON.stringify(read));
  return { runtime: compileListener(read.value), ports };
}

/** As the acceptor does it: without a look at the bytes the only chain takes them. */
function chainFor(
  runtime: ReturnType<typeof compileListener>,
  port: number,
  traits: ConnectionTraits,
): ChainRuntime | undefined {
  const seen: ConnectionTraits = needsInspection(runtime, port)
    ? traits
    : { ...RAW, applicationProtocols: [] };
  return selectChain(runtime, { address: '10.0.0.1', port }, seen);
}

for (const mode of MODES) {
  for (const portMode of MODES) {
    test(`workload ${mode}, ports ${portMode}: no connection gets round the mode of its port or the rules`, () => {
      const { runtime, ports } = listenerOf(mode, portMode);
      for (const { name, port } of [...ports, { name: 'undeclared', port: UNDECLARED }]) {
        const effective = port === UNDECLARED ? mode : portMode;
        for (const [arrival, traits] of Object.entries(ARRIVALS)) {
          const chain = chainFor(runtime, port, traits);
          const what = `${arrival} at ${name}`;
          assert.ok(chain !== undefined, what);
          const isMesh = chain.tls !== undefined;
          if (effective === 'STRICT') assert.ok(isMesh, what);
          if (effective === 'DISABLE') assert.ok(!isMesh, what);
          if (effective === 'PERMISSIVE') assert.equal(isMesh, arrival.startsWith('mesh'), what);
          const evaluator = chain.http === undefined ? chain.network : chain.http.evaluator;
          assert.ok(evaluator !== undefined, `${what} meets no rules`);
          if (port !== UNDECLARED) assert.ok(chain.name.startsWith(`${port}-`), what);
        }
      }
    });
  }
}

test('HTTP is read as HTTP wherever it may be, and nothing else is', () => {
  const { runtime, ports } = listenerOf('PERMISSIVE', 'PERMISSIVE');
  const isHttp = (name: keyof typeof PORTS, arrival: string): boolean => {
    const port = ports.find((one) => one.name === name)?.port ?? 0;
    const traits = ARRIVALS[arrival];
    assert.ok(traits !== undefined);
    return chainFor(runtime, port, traits)?.http !== undefined;
  };
  const table = [
    ['http', 'plain bytes', true],
    ['http', 'mesh HTTP/1', true],
    ['http', 'own TLS', false],
    ['grpc', 'plain h2c', true],
    ['grpc', 'mesh HTTP/2', true],
    ['tcp', 'plain HTTP/1', false],
    ['tcp', 'mesh TCP', false],
    ['tls', 'own TLS with h2', false],
    ['other', 'plain HTTP/1', true],
    ['other', 'plain h2c', true],
    ['other', 'plain bytes', false],
    ['other', 'mesh HTTP/2', true],
    ['other', 'mesh TCP', false],
    ['other', 'own TLS with h2', false],
  ] as const;
  for (const [name, arrival, expected] of table)
    assert.equal(isHttp(name, arrival), expected, `${arrival} at ${name}`);
});
