// Shows that redirected connections really come to the Envoy beside us: it passes calls of ours on to a socket of ours.
import { randomBytes, timingSafeEqual } from 'node:crypto';
import net, { isIP, type Socket } from 'node:net';
import { PROOF_PORTS } from '@weft/xds/agent-form';
import { type Direction, InterceptionCheck } from '../../listener/interception-check.ts';
import type { SidecarOptions } from '../../options.ts';

export interface ProofsOptions {
  readonly sidecar: Pick<SidecarOptions, 'transparent' | 'podIp' | 'clock' | 'log'>;
  readonly onResult: (isProven: Readonly<Record<Direction, boolean>>) => void;
}

const TOKEN_BYTES = 32;
/** Envoy looks at the first bytes (five of TLS, a line of HTTP), and waits a second for them. */
const NEITHER_TLS_NOR_HTTP = Buffer.from('\x01\x01\x01\x01\x01\x01\r\n', 'latin1');

/**
 * The Pod's own family alone: Envoy listens on IPv4 there, or on IPv6, and what is redirected to the other is refused.
 * A call that was answered with our own token has come through Envoy: nobody else is told it.
 */
export class Proofs implements Disposable {
  readonly #token = randomBytes(TOKEN_BYTES);
  readonly #check: InterceptionCheck | undefined;

  constructor(options: ProofsOptions) {
    const { transparent, podIp, clock, log } = options.sidecar;
    if (transparent?.proofPeriodMs === undefined) return;
    const check: InterceptionCheck = new InterceptionCheck({
      families: () => [isIP(podIp) === 6 ? 6 : 4],
      ports: { inbound: transparent.inbound.port, outbound: transparent.outbound.port },
      periodMs: transparent.proofPeriodMs,
      clock,
      log: log.child({ component: 'interception' }),
      connect: (address, port) => this.#call(address, port),
      onResult: () =>
        options.onResult({
          inbound: check.isProven('inbound'),
          outbound: check.isProven('outbound'),
        }),
    });
    this.#check = check;
  }

  get reasons(): readonly string[] {
    return this.#check?.reasons ?? [];
  }

  /** A connection that Envoy passed on. */
  answer(socket: Socket): void {
    socket.resume();
    socket.end(this.#token);
  }

  /** Once Envoy is live: before that nothing can be shown. */
  start(): void {
    this.#check?.start();
  }

  #call(host: string, port: number): Socket {
    const socket = net.connect({ host, port });
    socket.write(NEITHER_TLS_NOR_HTTP);
    const direction = port === PROOF_PORTS.inbound ? 'inbound' : 'outbound';
    let heard = Buffer.alloc(0);
    socket.on('data', (part: Buffer) => {
      heard = Buffer.concat([heard, part]);
      if (heard.length > TOKEN_BYTES) socket.destroy();
      if (heard.length !== TOKEN_BYTES || !timingSafeEqual(heard, this.#token)) return;
      const { localPort } = socket;
      const arrived = { remotePort: localPort, destroy: () => undefined };
      this.#check?.arrived(direction, arrived, { address: host, port });
    });
    return socket;
  }

  [Symbol.dispose](): void {
    this.#check?.[Symbol.dispose]();
  }
}
