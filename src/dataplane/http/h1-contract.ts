// What the HTTP/1 engine asks of its caller: where requests go, and what is to be done with each.
import type { Socket } from 'node:net';
import type { RequestHead } from '../filters/connection-facts.ts';
import type { RouteExtras } from '../routes/extras.ts';
import type { BodyLimits } from '../traffic/body-limits.ts';
import type { RetryPlan } from '../upstream/retries.ts';
import type { Http1Edits } from './h1-edit.ts';
import type { HeadLimits } from './h1-head.ts';

/**
 * Option of `Connection` by which one sidecar tells another that its application was not reached: nothing of the
 * request was processed, and another endpoint may take it, whatever its method.
 */
export const UNDELIVERED = 'weft-undelivered';

/** Who is told of what happens on an upstream connection while it is lent. */
export interface UpstreamUser {
  onData(chunk: Buffer): void;
  onEnd(): void;
  onClose(): void;
  onDrain(): void;
}

/** An upstream connection, exclusively ours until released or discarded. */
export interface UpstreamConnection {
  /** Has an error handler; may be a TLS socket. */
  readonly socket: Socket;
  /** It came from the pool, so that its server may have closed it meanwhile. */
  readonly isReused: boolean;
  /** Its other end is a sidecar of the mesh, whose word on what was delivered holds. */
  readonly isMesh?: boolean;
  /** For logs: `10.0.0.7:8080`. */
  readonly address: string;
  /**
   * From now on `user` is told, until the connection is given back or attached to nobody. Listeners on the socket do
   * as well, but adding and removing them at every request costs more than the rest of lending (100 B of
   * `npm run bench:dataplane`).
   */
  attach(user: UpstreamUser | undefined): void;
  /** Back to the pool: the engine has removed listeners of its own, and there are no unread bytes. */
  release(): void;
  discard(): void;
  /** Of the endpoint, for ejection: the status that it answered with, or 0 when it failed. */
  report(status: number): void;
}

export interface AcquireWant {
  /** Addresses that are not to be used again. */
  readonly tried: ReadonlySet<string>;
  /** Not from the pool. */
  readonly mustBeFresh: boolean;
  /** Whether those that were tried may be used when there are no others. */
  readonly mayRepeat: boolean;
  readonly hash: bigint | undefined;
}

export interface AcquireHandlers {
  onConnection(connection: UpstreamConnection): void;
  onFailure(reasonCode: string, address: string | undefined): void;
}

export interface Http1Upstream {
  readonly connectRetries: number;
  /** Answers exactly once, perhaps before it returns. Disposing of what it returns cancels. */
  acquire(want: AcquireWant, handlers: AcquireHandlers): Disposable;
}

export type Http1Action =
  | {
      readonly kind: 'respond';
      readonly status: number;
      readonly body: string;
      readonly reasonCode: string;
      /** `[name, value, …]`. */
      readonly headers: readonly string[];
    }
  | {
      readonly kind: 'forward';
      readonly upstream: Http1Upstream;
      readonly edits: Http1Edits;
      readonly extras?: RouteExtras | undefined;
      readonly body?: BodyLimits | undefined;
      /** When it is sent again although an application may have got it; absent: never. */
      readonly retry?: RetryPlan | undefined;
      /** What chooses the endpoint, where the upstream hashes. */
      readonly hash?: bigint | undefined;
    };

/** For a request of which nobody could say what is to be done with it. */
export const UNDECIDED: Http1Action = {
  kind: 'respond',
  status: 503,
  body: 'decision-failed\n',
  reasonCode: 'decision-failed',
  headers: [],
};

export type Http1Forward = Extract<Http1Action, { kind: 'forward' }>;

export interface Http1Completion {
  /** `undefined` when the request could not be read. */
  readonly head: RequestHead | undefined;
  /** 0 when no answer was begun. */
  readonly status: number;
  /** Of the request's body, as it came. */
  readonly bytesReceived: number;
  /** Of the answer's body, as it went. */
  readonly bytesSent: number;
  readonly durationMs: number;
  /** Empty when there was none. */
  readonly upstream: string;
  /** Empty when all went well. */
  readonly reasonCode: string;
}

export interface Http1Hooks {
  /** A promise only where something must be looked up first. The head stays valid until `onComplete`. */
  onRequest(head: RequestHead): Http1Action | Promise<Http1Action>;
  /** Whether a request that is under way may go on by what is in force now; a promise as in `onRequest`. */
  isStillAllowed(head: RequestHead): boolean | Promise<boolean>;
  onComplete(completion: Http1Completion): void;
  onClose(): void;
}

export interface Http1Options {
  /** Between requests, and without any byte in the midst of a body or tunnel. 0: none. */
  readonly idleTimeoutMs: number;
  /** From a head's first byte to its last. 0: none. */
  readonly headTimeoutMs: number;
  /** From the request's last byte to the answer's head. 0: none. */
  readonly responseTimeoutMs: number;
  /** Whether `GET http://host/path` is understood, as clients of an explicit proxy send it. */
  readonly allowAbsoluteForm: boolean;
  /** Whether the client is a sidecar, which sends elsewhere what the application has not got. Default false. */
  readonly tellsUndelivered?: boolean;
  /** Protocols that may be upgraded to, in lower case: `websocket`. */
  readonly upgrades: readonly string[];
  readonly limits?: Partial<HeadLimits>;
}
