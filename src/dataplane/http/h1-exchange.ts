// The upstream half of one request: gets a connection, sends the head, reads the answer, and says when it must be tried again.
import type { Socket } from 'node:net';
import { GatheredWrites } from '../tcp/gathered-writes.ts';
import {
  UNDELIVERED,
  type AcquireHandlers,
  type Http1Forward,
  type UpstreamConnection,
  type UpstreamUser,
} from './h1-contract.ts';
import { Body } from './h1-body.ts';
import type { ExchangeOwner } from './h1-exchange-owner.ts';
import type { HeadLimits } from './h1-head.ts';
import { Input } from './h1-input.ts';
import { Replay } from './h1-replay.ts';
import { sendRequest } from './h1-send.ts';
import type { BodyPart } from './h1-request-body.ts';
import { type Http1RequestHead, IDEMPOTENT } from './h1-request.ts';
import { Http1ResponseHead } from './h1-response.ts';
import { Tries } from './h1-tries.ts';
import { MAX_RETRY_BODY_BYTES, Retries, type AttemptEnd } from '../upstream/retries.ts';

/** More interim answers (1xx) than this to one request are nobody's. */
const MAX_INTERIM_ANSWERS = 32;

const Phase = { None: 0, Acquiring: 1, Head: 2, Body: 3 } as const;

/** One for each downstream connection; `begin` uses it again. */
export class UpstreamExchange implements AcquireHandlers, UpstreamUser {
  readonly head = new Http1ResponseHead();
  /** The answer's body. */
  readonly body = new Body();
  /** Of the connection in use, or tried last. */
  address = '';
  /** Whether the whole request has been written. */
  isRequestSent = false;
  /** There was no answer, and nobody has processed anything: the request may be sent again, whatever its method. */
  isUndelivered = false;
  readonly #owner: ExchangeOwner;
  readonly #readOptions: { readonly limits: HeadLimits; isHead: boolean };
  readonly #input = new Input();
  #phase: number = Phase.None;
  #interimAnswers = 0;
  #request: Http1RequestHead | undefined;
  #action: Http1Forward | undefined;
  #upgrade = '';
  #acquisition: Disposable | undefined;
  #upstream: UpstreamConnection | undefined;
  readonly #tries = new Tries();
  readonly #replay = new Replay();
  /** Absent where the route asks for none. */
  #retries: Retries | undefined;
  #isWaitingForDrain = false;
  /** Of the request's body, behind its first bytes. */
  readonly #pieces = new GatheredWrites();

  constructor(owner: ExchangeOwner, limits: HeadLimits) {
    this.#owner = owner;
    this.#readOptions = { limits, isHead: false };
  }

  /** @param upgrade the protocol to ask for; '' for none. */
  begin(request: Http1RequestHead, action: Http1Forward, upgrade: string, first: BodyPart): void {
    this.#request = request;
    this.#action = action;
    this.#upgrade = upgrade;
    const isRetried = action.retry !== undefined && upgrade === '';
    this.#retries = isRetried ? new Retries(action.retry, request.method, false) : undefined;
    this.#tries.reset(action.hash, isRetried);
    this.#replay.begin(first, isRetried ? MAX_RETRY_BODY_BYTES : 0);
    this.isRequestSent = false;
    this.isUndelivered = false;
    this.address = '';
    this.#interimAnswers = 0;
    this.#readOptions.isHead = request.method === 'HEAD';
    this.#acquire();
  }

  get isSending(): boolean {
    return this.#phase === Phase.Head || this.#phase === Phase.Body;
  }

  get hasAnswer(): boolean {
    return this.#phase === Phase.Body;
  }

