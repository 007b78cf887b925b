// Serves one HTTP/1 connection: reads each request strictly, has it judged, relays it and its answer, in order.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { TcpTunnel } from '../tcp/tcp-proxy.ts';
import { writeAnswer, type LocalAnswer } from './h1-answer.ts';
import { DeadlineClock } from './h1-clock.ts';
import type {
  Http1Action,
  Http1Forward,
  Http1Hooks,
  Http1Options,
  UpstreamConnection,
} from './h1-contract.ts';
import { AnswerRelay } from './h1-answer-relay.ts';
import { writeResponseHead } from './h1-edit.ts';
import type { ExchangeOwner } from './h1-exchange-owner.ts';
import { UpstreamExchange } from './h1-exchange.ts';
import { DEFAULT_HEAD_LIMITS, Framing, type HeadLimits } from './h1-head.ts';
import { Input } from './h1-input.ts';
import { RequestBody } from './h1-request-body.ts';
import { Http1RequestHead } from './h1-request.ts';
import type { Http1ResponseHead } from './h1-response.ts';
import { openTunnel } from './h1-upgrade.ts';

export type * from './h1-contract.ts';
export type { Http1Edits } from './h1-edit.ts';

const State = {
  /** Between requests, or in the midst of a head. */
  Idle: 0,
  /** The hook's promise is awaited. */
  Deciding: 1,
  Exchanging: 2,
  /** Answered; the rest of the request's body is read and thrown away. */
  Discarding: 3,
  Tunnel: 4,
  /** The last answer is written; the client is given time to read it. */
  Lingering: 5,
  Closed: 6,
} as const;

/** A client that still sends when we have closed would lose the answer to our RST (RFC 9112 §9.6). */
const LINGER_MS = 1_000;
const UNDECIDED: Http1Action = {
  kind: 'respond',
  status: 503,
  body: 'decision-failed\n',
  reasonCode: 'decision-failed',
  headers: [],
};

/** One downstream connection. */
export class Http1Connection implements ExchangeOwner {
  readonly #socket: Socket;
  readonly #hooks: Http1Hooks;
  readonly #options: Http1Options;
  readonly #readOptions: { readonly limits: HeadLimits; readonly allowAbsoluteForm: boolean };
  readonly #clock: DeadlineClock;
  readonly #exchange: UpstreamExchange;
  readonly #answer: AnswerRelay;
  readonly #input = new Input();
  readonly #head = new Http1RequestHead();
  readonly #body = new RequestBody(this.#input);
  #state: number = State.Idle;
  #isAdvancing = false;
  #isPaused = false;
  #isDraining = false;
  #hasProgress = false;
  #tunnel: TcpTunnel | undefined;
  /** Why the tunnel was cut. */
  #tunnelCut: string | undefined;
  /** Bytes that the client had not taken when progress was looked at last. */
  #waitingBefore = 0;
  #forward: Http1Forward | undefined;
  /** A head is being waited for since its first byte. */
  #isHeadBegun = false;
  #skippedLines = 0;
  // Of the request under way:
  #isOpen = false;
  #isClosing = false;
  #hasContinued = false;
  #startedAt = 0;
  #status = 0;

