// One half of the least proxy that Node can be: mutual TLS on one side, plain TCP on the other, every byte passed on unread.
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { countReceivedBytesWithHeap } from '../../src/cli/memory-accounting.ts';
import { joinSockets, TCP_IDLE_TIMEOUT_MS } from '../../src/dataplane/tcp/tcp-proxy.ts';

export interface RelayOrder {
  /** `caller`: plain in, TLS out. */
  readonly half: 'caller' | 'called';
  readonly to: { readonly host: string; readonly port: number };
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
}

const join = (downstream: Socket, upstream: Socket): void => {
  upstream.on('error', () => upstream.destroy());
  downstream.on('error', () => downstream.destroy());
  joinSockets(downstream, upstream, { idleTimeoutMs: TCP_IDLE_TIMEOUT_MS });
};

function openServer(order: RelayOrder): net.Server {
  const { half, to, keyPem: key, chainPem: cert, bundlePem: ca } = order;
  const own = { key, cert, ca, minVersion: 'TLSv1.3' } as const;
  if (half === 'called') {
    const accept = { ...own, requestCert: true, noDelay: true, allowHalfOpen: true };
    return tls.createServer(accept, (socket) =>
      join(socket, net.connect({ ...to, noDelay: true, allowHalfOpen: true })),
    );
  }
  const secureContext = tls.createSecureContext(own);
  return net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    // The chain is verified; who the other half is, is not what costs.
    const upstream = tls.connect({ ...to, secureContext, checkServerIdentity: () => undefined });
    upstream.setNoDelay(true);
    upstream.allowHalfOpen = true;
    join(socket, upstream);
  });
}

if (import.meta.main) {
  countReceivedBytesWithHeap();
  process.once('message', (order: RelayOrder) => {
    const server = openServer(order);
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 }, () =>
      process.send?.(server.address()),
    );
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
}