  #acquire(): void {
    const action = this.#action;
    if (action === undefined) return;
    this.#phase = Phase.Acquiring;
    const acquisition = action.upstream.acquire(this.#tries, this);
    if (this.#phase === Phase.Acquiring) this.#acquisition = acquisition;
  }

  onFailure(reasonCode: string, address: string | undefined): void {
    if (this.#phase !== Phase.Acquiring) return;
    this.#acquisition = undefined;
    if (address !== undefined) {
      this.address = address;
      this.#tries.failure = reasonCode;
      if (this.#mayTryAnother(address)) {
        this.#acquire();
        return;
      }
    }
    this.#detach();
    this.isUndelivered = true;
    /** That nobody is left says less than why the last one is not. */
    this.#owner.onNoAnswer(503, this.#tries.failure || reasonCode);
  }

  #mayTryAnother(address: string): boolean {
    return this.#tries.mayGoOn(address, this.#action?.upstream.connectRetries ?? 0);
  }

  onConnection(connection: UpstreamConnection): void {
    if (this.#phase !== Phase.Acquiring) {
      connection.discard();
      return;
    }
    this.#acquisition = undefined;
    this.address = connection.address;
    const { socket } = connection;
    if (socket.destroyed || !socket.writable) {
      connection.discard();
      this.#onDeadOnArrival(connection);
      return;
    }
    this.#upstream = connection;
    this.#pieces.setTarget(socket);
    this.#phase = Phase.Head;
    this.#input.clear();
    this.#isWaitingForDrain = false;
    connection.attach(this);
    if (socket.isPaused()) socket.resume();
    this.#send(socket);
  }

  /** Closed before anything was sent on it: another is asked for, whatever the method. */
  #onDeadOnArrival(connection: UpstreamConnection): void {
    if (connection.isReused && !this.#tries.hasMetStale) {
      this.#tries.mustBeFresh = true;
      this.#acquire();
      return;
    }
    this.#detach();
    this.isUndelivered = true;
    this.#owner.onNoAnswer(503, 'upstream-reset');
  }

