// Serves the Workload API at a Unix socket: only those who may call are told anything, and what is refused is counted.
import type { IncomingHttpHeaders } from 'node:http2';
import { errorText } from '@weft/model/error-text';
import type { Logger } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { AttestedHttp2, type Caller } from '../serve/attested-http2.ts';
import { ApiCall } from './api-call.ts';
import type { ApiRefusal, WorkloadApiMetrics } from './metrics.ts';
import type { WorkloadApiOptions } from './options.ts';

/** Answers an attested caller. What it throws is told: a CallFailure as it is, anything else as our failure. */
export type Method = (call: ApiCall, request: Buffer, caller: string) => Promise<void> | void;

export interface ApiServerOptions {
  readonly api: WorkloadApiOptions;
  /** By path: `/SpiffeWorkloadAPI/FetchX509SVID`. */
  readonly methods: ReadonlyMap<string, Method>;
  readonly metrics: WorkloadApiMetrics;
  readonly log: Logger;
}

/** Of the Workload API's specification, 5: a request that somebody else was talked into does not have it. */
const SECURITY_HEADER = 'workload.spiffe.io';

/** A refusal with the reason that is counted. */
export class Refused extends CallFailure {
  readonly reason: ApiRefusal;

  constructor(reason: ApiRefusal, code: number, details: string) {
    super(code, details);
    this.reason = reason;
  }
}

export class ApiServer implements Disposable {
  readonly #options: ApiServerOptions;
  #http2: AttestedHttp2 | undefined;
  #calls = 0;

  /** @throws Error that says what cannot be had: the socket's place, its owner, the kernel's word. */
  static async open(options: ApiServerOptions): Promise<ApiServer> {
    const server = new ApiServer(options);
    server.#http2 = await AttestedHttp2.open({
      socket: options.api,
      onTooMany: () => options.metrics.refused('too-many'),
      onStream: (stream, headers, caller) => {
        const call = new ApiCall(stream);
        server.#count(call);
        /** Nothing that a caller does may end the sidecar. */
        server.#serve(call, headers, caller).catch((error: unknown) => server.#failed(call, error));
      },
    });
    return server;
  }

  private constructor(options: ApiServerOptions) {
    this.#options = options;
  }

  #count(call: ApiCall): void {
    const { metrics } = this.#options;
    metrics.open(++this.#calls);
    call.onClose(() => metrics.open(--this.#calls));
  }

  /** Who calls is known before what is asked is read. */
  async #serve(call: ApiCall, headers: IncomingHttpHeaders, caller: Caller): Promise<void> {
    if (!caller.isAllowed) {
      const details = `${caller.text} may not use the Workload API here`;
      throw new Refused('not-attested', STATUS.PERMISSION_DENIED, details);
    }
    if (headers[SECURITY_HEADER] !== 'true') {
      const details = `the metadata ${SECURITY_HEADER}: true is missing`;
      throw new Refused('no-security-header', STATUS.INVALID_ARGUMENT, details);
    }
    const path = headers[':path'] ?? '';
    const method = headers[':method'] === 'POST' ? this.#options.methods.get(path) : undefined;
    if (method === undefined) {
      throw new Refused('not-served', STATUS.UNIMPLEMENTED, 'there is no such method here');
    }
    const request = await call.request();
    await method(call, request, caller.text);
  }

  #failed(call: ApiCall, error: unknown): void {
    const { metrics, log } = this.#options;
    if (call.isOver) return;
    if (error instanceof CallFailure) {
      const reason = error instanceof Refused ? error.reason : 'bad-request';
      metrics.refused(reason);
      log.warn({ reasonCode: reason, reason: error.details }, 'call of the workload API refused');
      call.fail(error);
      return;
    }
    log.error({ reason: errorText(error) }, 'cannot answer a call of the workload API');
    call.fail(new CallFailure(STATUS.INTERNAL, 'the sidecar failed'));
  }

  [Symbol.dispose](): void {
    this.#http2?.[Symbol.dispose]();
  }
}
