// Clients and applications of a test: they know nothing of the mesh.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { eventually, PATIENCE_MS, within } from './lab-wait.ts';

export const splitAddress = (address: string): { readonly host: string; readonly port: number } => {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
};

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
}

export interface CallOptions {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  /** Default: a connection for this call alone. */
  readonly agent?: http.Agent;
  /** Default {@link PATIENCE_MS}. */
  readonly timeoutMs?: number;
}

/** @throws Error when the connection is refused, cut or silent. */
export function call(address: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { method = 'GET', headers, body, agent = false, timeoutMs = PATIENCE_MS } = options;
  const request = http.request(
    { ...splitAddress(address), path, method, agent, ...(headers && { headers }) },
    (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(parts).toString(),
          trailers: response.trailers,
        });
      });
      response.on('error', reject);
    },
  );
  const timer = setTimeout(
    () => request.destroy(new Error(`no answer of ${address}${path} in ${timeoutMs} ms`)),
    timeoutMs,
  );
  request.on('error', (error) => {
    clearTimeout(timer);
    reject(error);
  });
  request.end(body);
  return promise;
}

/** The reason why the call was not answered at all. */
export const failureOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

/** A connection whose bytes and end can be waited for. */
export class RawConnection implements Disposable {
  readonly socket: net.Socket;
  #received = Buffer.alloc(0);
  #isEnded = false;
  #closedAtMs: number | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (part: Buffer) => {
      this.#received = Buffer.concat([this.#received, part]);
    });
    socket.on('end', () => {
      this.#isEnded = true;
    });
    socket.on('close', () => {
      this.#closedAtMs = performance.now();
    });
    // A reset is a way to be closed.
    socket.on('error', () => {});
  }

  get received(): Buffer {
    return this.#received;
  }

  get text(): string {
    return this.#received.toString('latin1');
  }

  /** The peer has sent its end. */
  get isEnded(): boolean {
    return this.#isEnded || this.isClosed;
  }

  get isClosed(): boolean {
    return this.#closedAtMs !== undefined;
  }

  write(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** What has come once it holds `text`. */
  reads(text: string, withinMs = PATIENCE_MS): Promise<string> {
    return eventually(() => (this.text.includes(text) ? this.text : undefined), {
      what: `reading ${JSON.stringify(text)}`,
      withinMs,
      told: () => `read ${JSON.stringify(this.text.slice(0, 500))}, closed: ${this.isClosed}`,
    });
  }

  /** @returns the ms until the peer closed it. */
  async closed(withinMs = PATIENCE_MS): Promise<number> {
    const from = performance.now();
    const told = (): string => `read ${JSON.stringify(this.text.slice(0, 500))}`;
    const at = await eventually(() => this.#closedAtMs, {
      what: 'the connection being closed',
      withinMs,
      told,
    });
    return at - from;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** @param options `allowHalfOpen`: own end stays open when the peer ends. */
export async function connectRaw(
  address: string,
  options: { readonly allowHalfOpen?: boolean } = {},
): Promise<RawConnection> {
  const socket = net.connect({ ...splitAddress(address), ...options });
  const connection = new RawConnection(socket);
  const failed = once(socket, 'close').then(() => Promise.reject(new Error('not connected')));
  await within(
    Promise.race([once(socket, 'connect'), failed]),
    PATIENCE_MS,
    `connecting to ${address}`,
  );
  failed.catch(() => {});
  return connection;
}

export interface App extends AsyncDisposable {
  /** Where only its own sidecar should go. */
  readonly address: string;
  /** Connections made to it so far. */
  readonly connections: number;
}

interface EchoedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** What the HTTP application was told, as its answer says it. */
export function echoed(answer: Answer): EchoedRequest & { readonly app: string } {
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body) as EchoedRequest & { readonly app: string };
}

export interface HttpApp extends App {
  readonly server: http.Server;
  /** Requests that came, as `METHOD path`. */
  readonly requests: readonly string[];
  /** Answers that were begun at `/hold` and wait for `release()`. */
  readonly held: number;
  release(): void;
}

/**
 * Answers with what it was asked, as JSON; `/hold…` begins an answer with `held` and ends it with ` released` at release().
 * @param handle answers instead.
 */
export async function startHttpApp(
  options: { readonly name?: string; readonly handle?: http.RequestListener } = {},
): Promise<HttpApp> {
  const { name = 'app' } = options;
  const requests: string[] = [];
  const held = new Set<http.ServerResponse>();
  const echo: http.RequestListener = (request, response) => {
    if (request.url?.startsWith('/hold') === true) {
      held.add(response);
      response.on('close', () => held.delete(response));
      response.write('held');
      return;
    }
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method, url: path, headers } = request;
      const body = Buffer.concat(parts).toString('latin1');
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ app: name, method, path, headers, body }));
    });
  };
  const server = http.createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    (options.handle ?? echo)(request, response);
  });
  const app = await listen(server);
  return {
    server,
    requests,
    address: app.address,
    get connections() {
      return app.connections;
    },
    get held() {
      return held.size;
    },
    release: () => {
      for (const response of held) response.end(' released');
    },
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

/** Gives every byte back; ends when the peer ends. @param handle does something else. */
export function startTcpApp(handle?: (socket: net.Socket) => void): Promise<App> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    if (handle === undefined) socket.pipe(socket);
    else handle(socket);
  });
  return listen(server);
}

async function listen(server: net.Server): Promise<App> {
  const open = new Set<net.Socket>();
  const counted = { connections: 0 };
  server.on('connection', (socket: net.Socket) => {
    counted.connections++;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    address: `127.0.0.1:${address.port}`,
    get connections() {
      return counted.connections;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
