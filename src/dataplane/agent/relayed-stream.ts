// Owns one relayed stream: a program's stream on one side, the control plane's on the other, and what is under way between them.
import type { ServerHttp2Stream } from 'node:http2';
import { errorText } from '@weft/model/error-text';
import { Backoff, STREAM_BACKOFF } from '../control-plane/backoff.ts';
import type { Call } from '../control-plane/grpc/call.ts';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { AgentRefusal } from './agent-metrics.ts';
import { type NodeWords, readRequest, readResponse, type RequestWords } from './envelopes.ts';
import { LocalCall } from './local-call.ts';
import type { RelayedResponse, RelayedStreamRef } from './relay-observer.ts';
import type { XdsRelayOptions } from './relay-options.ts';

export interface RelayedStreamOptions extends XdsRelayOptions {
  readonly id: number;
  readonly path: string;
  readonly variant: 'sotw' | 'delta';
  readonly caller: string;
  readonly onClose: () => void;
}

/** 1 MiB: what the control plane takes. */
const MAX_REQUEST_BYTES = 1_024 * 1_024;
/** 10 s: whoever opens a stream has its first request at hand. */
const FIRST_REQUEST_MS = 10_000;
/** Requests that are kept until the control plane has answered at all: a proxy begins with a few. */
const MAX_KEPT_BYTES = MAX_REQUEST_BYTES;
/** Of one type; a control plane has one response on its way. */
const MAX_PENDING_PER_TYPE = 4;
/** Types of one stream, as the control plane bounds them. */
const MAX_TYPES = 32;
const MAX_USER_AGENT_LENGTH = 256;

/**
 * A stream that the control plane has answered ends with the control plane's, for what is subscribed to is known to
 * the program and told anew by it: that is the protocol, and programs keep what they have in force meanwhile. One
 * that was not answered yet is held while we look for a control plane, so that it is found as soon as it is there,
 * and not when the program's own back-off (30 s of Envoy, 2 minutes of gRPC) has passed.
 */
export class RelayedStream implements Disposable {
  readonly #options: RelayedStreamOptions;
  readonly #local: LocalCall;
  readonly #backoff: Backoff;
  readonly #pending = new Map<string, RelayedResponse[]>();
  readonly #late: Disposable;
  #ref: RelayedStreamRef | undefined;
  #upstream: Call | undefined;
  #lease: ChannelLease | undefined;
  #retry: Disposable | undefined;
  /** What was asked before any answer; `undefined` once there was one, or when it is too much to be asked again. */
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  #isClosed = false;

