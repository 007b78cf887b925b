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
import { writeRequestHead } from './h1-edit.ts';
import type { ExchangeOwner } from './h1-exchange-owner.ts';
import type { HeadLimits } from './h1-head.ts';
import { Input } from './h1-input.ts';
import type { BodyPart } from './h1-request-body.ts';
import { type Http1RequestHead, IDEMPOTENT } from './h1-request.ts';
import { Http1ResponseHead } from './h1-response.ts';

/** More interim answers (1xx) than this to one request are nobody's. */
const MAX_INTERIM_ANSWERS = 32;
/** Bodies up to this are put into one string with their head: one write is cheaper than the copy. */
const SMALL_BODY_BYTES = 16_384;

const Phase = { None: 0, Acquiring: 1, Head: 2, Body: 3 } as const;

const NONE_TRIED: ReadonlySet<string> = new Set();

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
  #tried: Set<string> | undefined;
  /** Why the endpoint that was tried last did not take the request; '' when none was. */
  #failure = '';
  #hasRetriedStale = false;
  #mustBeFresh = false;
  #first: BodyPart | undefined;
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
    this.#tried = undefined;
    this.#failure = '';
    this.#hasRetriedStale = false;
    this.#mustBeFresh = false;
    this.#first = first;
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
    const acquisition = action.upstream.acquire(
      { tried: this.#tried ?? NONE_TRIED, mustBeFresh: this.#mustBeFresh },
      this,
    );
    if (this.#phase === Phase.Acquiring) this.#acquisition = acquisition;
  }

  onFailure(reasonCode: string, address: string | undefined): void {
    if (this.#phase !== Phase.Acquiring) return;
    this.#acquisition = undefined;
    if (address !== undefined) {
      this.address = address;
      this.#failure = reasonCode;
      if (this.#mayTryAnother(address)) {
        this.#acquire();
        return;
      }
    }
    this.#phase = Phase.None;
    this.isUndelivered = true;
    /** That nobody is left says less than why the last one is not. */
    this.#owner.onNoAnswer(503, this.#failure || reasonCode);
  }

  #mayTryAnother(address: string): boolean {
    const retries = this.#action?.upstream.connectRetries ?? 0;
    this.#tried ??= new Set();
    if (this.#tried.size >= retries || this.#tried.has(address)) return false;
    this.#tried.add(address);
    return true;
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
    if (connection.isReused && !this.#hasRetriedStale) {
      this.#hasRetriedStale = true;
      this.#mustBeFresh = true;
      this.#acquire();
      return;
    }
    this.#phase = Phase.None;
    this.isUndelivered = true;
    this.#owner.onNoAnswer(503, 'upstream-reset');
  }

  #send(socket: Socket): void {
    const request = this.#request;
    const action = this.#action;
    const first = this.#first;
    if (request === undefined || action === undefined || first === undefined) return;
    const text = writeRequestHead(request, action.edits, this.#upgrade);
    const { bytes, tail } = first;
    this.isRequestSent = first.isLast;
    let isRoomy: boolean;
    if (bytes === undefined || bytes.length <= SMALL_BODY_BYTES) {
      const small = bytes === undefined ? '' : bytes.toString('latin1');
      isRoomy = socket.write(text + small + tail, 'latin1');
    } else {
      socket.cork();
      socket.write(text, 'latin1');
      isRoomy = socket.write(bytes);
      if (tail !== '') isRoomy = socket.write(tail, 'latin1');
      socket.uncork();
    }
    /** Of a longer body nothing is kept: it cannot be sent again. */
    if (!first.isLast && bytes !== undefined) this.#first = undefined;
    this.#isWaitingForDrain = !isRoomy;
    this.#owner.onSending();
  }

  /** @returns whether more may follow at once; else `onUpstreamDrain` tells when. */
  writeBody(part: BodyPart): boolean {
    const socket = this.#upstream?.socket;
    if (socket === undefined) return true;
    this.#first = undefined;
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
    this.#phase = Phase.Body;
    this.#first = undefined;
    this.#input.clear();
    this.#upstream?.report(true);
    this.body.begin(head.facts.framing, head.facts.contentLength);
    this.#owner.onAnswer(head, bytes, end);
    return false;
  }

  /** The endpoint's sidecar has not reached its application: @returns whether another is asked instead. */
  #movesOn(): boolean {
    const upstream = this.#upstream;
    const first = this.#first;
    if (upstream?.isMesh !== true || first === undefined) return false;
    if (this.head.facts.nominated?.includes(UNDELIVERED) !== true) return false;
    if (!this.#mayTryAnother(upstream.address)) return false;
    this.#failure = 'upstream-undelivered';
    upstream.report(false);
    this.#detach()?.discard();
    this.#first = first;
    this.#acquire();
    return true;
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
    upstream.report(true);
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
    this.#upstream?.report(false);
    this.abort();
  }

  #detach(): UpstreamConnection | undefined {
    this.#phase = Phase.None;
    this.#input.clear();
    this.#first = undefined;
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
      const first = this.#first;
      this.#detach()?.discard();
      this.#first = first;
      this.#hasRetriedStale = true;
      this.#mustBeFresh = true;
      this.#acquire();
      return;
    }
    this.#failHead(503, 'upstream-reset');
  }

  /** Whether its server had probably closed the connection before the request reached it. */
  #isStale(upstream: UpstreamConnection): boolean {
    return (
      upstream.isReused &&
      !this.#hasRetriedStale &&
      this.#input.isEmpty &&
      this.#interimAnswers === 0 &&
      this.#first !== undefined &&
      IDEMPOTENT.has(this.#request?.method ?? '')
    );
  }
}
