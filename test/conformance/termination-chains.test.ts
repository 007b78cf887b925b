// Which chain each kind of client gets at a port that takes TLS from outside the mesh: every mode, hello and server name (CVE-2020-8660).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { buildInboundListener } from '@weft/controlplane/resources/inbound-listener';
import {
  compileListener,
  type ConnectionTraits,
  needsInspection,
  selectChain,
} from '@weft/dataplane/state/chain';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import type { MtlsMode } from '@weft/model/policy/types';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import { peerAuthenticationOf, podOf, snapshotOf } from '../support/mesh-objects.ts';

const RAW: ConnectionTraits = {
  transport: 'raw_buffer',
  applicationProtocols: [],
  serverName: undefined,
};
const tls = (
  serverName: string | undefined,
  ...applicationProtocols: string[]
): ConnectionTraits => ({
  transport: 'tls',
  applicationProtocols,
  serverName,
});

const CLIENTS = {
  plaintext: RAW,
  'plain HTTP': { ...RAW, applicationProtocols: ['http/1.1'] },
  'the mesh': tls('outbound_.80_._.web.shop.svc.cluster.local', 'weft-http/1.1'),
  'a browser': tls('www.example.com', 'h2', 'http/1.1'),
  'a client without ALPN': tls('www.example.com'),
  'a client without a name': tls(undefined, 'http/1.1'),
  'a client of another name': tls('evil.example.net', 'http/1.1'),
  'the mesh’s ALPN under another name': tls('evil.example.net', 'weft-h2'),
} as const;
type Client = keyof typeof CLIENTS;

function termination(spec: object, name = 'web'): RegistryObject {
  const parsed = parseTlsTermination({
    apiVersion: 'security.weft.dev/v1',
    kind: 'TlsTermination',
    metadata: { name, namespace: 'shop' },
    spec: { certificates: [{ secret: 'web-tls' }], ...spec },
  });
  assert.ok(parsed.ok);
  return { kind: 'TlsTermination', policy: parsed.value };
}

/** The kind of chain that each client gets, as the sidecar chooses among what came over the wire. */
function chainsOf(mode: MtlsMode, name: string, ...objects: readonly RegistryObject[]) {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const pod = podOf('web', { ports: [{ name, port: 8080 }] });
  const mesh = compileMesh(snapshotOf([pod, peerAuthenticationOf(mode), ...objects]), {
    trustDomain,
    rootNamespace: 'weft-system',
  });
  const inbound = mesh.workloads.get('web-1.shop')?.inbound;
  assert.ok(inbound !== undefined);
  const encoded = encodeResource('listener', buildInboundListener(inbound));
  const decoded = decodeResource('listener', encoded.bytes);
  assert.ok(decoded.ok, JSON.stringify(decoded));
  const listener = compileListener(decoded.value);
  const isInspected = needsInspection(listener, 8080);
  return (client: Client): string => {
    const chain = selectChain(listener, { address: '10.0.0.1', port: 8080 }, CLIENTS[client]);
    assert.ok(isInspected || mode === 'STRICT');
    return chain?.name.slice('8080-'.length) ?? 'none';
  };
}

const NAMED = { serverNames: ['www.example.com'] };
const ALL = Object.keys(CLIENTS) as readonly Client[];

const MATRIX: readonly (readonly [string, MtlsMode, object, readonly string[]])[] = [
  [
    'PERMISSIVE',
    'PERMISSIVE',
    {},
    [
      'refused-plain',
      'refused-plain',
      'mesh-http',
      'outside',
      'outside',
      'outside',
      'outside',
      'mesh-http',
    ],
  ],
  [
    'PERMISSIVE with names',
    'PERMISSIVE',
    NAMED,
    [
      'refused-plain',
      'refused-plain',
      'mesh-http',
      'outside',
      'outside',
      'refused-tls',
      'refused-tls',
      'mesh-http',
    ],
  ],
  [
    'PERMISSIVE that allows plaintext',
    'PERMISSIVE',
    { plaintext: { mode: 'ALLOW' } },
    [
      'plain-http',
      'plain-http',
      'mesh-http',
      'outside',
      'outside',
      'outside',
      'outside',
      'mesh-http',
    ],
  ],
  [
    'PERMISSIVE that redirects',
    'PERMISSIVE',
    { plaintext: { mode: 'REDIRECT' } },
    ['redirect', 'redirect', 'mesh-http', 'outside', 'outside', 'outside', 'outside', 'mesh-http'],
  ],
  [
    'DISABLE',
    'DISABLE',
    {},
    [
      'refused-plain',
      'refused-plain',
      'outside',
      'outside',
      'outside',
      'outside',
      'outside',
      'outside',
    ],
  ],
  [
    'DISABLE with names',
    'DISABLE',
    NAMED,
    [
      'refused-plain',
      'refused-plain',
      'refused-tls',
      'outside',
      'outside',
      'refused-tls',
      'refused-tls',
      'refused-tls',
    ],
  ],
  ['STRICT', 'STRICT', {}, ALL.map(() => 'mesh-http')],
];

for (const [what, mode, spec, expected] of MATRIX) {
  test(`who gets which chain under ${what}`, () => {
    const chainOf = chainsOf(mode, 'http', termination(spec));
    assert.deepEqual(
      ALL.map((client) => `${client}: ${chainOf(client)}`),
      ALL.map((client, at) => `${client}: ${expected[at]}`),
    );
  });
}

test('two TlsTerminations for one port close it to everybody but the mesh', () => {
  const chainOf = chainsOf('PERMISSIVE', 'http', termination({}), termination(NAMED, 'other'));
  const open = ALL.filter((client) => !chainOf(client).startsWith('refused-'));
  assert.deepEqual(open, ['the mesh', 'the mesh’s ALPN under another name']);
});

for (const name of ['tcp', '', 'https', 'grpc']) {
  test(`a port named ${JSON.stringify(name)} leaves no client to chains of undeclared ports`, () => {
    for (const mode of ['PERMISSIVE', 'DISABLE'] as const) {
      for (const plaintext of [{ mode: 'ALLOW' }, { mode: 'REFUSE' }, { mode: 'REDIRECT' }]) {
        const chainOf = chainsOf(mode, name, termination({ ...NAMED, plaintext }));
        for (const client of ALL) {
          const chain = chainOf(client);
          assert.ok(
            !chain.includes('undeclared') && chain !== 'none',
            `${mode} ${client}: ${chain}`,
          );
          const isTls = CLIENTS[client].transport === 'tls';
          assert.equal(isTls && chain.startsWith('plain'), false, `${mode} ${client}: ${chain}`);
        }
      }
    }
  });
}
