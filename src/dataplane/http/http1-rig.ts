// A proxy in front of one backend on real sockets, for the tests of this directory.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import tls from 'node:tls';
import type { RequestHead } from '../filters/connection-facts.ts';
import {
  Http1Connection,
  type AcquireHandlers,
  type AcquireWant,
  type Http1Action,
  type Http1Completion,
  type Http1Options,
  type Http1Upstream,
  type UpstreamConnection,
  type UpstreamUser,
} from './http1-proxy.ts';

export const TEST_OPTIONS: Http1Options = {
  idleTimeoutMs: 60_000,
  headTimeoutMs: 10_000,
  responseTimeoutMs: 0,
  allowAbsoluteForm: false,
  upgrades: ['websocket'],
};

export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A last-in first-out pool of one backend's connections, as simple as it can be. */
export class TestUpstream implements Http1Upstream {
  connectRetries = 1;
  readonly idle: Socket[] = [];
  readonly reports: number[] = [];
  readonly wants: AcquireWant[] = [];
  readonly all = new Set<Socket>();
  /** The port for an attempt; later attempts may get another. */
  port: (attempt: number) => number;
  released = 0;
  discarded = 0;

  constructor(port: number) {
    this.port = () => port;
  }

  acquire(want: AcquireWant, handlers: AcquireHandlers): Disposable {
    this.wants.push({ ...want, tried: new Set(want.tried), mustBeFresh: want.mustBeFresh });
    const pooled = want.mustBeFresh ? undefined : this.idle.pop();
    if (pooled !== undefined) {
      handlers.onConnection(this.#wrap(pooled, true));
      return { [Symbol.dispose]: () => undefined };
    }
    const port = this.port(want.tried.size);
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.all.add(socket);
    socket.setNoDelay(true);
    let isSettled = false;
    socket.on('error', () => {
      if (isSettled) return;
      isSettled = true;
      handlers.onFailure('upstream-connect-failed', `127.0.0.1:${port}`);
    });
    socket.on('connect', () => {
      isSettled = true;
      handlers.onConnection(this.#wrap(socket, false));
    });
    return {
      [Symbol.dispose]: () => {
        isSettled = true;
        socket.destroy();
      },
    };
  }

  #wrap(socket: Socket, isReused: boolean): UpstreamConnection {
    let user: UpstreamUser | undefined;
    const listeners = {
      data: (chunk: Buffer) => user?.onData(chunk),
      end: () => user?.onEnd(),
      close: () => user?.onClose(),
      drain: () => user?.onDrain(),
    };
    for (const [name, listener] of Object.entries(listeners)) socket.on(name, listener);
    return {
      socket,
      isReused,
      attach: (next) => {
        user = next;
      },
      address: `127.0.0.1:${socket.remotePort}`,
      release: () => {
        for (const [name, listener] of Object.entries(listeners)) socket.off(name, listener);
        /** One `end` listener is Node's own. */
        assert.ok(socket.listenerCount('end') <= 1);
        assert.equal(socket.listenerCount('data') + socket.listenerCount('drain'), 0);
        this.released++;
        this.idle.push(socket);
      },
      discard: () => {
        this.discarded++;
        socket.destroy();
      },
      report: (status) => this.reports.push(status),
    };
  }
}

export interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly upstream: TestUpstream;
  readonly completions: Http1Completion[];
  /** Copies, taken when the hook was asked. */
  readonly requests: { method: string; path: string; authority: string }[];
  readonly connections: Http1Connection[];
  readonly sockets: Socket[];
  closes: number;
  allow: (head: RequestHead) => boolean | Promise<boolean>;
  completed(count: number): Promise<void>;
}

export interface RigOptions {
  /** Given, the proxy speaks TLS. */
  readonly credential?: { readonly keyPem: string; readonly chainPem: string };
  readonly act?: (
    head: RequestHead,
    upstream: Http1Upstream,
  ) => Http1Action | Promise<Http1Action> | undefined;
  readonly options?: Partial<Http1Options>;
}

export async function createRig(backendPort: number, rigOptions: RigOptions = {}): Promise<Rig> {
  const upstream = new TestUpstream(backendPort);
  const completions: Http1Completion[] = [];
  const waiting: (() => void)[] = [];
  const wake = (): void => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  const sockets: Socket[] = [];
  const { credential } = rigOptions;
  const serve = (socket: Socket): void => {
    sockets.push(socket);
    const connection = new Http1Connection(
      socket,
      {
        onRequest: (head) => {
          rig.requests.push({ method: head.method, path: head.path, authority: head.authority });
          return (
            rigOptions.act?.(head, upstream) ?? {
              kind: 'forward',
              upstream,
              edits: {
                target: head.path,
                isRemoved: (name) => name.startsWith('x-weft-'),
                added: [],
              },
            }
          );
        },
        isStillAllowed: (head) => rig.allow(head),
        onComplete: (completion) => {
          completions.push(completion);
          wake();
        },
        onClose: () => {
          rig.closes++;
          wake();
        },
      },
      { ...TEST_OPTIONS, ...rigOptions.options },
    );
    rig.connections.push(connection);
  };
  const front =
    credential === undefined
      ? net.createServer({ noDelay: true, allowHalfOpen: true }, serve)
      : tls.createServer({ key: credential.keyPem, cert: credential.chainPem }, serve);
  const rig: Rig = {
    port: await listen(front),
    upstream,
    completions,
    requests: [],
    connections: [],
    sockets,
    closes: 0,
    allow: () => true,
    completed: async (count) => {
      while (completions.length < count)
        await new Promise<void>((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [...sockets, ...upstream.all]) socket.destroy();
      const closed = once(front, 'close');
      front.close();
      await closed;
    },
  };
  return rig;
}

/** A backend that speaks bytes: `serve` gets each connection. */
export async function createBackend(
  serve: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly port: number; readonly sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  const port = await listen(server);
  return {
    port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

/** A client that speaks bytes and reads until what it waits for has come. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  text = '';
  isEnded = false;
  error: string | undefined;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.setNoDelay(true);
    this.socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
      this.#wake();
    });
    this.socket.on('end', () => {
      this.isEnded = true;
      this.#wake();
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    this.socket.on('close', () => {
      this.isEnded = true;
      this.#wake();
    });
  }

  write(text: string | Buffer): void {
    this.socket.write(text, 'latin1');
  }

  async until(isThere: (text: string) => boolean): Promise<string> {
    while (!isThere(this.text)) {
      assert.ok(!this.isEnded, `ended early, after: ${this.text}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.text;
  }

  async ended(): Promise<string> {
    while (!this.isEnded) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.text;
  }

  /** Forgets what has come. */
  take(): string {
    const { text } = this;
    this.text = '';
    return text;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