  constructor(stream: ServerHttp2Stream, options: RelayedStreamOptions) {
    this.#options = options;
    const { clock, random } = options;
    this.#backoff = new Backoff({ ...STREAM_BACKOFF, random });
    this.#late = clock.setTimeout(() => {
      if (this.#ref !== undefined) return;
      this.#refuse('bad-request', STATUS.DEADLINE_EXCEEDED, 'no request came');
    }, FIRST_REQUEST_MS);
    this.#local = new LocalCall(stream, {
      maxMessageBytes: MAX_REQUEST_BYTES,
      onMessage: (bytes) => this.#ask(bytes),
      onHalfClose: () => this.#end(undefined),
      onDrain: () => this.#upstream?.resume(),
      onClose: () => this.#close(),
    });
  }

  /** The control plane has it. */
  get isCarried(): boolean {
    return this.#upstream !== undefined && this.#lease?.channel.isConnected === true;
  }

  #ask(bytes: Buffer): void {
    const { variant, metrics } = this.#options;
    let request: RequestWords;
    try {
      request = readRequest(variant, bytes);
    } catch (error) {
      const why = `the request cannot be read: ${errorText(error)}`;
      this.#refuse('bad-request', STATUS.INVALID_ARGUMENT, why);
      return;
    }
    if (!this.#isOwnNode(request.node)) return;
    metrics.asked();
    this.#noteAnswer(request);
    this.#keep(bytes);
    if (this.#upstream !== undefined) {
      if (!this.#upstream.send(bytes)) this.#local.pause();
    } else if (this.#retry === undefined) {
      this.#connect();
    }
  }

  /** The certificate is the workload's; a program beside it speaks for this workload, or for nobody. */
  #isOwnNode(claimed: NodeWords | undefined): boolean {
    const { node, id, caller, variant, observer } = this.#options;
    if (claimed === undefined) {
      if (this.#ref !== undefined) return true;
      const why = "the stream's first request must name its node";
      this.#refuse('bad-request', STATUS.INVALID_ARGUMENT, why);
      return false;
    }
    if (claimed.id !== node.id || claimed.cluster !== node.cluster) {
      const why = `this agent speaks for node "${node.id}" of cluster "${node.cluster}" alone`;
      this.#refuse('another-node', STATUS.PERMISSION_DENIED, why);
      return false;
    }
    if (this.#ref === undefined) {
      const userAgent = claimed.userAgent.slice(0, MAX_USER_AGENT_LENGTH);
      this.#ref = { id, caller, variant, userAgent };
      observer?.onOpen?.(this.#ref);
    }
    return true;
  }

  /** What waits for a control plane is bounded by what is kept, and then by what the program's connection holds. */
  #keep(bytes: Buffer): void {
    if (this.#kept === undefined) return;
    this.#keptBytes += bytes.length;
    if (this.#keptBytes <= MAX_KEPT_BYTES) {
      this.#kept.push(Buffer.from(bytes));
      return;
    }
    /** Under way to a control plane they can be lost, and with them the stream; while there is none they wait. */
    if (this.#upstream !== undefined) {
      this.#kept = undefined;
      return;
    }
    this.#kept.push(Buffer.from(bytes));
    this.#local.pause();
  }

  #connect(): void {
    const { connect, path } = this.#options;
    this.#retry = undefined;
    let lease: ChannelLease;
    try {
      lease = connect();
    } catch (error) {
      this.#again(errorText(error));
      return;
    }
    const call = lease.channel.open(path, {
      onMessage: (bytes) => {
        if (this.#upstream === call) this.#deliver(bytes);
      },
      onDrain: () => this.#local.resume(),
      onEnd: (failure) => {
        lease[Symbol.dispose]();
        if (this.#upstream !== call) return;
        this.#upstream = undefined;
        this.#lost(failure);
      },
    });
    this.#lease = lease;
    this.#upstream = call;
    this.#local.resume();
    for (const bytes of this.#kept ?? []) if (!call.send(bytes)) this.#local.pause();
  }

  #deliver(bytes: Buffer): void {
    const { variant, metrics, observer } = this.#options;
    let response: RelayedResponse;
    try {
      response = readResponse(variant, bytes);
    } catch (error) {
      const why = `the control plane's response cannot be read: ${errorText(error)}`;
      this.#end(new CallFailure(STATUS.INTERNAL, why));
      return;
    }
    this.#kept = undefined;
    metrics.delivered();
    this.#expectAnswer(response);
    if (this.#ref !== undefined) observer?.onDelivered?.(this.#ref, response);
    if (!this.#local.send(bytes)) this.#upstream?.pause();
  }

  #expectAnswer(response: RelayedResponse): void {
    const { typeUrl } = response;
    const known = this.#pending.get(typeUrl) ?? [];
    if (known.length === 0 && this.#pending.size >= MAX_TYPES) return;
    this.#pending.set(typeUrl, [...known.slice(1 - MAX_PENDING_PER_TYPE), response]);
  }

  /** A request with the nonce of a response answers it, and what came before it will not be answered any more. */
  #noteAnswer({ typeUrl, nonce, refusal }: RequestWords): void {
    if (nonce === '' || this.#ref === undefined) return;
    const known = this.#pending.get(typeUrl) ?? [];
    const at = known.findIndex((response) => response.nonce === nonce);
    const response = known[at];
    if (response === undefined) return;
    this.#pending.set(typeUrl, known.slice(at + 1));
    const { metrics, observer, log } = this.#options;
    metrics.answered(refusal === undefined);
    if (refusal !== undefined)
      log.error({ typeUrl, nonce, reason: refusal }, 'the program beside us refused what it got');
    observer?.onAnswered?.(this.#ref, { response, refusal });
  }

  #lost(failure: CallFailure | undefined): void {
    const isPassing = failure === undefined || failure.code === STATUS.UNAVAILABLE;
    if (isPassing && this.#kept !== undefined) {
      this.#again(failure?.details ?? 'the stream ended');
      return;
    }
    if (!isPassing) this.#options.metrics.refused('control-plane');
    /** One that ends well would not be looked for again by every client. */
    const gone = new CallFailure(STATUS.UNAVAILABLE, 'the control plane ended the stream');
    this.#end(failure ?? gone);
  }

  #again(reason: string): void {
    if (this.#isClosed) return;
    const { clock, log } = this.#options;
    const delayMs = this.#backoff.next();
    log.warn(
      { reason, retryInMs: Math.round(delayMs), failures: this.#backoff.failures },
      'no stream to the control plane for the program beside us; trying again',
    );
    this.#retry = clock.setTimeout(() => this.#connect(), delayMs);
  }

  #refuse(reason: AgentRefusal, code: number, details: string): void {
    const { metrics, log, caller } = this.#options;
    metrics.refused(reason);
    log.warn({ reasonCode: reason, reason: details, peer: caller }, 'discovery stream refused');
    this.#end(new CallFailure(code, details));
  }

  #end(failure: CallFailure | undefined): void {
    this.#local.end(failure);
    this.#letGo();
  }

  #letGo(): void {
    const call = this.#upstream;
    this.#upstream = undefined;
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    this.#kept = undefined;
    this.#late[Symbol.dispose]();
    call?.giveUp();
    this.#lease?.[Symbol.dispose]();
    this.#lease = undefined;
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#ref !== undefined) this.#options.observer?.onClose?.(this.#ref);
    this.#options.onClose();
  }

  #close(): void {
    this.#letGo();
  }

  [Symbol.dispose](): void {
    this.#end(new CallFailure(STATUS.UNAVAILABLE, 'the agent is going'));
  }
}