  constructor(socket: Socket, hooks: Http1Hooks, options: Http1Options) {
    this.#socket = socket;
    this.#hooks = hooks;
    this.#options = options;
    const limits = { ...DEFAULT_HEAD_LIMITS, ...options.limits };
    this.#readOptions = { limits, allowAbsoluteForm: options.allowAbsoluteForm };
    this.#exchange = new UpstreamExchange(this, limits);
    this.#answer = new AnswerRelay(socket, this.#exchange.body);
    const { idleTimeoutMs, headTimeoutMs, responseTimeoutMs } = options;
    this.#clock = new DeadlineClock([idleTimeoutMs, headTimeoutMs, responseTimeoutMs], () =>
      this.#onDeadline(),
    );
    this.#clock.set(performance.now(), idleTimeoutMs);
    /** A tunnel passes half-close on; everything else closes by itself when the client ends. */
    socket.allowHalfOpen = true;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
    socket.resume();
  }

  /** The request under way is cut, or refused when its answer has not begun, if it is not allowed any more. */
  rejudge(): void {
    const isUnderWay = this.#state === State.Exchanging || this.#state === State.Tunnel;
    if (!isUnderWay || this.#hooks.isStillAllowed(this.#head)) return;
    if (this.#state === State.Tunnel || this.#status !== 0) {
      this.#cutRequest('policy-changed');
      return;
    }
    this.#exchange.abort();
    this.#respondShortly(403, 'policy-changed');
  }

  /** The next answer, or the one under way, is the last; without a request the connection closes now. */
  drain(): void {
    this.#isDraining = true;
    if (this.#state === State.Idle && this.#input.isEmpty) this.#close();
  }

  cut(): void {
    this.#cutRequest('cut');
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === State.Lingering || this.#state === State.Closed) return;
    this.#hasProgress = true;
    this.#input.append(chunk);
    this.#takeInput();
  };

  #takeInput(): void {
    switch (this.#state) {
      case State.Idle:
        this.#advance();
        return;
      case State.Exchanging:
        if (this.#body.isDone || !this.#exchange.isSending || this.#exchange.isCongested) {
          this.#pause();
        } else this.#relayBody();
        return;
      case State.Discarding:
        this.#discardBody();
        return;
      case State.Deciding:
        this.#pause();
        return;
      default:
    }
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** Serves the requests that are in hand, one after the other, as long as their answers find room. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    while (this.#state === State.Idle && !this.#input.isEmpty) {
      if (this.#socket.writableNeedDrain) break;
      if (!this.#readHead()) break;
    }
    this.#isAdvancing = false;
    if (this.#state !== State.Idle) return;
    /** Who does not read answers is not asked for more requests (CVE-2020-8661). */
    if (this.#socket.writableNeedDrain) this.#pause();
    else this.#resume();
  }

  #readHead(): boolean {
    const input = this.#input;
    const { bytes } = input;
    /** One empty line before a request is forgiven (RFC 9112 §2.2). */
    if (this.#skippedLines === 0 && bytes[input.at] === 0x0d && bytes[input.at + 1] === 0x0a) {
      this.#skippedLines++;
      input.at += 2;
      if (input.isEmpty) return false;
    }
    const scanFrom = Math.max(input.at, input.scanFrom);
    const end = this.#head.read(bytes, input.at, scanFrom, this.#readOptions);
    if (end === 0) {
      input.markScanned();
      if (!this.#isHeadBegun) {
        this.#isHeadBegun = true;
        this.#clock.set(performance.now(), this.#options.headTimeoutMs);
      }
      return false;
    }
    this.#openRequest();
    if (end === -1) {
      this.#refuse(this.#head.status, this.#head.reasonCode, false);
      return false;
    }
    input.at = end;
    this.#serve();
    return true;
  }

  #openRequest(): void {
    this.#isHeadBegun = false;
    this.#skippedLines = 0;
    this.#isOpen = true;
    this.#isClosing = this.#isDraining;
    this.#hasContinued = false;
    this.#startedAt = performance.now();
    this.#status = 0;
    this.#answer.reset();
    this.#body.beginWithout();
    this.#exchange.address = '';
    this.#clock.set(0, 0);
  }

  /** A request that cannot be trusted to end where it seems to: the last of its connection. */
  #refuse(status: number, reasonCode: string, isHeadKnown: boolean): void {
    this.#isClosing = true;
    this.#writeAnswer({ status, body: `${reasonCode}\n`, headers: [] });
    this.#complete(reasonCode, isHeadKnown);
    this.#close();
  }

  #serve(): void {
    const head = this.#head;
    this.#body.begin(head);
    if (!head.isKeepAlive) this.#isClosing = true;
    const action = this.#hooks.onRequest(head);
    if (!(action instanceof Promise)) {
      this.#act(action);
      return;
    }
    this.#state = State.Deciding;
    action.then(
      (decided) => this.#onDecided(decided),
      () => this.#onDecided(UNDECIDED),
    );
  }

  #onDecided(action: Http1Action): void {
    if (this.#state !== State.Deciding) return;
    /** The rules may have changed while the answer was looked for. */
    const isForbidden = action.kind === 'forward' && !this.#hooks.isStillAllowed(this.#head);
    if (isForbidden) this.#respondShortly(403, 'policy-changed');
    else this.#act(action);
  }

  #act(action: Http1Action): void {
    this.#state = State.Exchanging;
    if (action.kind === 'respond') {
      this.#respond(action, action.reasonCode);
      return;
    }
    const token = this.#head.upgradeToken;
    const upgrade = token !== '' && this.#options.upgrades.includes(token) ? token : '';
    if (upgrade !== '' && this.#head.hasBody) {
      this.#refuse(400, 'upgrade-with-body', true);
      return;
    }
    this.#forward = action;
    const first = this.#body.take(action.edits.isRemoved);
    if (first === undefined) this.#refuseBody();
    else this.#exchange.begin(this.#head, action, upgrade, first);
  }

  #refuseBody(): void {
    this.#exchange.abort();
    const { reasonCode } = this.#body;
    if (this.#status === 0) this.#refuse(400, reasonCode, true);
    else this.#cutRequest(reasonCode);
  }

  #relayBody(): void {
    if (this.#forward === undefined) return;
    const part = this.#body.take(this.#forward.edits.isRemoved);
    if (part === undefined) {
      this.#refuseBody();
      return;
    }
    const isRoomy = this.#exchange.writeBody(part);
    if (part.isLast) this.#onRequestSent();
    else if (!isRoomy) this.#pause();
  }

  #onRequestSent(): void {
    if (this.#status === 0) this.#clock.set(performance.now(), this.#options.responseTimeoutMs);
    if (!this.#input.isEmpty) this.#pause();
    else this.#resume();
  }

  onSending(): void {
    if (this.#body.isDone) {
      this.#onRequestSent();
      return;
    }
    this.#hasProgress = false;
    this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
    if (this.#exchange.isCongested) this.#pause();
    else this.onUpstreamDrain();
  }

  onUpstreamDrain(): void {
    this.#hasProgress = true;
    if (this.#state !== State.Exchanging || this.#body.isDone) return;
    if (!this.#input.isEmpty) this.#relayBody();
    const isWaiting = this.#state === State.Exchanging && !this.#body.isDone;
    if (isWaiting && !this.#exchange.isCongested) this.#resume();
  }

  onInterim(head: Http1ResponseHead): void {
    if (this.#head.isHttp10) return;
    if (head.status === 100) this.#hasContinued = true;
    this.#socket.write(writeResponseHead(head, { isClosing: false, isUnchunked: false }), 'latin1');
  }

  onAnswer(head: Http1ResponseHead, chunk: Buffer, bodyStart: number): void {
    this.#status = head.status;
    if (this.#isDraining || head.facts.framing === Framing.UntilClose) this.#isClosing = true;
    /** Whether its body will come, a client that waited for 100 leaves open. */
    if (!this.#body.isDone && this.#head.expectsContinue && !this.#hasContinued) {
      this.#isClosing = true;
    }
    const isUnchunked = this.#head.isHttp10 && head.facts.framing === Framing.Chunked;
    const edits = { isClosing: this.#isClosing, isUnchunked };
    const end = this.#answer.begin(head, chunk, bodyStart, edits);
    if (!this.#exchange.body.isDone) {
      this.#hasProgress = false;
      this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
    }
    this.#onAnswerPart(chunk, end);
  }

  onAnswerBody(chunk: Buffer): void {
    this.#hasProgress = true;
    this.#onAnswerPart(chunk, this.#answer.write(chunk));
  }

  #onAnswerPart(chunk: Buffer, end: number): void {
    if (this.#answer.reasonCode !== '') {
      this.#exchange.blame();
      this.#cutRequest(this.#answer.reasonCode);
    } else if (this.#exchange.body.isDone) {
      this.#exchange.finish(end < chunk.length);
      this.#onAnswered('');
    } else if (!this.#answer.isRoomy) this.#exchange.pause();
  }

  onEndOfConnection(): void {
    this.#onAnswered('');
  }

  onNoAnswer(status: number, reasonCode: string): void {
    this.#respondShortly(status, reasonCode);
  }

  /** The client must see that the answer is not whole: where only the end tells, the connection is reset. */
  onBrokenAnswer(reasonCode: string): void {
    this.#complete(reasonCode, true);
    this.#state = State.Closed;
    const isReset = this.#exchange.body.isUntilClose && !(this.#socket instanceof TLSSocket);
    if (isReset) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  onUpgraded(head: Http1ResponseHead, upstream: UpstreamConnection, rest: Buffer): void {
    const socket = this.#socket;
    this.#state = State.Tunnel;
    this.#status = 101;
    this.#clock[Symbol.dispose]();
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('drain', this.#onDrain);
    this.#tunnel = openTunnel({
      head,
      downstream: socket,
      upstream: upstream.socket,
      early: this.#input,
      rest,
      idleTimeoutMs: this.#options.idleTimeoutMs,
      onDone: ({ end, bytesReceived, bytesSent }) => {
        upstream.discard();
        this.#body.bytesReceived = bytesReceived;
        this.#answer.bytesSent = bytesSent;
        this.#complete(this.#tunnelCut ?? (end === 'closed' ? '' : end), true);
        this.#hooks.onClose();
      },
    });
  }

  #respondShortly(status: number, reasonCode: string): void {
    this.#respond({ status, body: `${reasonCode}\n`, headers: [] }, reasonCode);
  }

  #respond(answer: LocalAnswer, reasonCode: string): void {
    const body = this.#body;
    if (this.#isDraining) this.#isClosing = true;
    if (!body.isDone) {
      body.skip();
      const isAwaited = this.#head.expectsContinue && !this.#hasContinued;
      if (isAwaited || body.isTooLong) this.#isClosing = true;
    }
    if (body.reasonCode !== '') this.#isClosing = true;
    this.#writeAnswer(answer);
    this.#onAnswered(reasonCode);
  }

  #writeAnswer(answer: LocalAnswer): void {
    this.#status = answer.status;
    const isHead = this.#head.method === 'HEAD';
    const text = writeAnswer(answer, { isHead, isClosing: this.#isClosing });
    this.#socket.write(text, 'latin1');
    if (!isHead) this.#answer.bytesSent = answer.body.length;
  }

  /** The answer is written. */
  #onAnswered(reasonCode: string): void {
    this.#complete(reasonCode, true);
    if (this.#isClosing) {
      this.#close();
      return;
    }
    this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
    if (this.#body.isDone) {
      this.#awaitNext();
      return;
    }
    this.#state = State.Discarding;
    this.#discardBody();
    if (this.#state === State.Discarding) this.#resume();
  }

  #discardBody(): void {
    this.#body.skip();
    if (this.#body.reasonCode !== '' || this.#body.isTooLong) this.#close();
    else if (this.#body.isDone) this.#awaitNext();
  }

  #awaitNext(): void {
    if (this.#isDraining) {
      this.#close();
      return;
    }
    this.#state = State.Idle;
    this.#advance();
  }

  /** Tells the caller, once for each request. */
  #complete(reasonCode: string, isHeadKnown: boolean): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#forward = undefined;
    this.#hooks.onComplete({
      head: isHeadKnown ? this.#head : undefined,
      status: this.#status,
      bytesReceived: this.#body.bytesReceived,
      bytesSent: this.#answer.bytesSent,
      durationMs: performance.now() - this.#startedAt,
      upstream: this.#exchange.address,
      reasonCode,
    });
  }

  #cutRequest(reasonCode: string): void {
    this.#tunnelCut = reasonCode;
    if (this.#tunnel !== undefined) {
      this.#tunnel.cut();
      return;
    }
    this.#exchange.abort();
    this.#complete(reasonCode, true);
    this.#state = State.Closed;
    this.#socket.destroy();
  }

  /** Ends the connection, and reads on for a while so that the client gets what was written last. */
  #close(): void {
    this.#state = State.Lingering;
    this.#input.clear();
    this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
    this.#resume();
    this.#socket.end(() => {
      setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
    });
  }

  readonly #onDrain = (): void => {
    this.#hasProgress = true;
    if (this.#state === State.Exchanging) this.#exchange.resume();
    else if (this.#state === State.Idle) this.#advance();
  };

  readonly #onEnd = (): void => {
    if (this.#state === State.Exchanging || this.#state === State.Deciding) {
      this.#cutRequest('client-closed');
    } else if (this.#state !== State.Lingering) this.#close();
  };

  readonly #onError = (): void => {
    this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#clock[Symbol.dispose]();
    if (this.#tunnel !== undefined) return;
    this.#state = State.Closed;
    this.#exchange.abort();
    this.#complete('client-closed', true);
    this.#hooks.onClose();
  };

  #onDeadline(): void {
    switch (this.#state) {
      case State.Idle:
        if (!this.#isHeadBegun) {
          this.#close();
          return;
        }
        this.#openRequest();
        this.#refuse(408, 'head-timeout', false);
        return;
      case State.Exchanging:
        if (this.#body.isDone && this.#status === 0) {
          this.#exchange.blame();
          this.#respondShortly(504, 'upstream-timeout');
        } else this.#checkProgress('stream-idle-timeout');
        return;
      default:
        this.#checkProgress('idle-timeout');
    }
  }

  #checkProgress(reasonCode: string): void {
    const waiting = this.#socket.writableLength;
    const isMoving = this.#hasProgress || waiting < this.#waitingBefore;
    this.#hasProgress = false;
    this.#waitingBefore = waiting;
    if (isMoving) this.#clock.set(performance.now(), this.#options.idleTimeoutMs);
    else this.#cutRequest(reasonCode);
  }
}
