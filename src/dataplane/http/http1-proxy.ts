// Serves one HTTP/1 connection: reads each request strictly, has it judged, relays it and its answer, in order.
import type { Socket } from 'node:net';
import { whenJudged } from '../filters/when-judged.ts';
import type { TcpTunnel } from '../tcp/tcp-proxy.ts';
import { writeAnswer, type LocalAnswer } from './h1-answer.ts';
import {
  UNDECIDED,
  type Http1Action,
  type Http1Hooks,
  type Http1Options,
  type UpstreamConnection,
} from './h1-contract.ts';
import { statusOfBadBody } from '../traffic/body-limits.ts';
import { Downstream, DRAIN_NOTICE_MS } from './h1-downstream.ts';
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from './h1-head.ts';
import { Input } from './h1-input.ts';
import { RequestRelay, type RelayOwner } from './h1-relay.ts';
import { Http1RequestHead } from './h1-request.ts';
import type { Http1ResponseHead } from './h1-response.ts';
import { State } from './h1-state.ts';
import { openTunnel } from './h1-upgrade.ts';

export type * from './h1-contract.ts';
export type { Http1Edits } from './h1-edit.ts';

/** One downstream connection. */
export class Http1Connection implements RelayOwner {
  readonly #socket: Socket;
  readonly #hooks: Http1Hooks;
  readonly #options: Http1Options;
  readonly #readOptions: { readonly limits: HeadLimits; readonly allowAbsoluteForm: boolean };
  readonly #downstream: Downstream;
  readonly #input = new Input();
  readonly #head = new Http1RequestHead();
  readonly #relay: RequestRelay;
  #state: number = State.Idle;
  #isAdvancing = false;
  #isDraining = false;
  #tunnel: TcpTunnel | undefined;
  /** Why the tunnel was cut. */
  #tunnelCut: string | undefined;
  /** A head is being waited for since its first byte. */
  #isHeadBegun = false;
  #hasSkippedLine = false;
  /** A request is under way that has not been told of by `onComplete`. */
  #isOpen = false;
  #isHeadKnown = false;
  /** Counts requests: what was asked of one must not be answered for the next. */
  #serial = 0;
  #startedAt = 0;

