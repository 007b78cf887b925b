// Serves SDS to the proxy beside us: the certificate and the bundle of now, and each new one as soon as it is there.
import type { ServerHttp2Stream } from 'node:http2';
import { errorText } from '@weft/model/error-text';
import { readDeltaRequest, writeDeltaResponse } from '@weft/xds/protocol/delta';
import { textOf } from '@weft/xds/protocol/fields';
import { createSession, nextResponse, takeRequest, type Session } from '@weft/xds/protocol/session';
import { readSotwRequest, writeSotwResponse } from '@weft/xds/protocol/sotw';
import { decodeMessage } from '@weft/xds/registry';
import { type ResourceView, TYPE_URLS } from '@weft/xds/resource';
import type { Logger } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import type { Svid } from '../enrol/check-svid.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import { discoveryMethods } from './discovery-methods.ts';
import { LocalCall } from './local-call.ts';
import { type LocalMethod, refuseCall } from './local-server.ts';
import { viewOfSecrets } from './own-secrets.ts';

export interface SdsServerOptions {
  readonly metrics: AgentMetrics;
  readonly log: Logger;
}

type Variant = Session['variant'];

const SERVICE = 'envoy.service.secret.v3.SecretDiscoveryService';
const METHODS = { sotw: 'StreamSecrets', delta: 'DeltaSecrets' } as const;
const ENVELOPES = 'envoy.service.discovery.v3';
/** A proxy has one stream for each name and place it has names from, and there are two names. */
const MAX_STREAMS = 16;
const MAX_REQUEST_BYTES = 65_536;
/** Of a stream that asks for two names. */
const LIMITS = { maxNames: 16, maxNameLength: 256, maxResponseBytes: 1_024 * 1_024 };
const IDENTIFIER = 'weft-agent';

interface Stream {
  readonly call: LocalCall;
  readonly session: Session;
  readonly caller: string;
}

export class SdsServer implements Disposable {
  readonly #options: SdsServerOptions;
  readonly #streams = new Set<Stream>();
  #view: ResourceView = viewOfSecrets(undefined, 0);
  #serial: string | undefined;
  /** For a `LocalServer`. */
  readonly methods: ReadonlyMap<string, LocalMethod>;

  constructor(options: SdsServerOptions) {
    this.#options = options;
    this.methods = discoveryMethods(SERVICE, METHODS, (stream, { variant, caller }) =>
      this.#open(stream, variant, caller),
    );
  }

  /**
   * This certificate and bundle from now on. One that has expired is not replaced by nothing at proxies that have it:
   * nobody believes it any more, and taking it away would only hide why.
   */
  follow(svid: Svid | undefined): void {
    this.#view = viewOfSecrets(svid, this.#view.revision + 1);
    this.#serial = svid?.serialHex;
    if (svid === undefined) return;
    for (const stream of this.#streams) this.#send(stream);
  }

  #open(http2: ServerHttp2Stream, variant: Variant, caller: string): void {
    const { metrics } = this.#options;
    if (this.#streams.size >= MAX_STREAMS) {
      metrics.refused('too-many');
      const why = `${this.#streams.size} streams are open already`;
      refuseCall(http2, new CallFailure(STATUS.RESOURCE_EXHAUSTED, why));
      return;
    }
    const call = new LocalCall(http2, {
      maxMessageBytes: MAX_REQUEST_BYTES,
      onMessage: (bytes) => this.#take(stream, bytes),
      onHalfClose: () => call.end(),
      onDrain: () => this.#send(stream),
      onClose: () => this.#streams.delete(stream),
    });
    const stream: Stream = { call, session: createSession(variant, LIMITS), caller };
    this.#streams.add(stream);
  }

  #take(stream: Stream, bytes: Buffer): void {
    const { metrics, log } = this.#options;
    const { call, session } = stream;
    const refuse = (why: string): void => {
      metrics.refused('bad-request');
      log.warn({ reasonCode: 'bad-request', reason: why, peer: stream.caller }, 'SDS refused');
      call.end(new CallFailure(STATUS.INVALID_ARGUMENT, why));
    };
    const isDelta = session.variant === 'delta';
    try {
      const type = isDelta ? 'DeltaDiscoveryRequest' : 'DiscoveryRequest';
      const message = decodeMessage(`${ENVELOPES}.${type}`, bytes);
      const typeUrl = textOf(message, 'type_url');
      if (typeUrl !== '' && typeUrl !== TYPE_URLS.secret) {
        refuse('this service has secrets alone');
        return;
      }
      const read = isDelta ? readDeltaRequest : readSotwRequest;
      const outcome = takeRequest(session, read(message, 'secret'), Date.now());
      if (!outcome.ok) {
        refuse(outcome.reason);
        return;
      }
      if (outcome.answer?.kind === 'refused') {
        const reason = outcome.answer.refusal.message;
        log.error({ reason, peer: stream.caller }, 'the program beside us refused its certificate');
      }
    } catch (error) {
      refuse(`the request cannot be read: ${errorText(error)}`);
      return;
    }
    this.#send(stream);
  }

  #send({ call, session, caller }: Stream): void {
    const isDelta = session.variant === 'delta';
    for (let hasRoom = true; hasRoom && !call.isOver; ) {
      const response = nextResponse(session, this.#view);
      if (response === undefined) return;
      const write = isDelta ? writeDeltaResponse : writeSotwResponse;
      hasRoom = call.send(write(response, IDENTIFIER));
      const names = response.resources.map(({ name }) => name);
      this.#options.log.info({ names, receiver: caller, serial: this.#serial }, 'handed over');
    }
  }

  [Symbol.dispose](): void {
    for (const { call } of this.#streams) call.end(new CallFailure(STATUS.UNAVAILABLE, 'going'));
  }
}