  #send(socket: Socket): void {
    const request = this.#request;
    const action = this.#action;
    const first = this.#replay.part;
    if (request === undefined || action === undefined || first === undefined) return;
    this.isRequestSent = first.isLast;
    const { edits } = action;
    const isRoomy = sendRequest(socket, { head: request, edits, upgrade: this.#upgrade, first });
    this.#replay.noteSent();
    this.#isWaitingForDrain = !isRoomy;
    this.#retries?.beginTry(this.#onTryTimeout);
    this.#owner.onSending();
  }

  /** @returns whether more may follow at once; else `onUpstreamDrain` tells when. */
  writeBody(part: BodyPart): boolean {
    const socket = this.#upstream?.socket;
    if (socket === undefined) return true;
    this.#replay.noteMore(part);
    let isRoomy = part.bytes === undefined || this.#pieces.write(part.bytes);
    if (part.isLast) {
      this.#pieces.flush();
      this.isRequestSent = true;
    }
    if (part.tail !== '') isRoomy = socket.write(part.tail, 'latin1');
    if (!isRoomy) this.#isWaitingForDrain = true;
    return isRoomy;
  }

  get isCongested(): boolean {
    return this.#isWaitingForDrain;
  }

  onDrain(): void {
    if (!this.#isWaitingForDrain) return;
    this.#isWaitingForDrain = false;
    this.#owner.onUpstreamDrain();
  }

  pause(): void {
    this.#upstream?.socket.pause();
  }

  resume(): void {
    this.#upstream?.socket.resume();
  }

  onData(chunk: Buffer): void {
    if (this.#phase === Phase.Body) {
      this.#owner.onAnswerBody(chunk);
      return;
    }
    const input = this.#input;
    input.append(chunk);
    while (this.#phase === Phase.Head && !input.isEmpty) {
      const { bytes } = input;
      const scanFrom = Math.max(input.at, input.scanFrom);
      const end = this.head.read(bytes, input.at, scanFrom, this.#readOptions);
      if (end === -1) {
        this.#failHead(502, `upstream-${this.head.reasonCode}`);
        return;
      }
      if (end === 0) {
        input.markScanned();
        return;
      }
      input.at = end;
      /** Only an interim answer is followed by more of this exchange: the next may have begun in `#onHead`. */
      if (!this.#onHead(bytes, end)) return;
    }
  }

  /** @returns whether another head is to follow in the same exchange. */
  #onHead(bytes: Buffer, end: number): boolean {
    const { head } = this;
    const { status } = head;
    if (status === 101) {
      this.#onSwitch(bytes, end);
      return false;
    }
    if (status < 200) {
      if (++this.#interimAnswers > MAX_INTERIM_ANSWERS) {
        this.#failHead(502, 'upstream-too-many-interim-answers');
        return false;
      }
      this.#owner.onInterim(head);
      return true;
    }
    if (status === 503 && this.#movesOn()) return false;
    if (this.#isFollowed({ kind: 'answer', status, grpcStatus: undefined })) return false;
    this.#endRetries();
    this.#phase = Phase.Body;
    this.#replay.forget();
    this.#input.clear();
    this.#upstream?.report(status);
    this.body.begin(head.facts.framing, head.facts.contentLength);
    this.#owner.onAnswer(head, bytes, end);
    return false;
  }

  /** The endpoint's sidecar has not reached its application: @returns whether another is asked instead. */
  #movesOn(): boolean {
    const upstream = this.#upstream;
    if (upstream?.isMesh !== true || this.#replay.part === undefined) return false;
    if (this.head.facts.nominated?.includes(UNDELIVERED) !== true) return false;
    if (!this.#mayTryAnother(upstream.address)) return false;
    this.#tries.failure = 'upstream-undelivered';
    upstream.report(0);
    this.#unlink()?.discard();
    this.#acquire();
    return true;
  }

  /** @returns whether the route has it sent again, as it then is. */
  #isFollowed(end: AttemptEnd): boolean {
    const upstream = this.#upstream;
    const retries = this.#retries;
    if (upstream === undefined || retries === undefined) return false;
    if (this.#replay.part === undefined || !retries.mayFollow(end)) return false;
    upstream.report(end.kind === 'answer' ? end.status : 0);
    this.#tries.beginAnew(upstream.address);
    this.#unlink()?.discard();
    this.#phase = Phase.Acquiring;
    this.#acquisition = retries.wait(() => this.#acquire());
    return true;
  }

  readonly #onTryTimeout = (): void => {
    if (this.#phase !== Phase.Head || this.#isFollowed({ kind: 'try-timeout' })) return;
    this.#failHead(504, 'upstream-try-timeout');
  };

  #endRetries(): void {
    this.#retries?.[Symbol.dispose]();
    this.#retries = undefined;
  }

  #onSwitch(bytes: Buffer, end: number): void {
    const { facts, block } = this.head;
    const { upgradeIndex } = facts;
    const token =
      upgradeIndex === -1 || upgradeIndex >= block.count ? '' : block.value(upgradeIndex);
    if (this.#upgrade === '' || token.toLowerCase() !== this.#upgrade) {
      this.#failHead(502, 'upstream-unasked-upgrade');
      return;
    }
    const upstream = this.#detach();
    if (upstream === undefined) return;
    upstream.report(101);
    this.#owner.onUpgraded(this.head, upstream, bytes.subarray(end));
  }

  /** The answer has come whole. `hasMore`: bytes that nobody asked for follow it. */
  finish(hasMore: boolean): void {
    const upstream = this.#detach();
    if (upstream === undefined) return;
    const isReusable =
      !hasMore &&
      this.isRequestSent &&
      this.head.isKeepAlive &&
      !this.#isWaitingForDrain &&
      upstream.socket.writable;
    if (!isReusable) {
      upstream.discard();
      return;
    }
    /** Paused, a pooled connection would not tell that its server has closed it. */
    if (upstream.socket.isPaused()) upstream.socket.resume();
    upstream.release();
  }

  /** Gives up: cancels the acquisition or discards the connection. */
  abort(): void {
    const acquisition = this.#acquisition;
    this.#acquisition = undefined;
    this.#detach()?.discard();
    acquisition?.[Symbol.dispose]();
  }

  /** As `abort`, and it is the endpoint's fault. */
  blame(): void {
    this.#upstream?.report(0);
    this.abort();
  }

  #detach(): UpstreamConnection | undefined {
    this.#replay.forget();
    this.#endRetries();
    return this.#unlink();
  }

  #unlink(): UpstreamConnection | undefined {
    this.#phase = Phase.None;
    this.#input.clear();
    this.#retries?.endTry();
    const upstream = this.#upstream;
    if (upstream === undefined) return undefined;
    this.#upstream = undefined;
    this.#pieces.setTarget(undefined);
    upstream.attach(undefined);
    return upstream;
  }

  #failHead(status: number, reasonCode: string): void {
    this.blame();
    this.#owner.onNoAnswer(status, reasonCode);
  }

  onEnd(): void {
    if (this.#phase === Phase.Body && this.body.isUntilClose) {
      this.#detach()?.discard();
      this.#owner.onEndOfConnection();
      return;
    }
    this.onClose();
  }

  onClose(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    if (this.#phase === Phase.Body) {
      this.blame();
      this.#owner.onBrokenAnswer('upstream-reset');
      return;
    }
    if (this.#isStale(upstream)) {
      this.#unlink()?.discard();
      this.#tries.mustBeFresh = true;
      this.#acquire();
      return;
    }
    if (this.#isFollowed({ kind: 'reset' })) return;
    this.#failHead(503, 'upstream-reset');
  }

  /** Whether its server had probably closed the connection before the request reached it. */
  #isStale(upstream: UpstreamConnection): boolean {
    return (
      upstream.isReused &&
      !this.#tries.hasMetStale &&
      this.#input.isEmpty &&
      this.#interimAnswers === 0 &&
      this.#replay.part !== undefined &&
      IDEMPOTENT.has(this.#request?.method ?? '')
    );
  }
}
