// Serves gRPC to the programs beside us at a Unix socket: each method to attested callers alone.
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { errorText } from '@weft/model/error-text';
import type { Logger } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { AttestedHttp2, type AttestedSocket, type Caller } from '../serve/attested-http2.ts';
import type { AgentMetrics, AgentRefusal } from './agent-metrics.ts';
import { LocalCall } from './local-call.ts';

/** Takes a stream of an attested caller over: it says how that ends. */
export type LocalMethod = (stream: ServerHttp2Stream, caller: string) => void;

export interface LocalServerOptions {
  readonly socket: AttestedSocket;
  /** By path: `/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets`. */
  readonly methods: ReadonlyMap<string, LocalMethod>;
  readonly metrics: AgentMetrics;
  readonly log: Logger;
}

/** 16 MB: what Node may hold of one connection; two messages of the control plane. */
const MAX_SESSION_MB = 16;

export class LocalServer implements Disposable {
  readonly #options: LocalServerOptions;
  #http2: AttestedHttp2 | undefined;

  /** @throws Error that says what cannot be had: the socket's place, its owner, the kernel's word. */
  static async open(options: LocalServerOptions): Promise<LocalServer> {
    const server = new LocalServer(options);
    server.#http2 = await AttestedHttp2.open({
      socket: options.socket,
      maxSessionMb: MAX_SESSION_MB,
      onTooMany: () => options.metrics.refused('too-many'),
      onStream: (stream, headers, caller) => server.#take(stream, headers, caller),
    });
    return server;
  }

  private constructor(options: LocalServerOptions) {
    this.#options = options;
  }

  /** Nothing that a caller does may end the agent. */
  #take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, caller: Caller): void {
    if (!caller.isAllowed) {
      const why = `${caller.text} may not use this socket`;
      this.#refuse(stream, 'not-attested', new CallFailure(STATUS.PERMISSION_DENIED, why));
      return;
    }
    const path = headers[':path'] ?? '';
    const method = headers[':method'] === 'POST' ? this.#options.methods.get(path) : undefined;
    if (method === undefined) {
      const why = 'there is no such method here';
      this.#refuse(stream, 'not-served', new CallFailure(STATUS.UNIMPLEMENTED, why));
      return;
    }
    try {
      method(stream, caller.text);
    } catch (error) {
      this.#options.log.error({ reason: errorText(error) }, 'cannot serve a call of a neighbour');
      stream.on('error', () => undefined);
      stream.close();
    }
  }

  #refuse(stream: ServerHttp2Stream, reason: AgentRefusal, failure: CallFailure): void {
    const { metrics, log } = this.#options;
    metrics.refused(reason);
    log.warn({ reasonCode: reason, reason: failure.details }, 'call of a neighbour refused');
    refuseCall(stream, failure);
  }

  [Symbol.dispose](): void {
    this.#http2?.[Symbol.dispose]();
  }
}

/** Answers a call with a status alone. */
export function refuseCall(stream: ServerHttp2Stream, failure: CallFailure): void {
  const nothing = (): void => undefined;
  const call = new LocalCall(stream, {
    maxMessageBytes: 0,
    onMessage: nothing,
    onHalfClose: nothing,
    onDrain: nothing,
    onClose: nothing,
  });
  call.end(failure);
}
