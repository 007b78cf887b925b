// The sending half of an HTTP/2 connection's socket: gathers frames, writes once a turn, and says when the peer takes too little.
import type { Socket } from 'node:net';
import { FlushTurn } from './flush-turn.ts';
import { FrameWriter } from './frame-writer.ts';
import { OutputBuffers } from './output-buffers.ts';

/** Written at once without waiting for the turn's end: more would only be held. */
const FLUSH_BYTES = 65_536;
/** 1 MiB: a peer that takes nothing is not listened to either, until it does. Bytes of streams are not among them: those wait within windows. */
const PAUSE_BYTES = 1_048_576;
/** 16 MiB: what the answers under way may come to after that; a peer beyond it has been given up. */
const MAX_BYTES = 16_777_216;

const turn = new FlushTurn();
const buffers = new OutputBuffers();

export interface OutputOwner {
  /** The socket takes more again. */
  onDrain(): void;
  /** The peer takes nothing and has made us say too much. */
  onOverflow(): void;
}

export class ConnectionOutput {
  readonly frames: FrameWriter = new FrameWriter(buffers);
  readonly #socket: Socket;
  readonly #owner: OutputOwner;
  /** Buffers of writes under way, in their order. */
  readonly #writing: (readonly Buffer[])[] = [];
  #isPlanned = false;
  #isBlocked = false;
  #isEnded = false;

  constructor(socket: Socket, owner: OutputOwner) {
    this.#socket = socket;
    this.#owner = owner;
    socket.on('drain', () => this.#onDrain());
  }

  /** Whether the socket has enough for now: DATA waits. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  get isStuffed(): boolean {
    return this.#isBlocked && this.#queuedBytes > PAUSE_BYTES;
  }

  get #queuedBytes(): number {
    return this.frames.pendingBytes + this.#socket.writableLength;
  }

  /** To be called after frames were written. */
  plan(): void {
    if (this.frames.pendingBytes >= FLUSH_BYTES && !this.#isBlocked) {
      this.flush();
      return;
    }
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    turn.add(this);
  }

  flush(): void {
    this.#isPlanned = false;
    if (this.#isBlocked) {
      if (this.#queuedBytes > MAX_BYTES) this.#owner.onOverflow();
      return;
    }
    this.#write();
  }

  /** Everything that is left, then the end. */
  end(): void {
    if (this.#isEnded) return;
    this.#write();
    this.#isEnded = true;
    this.#socket.end();
  }

  #write(): void {
    const socket = this.#socket;
    if (this.frames.pendingBytes === 0 || this.#isEnded) return;
    const { pieces, lent } = this.frames.take();
    if (socket.destroyed || !socket.writable) return;
    this.#writing.push(lent);
    const isMany = pieces.length > 1;
    if (isMany) socket.cork();
    for (let at = 0; at < pieces.length - 1; at++) socket.write(pieces[at] ?? '');
    const hasRoom = socket.write(pieces[pieces.length - 1] ?? '', this.#onWritten);
    if (isMany) socket.uncork();
    if (!hasRoom) this.#isBlocked = true;
  }

  /** Writes end in their order. What failed may still be read by somebody: its buffers are left to the collector. */
  readonly #onWritten = (error?: Error | null): void => {
    const lent = this.#writing.shift();
    if (lent === undefined || (error !== undefined && error !== null)) return;
    for (const buffer of lent) buffers.give(buffer);
  };

  #onDrain(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.#write();
    this.#owner.onDrain();
  }
}
