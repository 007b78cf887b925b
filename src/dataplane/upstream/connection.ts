// One HTTP/1 connection to an endpoint: lent to one exchange at a time, kept while idle, dropped when it says something unasked.
import type { Socket } from 'node:net';
import type { UpstreamUser } from '../http/h1-contract.ts';
import { IDLE_MS, MAX_IDLE, type UpstreamEndpoint } from './endpoint.ts';

export class PooledConnection {
  readonly socket: Socket;
  readonly generation: object | undefined;
  readonly #endpoint: UpstreamEndpoint;
  readonly #epoch: number;
  readonly #onResult: (status: number) => void;
  #isIdle = false;
  #isLent = true;
  #user: UpstreamUser | undefined;
  isReused = false;

  constructor(options: {
    readonly socket: Socket;
    readonly endpoint: UpstreamEndpoint;
    /** The endpoint's when connecting began. */
    readonly epoch: number;
    readonly generation: object | undefined;
    readonly onResult: (status: number) => void;
  }) {
    this.socket = options.socket;
    this.generation = options.generation;
    this.#endpoint = options.endpoint;
    this.#epoch = options.epoch;
    this.#onResult = options.onResult;
    const { socket } = this;
    /** Listens for as long as the connection lives: adding and removing listeners at every request would cost more. */
    socket.on('data', (chunk: Buffer) => {
      if (this.#user === undefined) this.#dropIdle();
      else this.#user.onData(chunk);
    });
    socket.on('end', () => {
      if (this.#user === undefined) this.#dropIdle();
      else this.#user.onEnd();
    });
    socket.on('drain', () => this.#user?.onDrain());
    socket.on('close', () => {
      this.#user?.onClose();
      this.#forget();
    });
    socket.setTimeout(IDLE_MS, () => this.#dropIdle());
  }

  get isMesh(): boolean {
    return this.generation !== undefined;
  }

  get address(): string {
    return this.#endpoint.address;
  }

  attach(user: UpstreamUser | undefined): void {
    this.#user = user;
  }

  /** Takes it out of the idle ones. @returns whether it can be used. */
  lend(): boolean {
    this.#isIdle = false;
    if (!isOpen(this.socket)) {
      this.socket.destroy();
      return false;
    }
    this.#isLent = true;
    this.isReused = true;
    return true;
  }

  /** The exchange is over and the connection can take another. */
  release(): void {
    if (!this.#isLent) return;
    this.#isLent = false;
    this.#user = undefined;
    const { socket } = this;
    const { idle, isRemoved, epoch } = this.#endpoint;
    const isOutdated = isRemoved || epoch !== this.#epoch;
    if (isOutdated || idle.length >= MAX_IDLE || !isOpen(socket)) {
      socket.destroy();
    } else {
      this.#isIdle = true;
      idle.push(this);
      if (socket.isPaused()) socket.resume();
    }
    this.#endpoint.end();
  }

  discard(): void {
    this.#user = undefined;
    this.socket.destroy();
    if (!this.#isLent) return;
    this.#isLent = false;
    this.#endpoint.end();
  }

  report(status: number): void {
    this.#onResult(status);
  }

  #dropIdle(): void {
    if (this.#isIdle) this.dispose();
  }

  /** Ends an idle connection. */
  dispose(): void {
    this.#isIdle = false;
    this.#forget();
    this.socket.destroy();
  }

  #forget(): void {
    const { idle } = this.#endpoint;
    const at = idle.indexOf(this);
    if (at !== -1) idle.splice(at, 1);
  }
}

const isOpen = (socket: Socket): boolean =>
  !socket.destroyed && socket.writable && !socket.readableEnded;
