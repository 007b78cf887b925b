// Connections accepted on a real port by a listener of the test's own, and clients with and without certificates.
import assert from 'node:assert/strict';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { acceptConnection, type Admitted, type Refused } from '@weft/dataplane/listener/accept';
import { compileListener, type ListenerRuntime } from '@weft/dataplane/state/chain';
import { OpenConnections } from '@weft/dataplane/state/open-connections';
import { AcceptorPool } from '@weft/dataplane/tls/acceptor-pool';
import type { MeshContexts } from '@weft/dataplane/tls/credentials';
import type { RbacRules } from '@weft/model/policy/rbac';
import type {
  DownstreamTls,
  FilterChain,
  FilterChainMatch,
  Listener,
} from '@weft/xds/resources/listener';
import { createTestPki, type Credential, idOf } from './mesh-pki.ts';
import { eventually, serveTcp, type TestServer } from './servers.ts';

export const pki = createTestPki();
export const WEB = idOf('shop/web');
const DESTINATION = { address: '10.0.0.7', port: 8080 };
export const MESH_TLS: DownstreamTls = {
  alpn: ['weft', 'weft-h2', 'weft-http/1.1'],
  certificateSecret: 'default',
  validationSecret: 'ROOTCA',
  peerUris: [{ kind: 'prefix', value: 'spiffe://mesh.test/', ignoreCase: false }],
};

export const denying = (principal: string): RbacRules => ({
  action: 'DENY',
  policies: [
    {
      name: 'deny',
      permissions: [{ kind: 'any' }],
      principals: [
        {
          kind: 'authenticated',
          name: { kind: 'exact', value: principal, ignoreCase: false },
        },
      ],
    },
  ],
});

export function chainOf(
  name: string,
  match: Partial<FilterChainMatch>,
  more: { readonly tls?: DownstreamTls; readonly rules?: RbacRules } = {},
): FilterChain {
  const { tls, rules } = more;
  return {
    name,
    match: { destinationRanges: [], applicationProtocols: [], serverNames: [], ...match },
    ...(tls && { tls }),
    filters: [
      ...(rules === undefined ? [] : [{ kind: 'rbac', statPrefix: 'x', rules } as const]),
      { kind: 'tcpProxy', statPrefix: 'x', cluster: 'inbound|8080||' },
    ],
  };
}

export const listenerOf = (...filterChains: readonly FilterChain[]): ListenerRuntime => {
  const listener: Listener = {
    name: 'inbound',
    address: { address: '10.0.0.7', port: 15_006 },
    direction: 'inbound',
    bindToPort: true,
    inspectors: ['tls', 'http'],
    inspectTimeoutMs: 2_000,
    filterChains,
  };
  return compileListener(listener);
};

export const PORT = { destinationPort: 8080 };
export const MTLS = { ...PORT, transportProtocol: 'tls' } as const;
export const STRICT = listenerOf(chainOf('mtls', MTLS, { tls: MESH_TLS }));
export const PERMISSIVE = listenerOf(
  chainOf('mtls', { ...MTLS, applicationProtocols: MESH_TLS.alpn }, { tls: MESH_TLS }),
  chainOf('plain tls', MTLS),
  chainOf('plain http', {
    ...PORT,
    transportProtocol: 'raw_buffer',
    applicationProtocols: ['http/1.1', 'h2c'],
  }),
  chainOf('plain', { ...PORT, transportProtocol: 'raw_buffer' }),
);

export interface AcceptRig extends AsyncDisposable {
  listener: ListenerRuntime | undefined;
  readonly server: TestServer;
  readonly admitted: readonly Admitted[];
  readonly refused: readonly Refused[];
  readonly open: OpenConnections;
  readonly cuts: readonly string[];
  nowMs: number;
  setContexts(contexts: MeshContexts | undefined): void;
}

export async function createRig(listener: ListenerRuntime | undefined): Promise<AcceptRig> {
  const admitted: Admitted[] = [];
  const refused: Refused[] = [];
  const cuts: string[] = [];
  const acceptors = new AcceptorPool();
  const open = new OpenConnections({ onCut: (reasonCode) => cuts.push(reasonCode) });
  let contexts: MeshContexts | undefined;
  const server = await serveTcp((socket) => {
    acceptConnection(socket, DESTINATION, {
      listener: () => rig.listener,
      acceptors,
      contexts: () => contexts,
      open,
      now: () => rig.nowMs,
      serve: (entry) => {
        admitted.push(entry);
        return {
          rejudge: () => undefined,
          cut: () => entry.socket.destroy(),
          drain: () => undefined,
        };
      },
      onRefused: (entry) => refused.push(entry),
    });
  });
  const rig: AcceptRig = {
    listener,
    server,
    admitted,
    refused,
    open,
    cuts,
    nowMs: Date.now(),
    setContexts: (next) => {
      contexts = next;
      acceptors.setContexts(next);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  rig.setContexts(pki.contexts('shop/prices'));
  return rig;
}

/** Resolves when connected; bytes are sent at once. */
export function plain({ server }: AcceptRig, bytes = ''): Socket {
  const socket = net.connect(server.port, '127.0.0.1');
  socket.on('error', () => socket.destroy());
  if (bytes !== '') socket.write(bytes);
  return socket;
}

/** A TLS client that takes any server. */
export function secure(
  { server }: AcceptRig,
  credential: Credential | undefined,
  options: tls.ConnectionOptions = {},
): tls.TLSSocket {
  const socket = tls.connect({
    port: server.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['weft'],
    ...(credential && { key: credential.keyPem, cert: credential.chainPem }),
    ...options,
  });
  socket.on('error', () => socket.destroy());
  return socket;
}

export async function refusedWith(
  rig: AcceptRig,
  client: Socket,
  reasonCode: string,
): Promise<void> {
  const closed = Promise.withResolvers<void>();
  client.once('close', () => closed.resolve());
  if (client.closed) closed.resolve();
  client.resume();
  await eventually(() => rig.refused.length > 0, 'a refusal');
  assert.equal(rig.refused[0]?.reasonCode, reasonCode, rig.refused[0]?.detail ?? '');
  assert.equal(rig.refused.length, 1);
  assert.equal(rig.admitted.length, 0);
  await closed.promise;
  assert.equal(rig.open.size, 0);
}

export async function admission(rig: AcceptRig): Promise<Admitted> {
  await eventually(
    () => rig.admitted.length + rig.refused.length > 0,
    'a decision about the connection',
  );
  assert.deepEqual(
    rig.refused.map(({ reasonCode, detail }) => `${reasonCode} ${detail}`),
    [],
  );
  return rig.admitted[0]!;
}

export const web = pki.issue({ uris: [WEB] });