  constructor(socket: Socket, hooks: Http1Hooks, options: Http1Options) {
    this.#socket = socket;
    this.#hooks = hooks;
    this.#options = options;
    const limits = { ...DEFAULT_HEAD_LIMITS, ...options.limits };
    this.#readOptions = { limits, allowAbsoluteForm: options.allowAbsoluteForm };
    this.#downstream = new Downstream(socket, options, () => this.#onDeadline());
    this.#relay = new RequestRelay(this, {
      downstream: this.#downstream,
      input: this.#input,
      head: this.#head,
      limits,
    });
    /** A tunnel passes half-close on; everything else closes by itself when the client ends. */
    socket.allowHalfOpen = true;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
    /** The client may have ended before anybody listened. */
    if (socket.readableEnded) this.#onEnd();
    socket.resume();
  }

  /** The request under way is cut, or refused when its answer has not begun, if it is not allowed any more. */
  rejudge(): void {
    if (!this.#isUnderWay) return;
    const serial = this.#serial;
    whenJudged(this.#hooks.isStillAllowed(this.#head), (isAllowed) => {
      if (!isAllowed && this.#isUnderWay && this.#serial === serial) this.#forbid();
    });
  }

  get #isUnderWay(): boolean {
    return this.#state === State.Relaying || this.#state === State.Tunnel;
  }

  #forbid(): void {
    if (this.#relay.status !== 0) {
      this.#cut('policy-changed');
      return;
    }
    this.#relay.abort();
    this.onNoAnswer(403, 'policy-changed');
  }

  /** The next answer, or the one under way, is the last; without one the connection closes soon. */
  drain(): void {
    this.#isDraining = true;
    this.#relay.isClosing = true;
    setTimeout(this.#endIfQuiet, DRAIN_NOTICE_MS).unref();
  }

  readonly #endIfQuiet = (): void => {
    if (this.#state === State.Idle && this.#input.isEmpty) this.#end();
  };

  cut(): void {
    this.#cut('cut');
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === State.Lingering || this.#state === State.Closed) return;
    this.#downstream.noteProgress();
    this.#input.append(chunk);
    if (this.#state === State.Relaying) this.#relay.takeInput();
    else if (this.#state === State.Idle) this.#advance();
    else if (this.#state === State.Discarding) this.#discardBody();
    else this.#downstream.pause();
  };

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
    this.#input.forgetRead();
    /** Who does not read answers is not asked for more requests (CVE-2020-8661). */
    if (this.#socket.writableNeedDrain) this.#downstream.pause();
    else this.#downstream.resume();
  }

  /** @returns whether a whole head was there. */
  #readHead(): boolean {
    const input = this.#input;
    const { bytes } = input;
    /** One empty line before a request is forgiven (RFC 9112 §2.2). */
    if (!this.#hasSkippedLine && bytes[input.at] === 0x0d && bytes[input.at + 1] === 0x0a) {
      this.#hasSkippedLine = true;
      input.at += 2;
      if (input.isEmpty) return false;
    }
    const scanFrom = Math.max(input.at, input.scanFrom);
    const end = this.#head.read(bytes, input.at, scanFrom, this.#readOptions);
    if (end === 0) {
      input.markScanned();
      if (!this.#isHeadBegun) this.#downstream.startHead();
      this.#isHeadBegun = true;
      return false;
    }
    this.#open(end !== -1);
    if (end === -1) {
      this.#refuse(this.#head.status, this.#head.reasonCode);
      return false;
    }
    input.at = end;
    this.#serve();
    return true;
  }

  #open(isHeadKnown: boolean): void {
    this.#isHeadBegun = false;
    this.#hasSkippedLine = false;
    this.#isOpen = true;
    this.#serial++;
    this.#isHeadKnown = isHeadKnown;
    this.#startedAt = performance.now();
    this.#relay.reset();
    this.#relay.isClosing = this.#isDraining;
    this.#downstream.stopClock();
  }

  #serve(): void {
    const head = this.#head;
    this.#relay.body.begin(head);
    if (!head.isKeepAlive) this.#relay.isClosing = true;
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
    if (action.kind === 'respond') {
      this.#act(action);
      return;
    }
    /** The rules may have changed while the answer was looked for. */
    whenJudged(this.#hooks.isStillAllowed(this.#head), (isAllowed) => {
      if (this.#state !== State.Deciding) return;
      if (isAllowed) this.#act(action);
      else this.onNoAnswer(403, 'policy-changed');
    });
  }

  #act(action: Http1Action): void {
    this.#state = State.Relaying;
    if (action.kind === 'respond') {
      this.#respond(action, action.reasonCode);
      return;
    }
    const token = this.#head.upgradeToken;
    const upgrade = token !== '' && this.#options.upgrades.includes(token) ? token : '';
    if (upgrade !== '' && this.#head.hasBody) this.#refuse(400, 'upgrade-with-body');
    else this.#relay.begin(action, upgrade);
  }

  onAnswered(): void {
    this.#finish('');
  }

  onNoAnswer(status: number, reasonCode: string): void {
    this.#respond({ status, body: `${reasonCode}\n`, headers: [] }, reasonCode);
  }

  onBadBody(reasonCode: string): void {
    if (this.#relay.status === 0) this.#refuse(statusOfBadBody(reasonCode), reasonCode);
    else this.#cut(reasonCode);
  }

  onBrokenAnswer(reasonCode: string, isReset: boolean): void {
    this.#complete(reasonCode);
    this.#state = State.Closed;
    if (isReset) this.#downstream.reset();
    else this.#socket.destroy();
  }

  onUpgraded(head: Http1ResponseHead, upstream: UpstreamConnection, rest: Buffer): void {
    const socket = this.#socket;
    const relay = this.#relay;
    this.#state = State.Tunnel;
    relay.status = head.status;
    this.#downstream[Symbol.dispose]();
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
        relay.body.bytesReceived = bytesReceived;
        relay.bytesSent = bytesSent;
        this.#complete(this.#tunnelCut ?? (end === 'closed' ? '' : end));
        this.#hooks.onClose();
      },
    });
  }

  /** A request that cannot be trusted to end where it seems to: the last of its connection. */
  #refuse(status: number, reasonCode: string): void {
    this.#relay.isClosing = true;
    this.#write({ status, body: `${reasonCode}\n`, headers: [] });
    this.#complete(reasonCode);
    this.#end();
  }

  #respond(answer: LocalAnswer, reasonCode: string): void {
    const relay = this.#relay;
    relay.body.skip();
    if (relay.isBodyUncertain || relay.body.isTooLong || relay.body.reasonCode !== '') {
      relay.isClosing = true;
    }
    this.#write(answer);
    this.#finish(reasonCode);
  }

  #write(answer: LocalAnswer): void {
    const relay = this.#relay;
    relay.status = answer.status;
    const isHead = this.#isHeadKnown && this.#head.method === 'HEAD';
    if (!isHead) relay.bytesSent = answer.body.length;
    const { isClosing } = relay;
    const isUndelivered = this.#options.tellsUndelivered === true && relay.isUndelivered;
    this.#downstream.write(writeAnswer(answer, { isHead, isClosing, isUndelivered }));
  }

  /** The answer is written: on to the next request, or to the end. */
  #finish(reasonCode: string): void {
    this.#complete(reasonCode);
    if (this.#relay.isClosing && this.#relay.body.isDone) {
      this.#end();
      return;
    }
    this.#downstream.startIdle();
    if (this.#relay.body.isDone) {
      this.#state = State.Idle;
      this.#advance();
      return;
    }
    this.#state = State.Discarding;
    this.#discardBody();
  }

  #discardBody(): void {
    const { body, isClosing } = this.#relay;
    body.skip();
    if (isClosing || body.reasonCode !== '' || body.isTooLong) this.#end();
    else if (body.isDone) {
      this.#state = State.Idle;
      this.#advance();
    } else this.#downstream.resume();
  }

  /** Tells the caller, once for each request. */
  #complete(reasonCode: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#relay.endGuard();
    const { status, body, bytesSent, address } = this.#relay;
    this.#hooks.onComplete({
      head: this.#isHeadKnown ? this.#head : undefined,
      status,
      bytesReceived: body.bytesReceived,
      bytesSent,
      durationMs: performance.now() - this.#startedAt,
      upstream: address,
      reasonCode,
    });
  }

  #cut(reasonCode: string): void {
    if (this.#tunnel !== undefined) {
      this.#tunnelCut ??= reasonCode;
      this.#tunnel.cut();
      return;
    }
    this.#relay.abort();
    this.#complete(reasonCode);
    this.#state = State.Closed;
    this.#socket.destroy();
  }

  #end(): void {
    this.#state = State.Lingering;
    this.#input.clear();
    this.#downstream.end();
  }

  readonly #onDrain = (): void => {
    this.#downstream.noteProgress();
    if (this.#state === State.Relaying) this.#relay.onDownstreamDrain();
    else if (this.#state === State.Idle) this.#advance();
  };

  /** As Node's own server does it: a client that has ended is gone, whatever is still due to it. */
  readonly #onEnd = (): void => {
    if (this.#state === State.Relaying || this.#state === State.Deciding) {
      this.#cut('client-closed');
    } else if (this.#state !== State.Lingering) this.#end();
  };

  readonly #onError = (): void => {
    this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#downstream[Symbol.dispose]();
    if (this.#tunnel !== undefined) return;
    this.#state = State.Closed;
    this.#relay.abort();
    this.#complete('client-closed');
    this.#hooks.onClose();
  };

  #onDeadline(): void {
    if (this.#state === State.Idle) {
      if (this.#isHeadBegun) {
        this.#open(false);
        this.#refuse(408, 'head-timeout');
      } else this.#end();
      return;
    }
    const isWaiting = this.#state === State.Relaying && this.#relay.body.isDone;
    if (isWaiting && this.#relay.status === 0) {
      this.#relay.blame();
      this.onNoAnswer(504, 'upstream-timeout');
    } else if (!this.#downstream.checkProgress()) this.#cut('stream-idle-timeout');
  }
}
