// An HTTP/1 application that does what proxies get wrong: trailers, upgrades, long bodies, endings in the middle.
import { createHash } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { type HttpApp, startHttpApp } from './lab-clients.ts';

export interface AwkwardApp extends HttpApp {
  /** Bodies at `/sink-later` are not read before this. */
  readBodies(): void;
  /** Waiting at `/sink-later`. */
  readonly unread: number;
  /** Requests at `/sink-later` whose client went away. */
  readonly aborted: number;
}

const CHUNK = Buffer.alloc(65_536, 'x');

/** Writes so many bytes and never holds more than one chunk of them. */
export async function writeBytes(to: NodeJS.WritableStream, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += CHUNK.length) {
    const part = CHUNK.subarray(0, Math.min(CHUNK.length, bytes - sent));
    if (to.write(part)) continue;
    const { promise, resolve } = Promise.withResolvers<void>();
    to.once('drain', resolve);
    to.once('close', resolve);
    await promise;
    to.off('drain', resolve).off('close', resolve);
    await setImmediate();
  }
}

async function sink(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Buffer)) continue;
    hash.update(chunk);
    bytes += chunk.length;
  }
  response.end(JSON.stringify({ bytes, sha256: hash.digest('hex') }));
}

/**
 * `/echo` streams the body back with its trailers, `/bytes/N` sends N, `/sink` counts, `/status/N` answers so,
 * `/half` and `/half-chunked` die in the middle of their bodies, `/early` answers before the body is read.
 */
export async function startAwkwardApp(): Promise<AwkwardApp> {
  let aborted = 0;
  const unread = new Map<IncomingMessage, ServerResponse>();
  const handle: RequestListener = (request, response) => {
    const { url = '' } = request;
    const [, verb, argument] = url.split('/');
    if (verb === 'echo') {
      response.setHeader('trailer', 'x-sum');
      request.on('data', (chunk: Buffer) => response.write(chunk));
      request.on('end', () => {
        response.addTrailers({ 'x-sum': request.trailers['x-sum'] ?? 'none' });
        response.end();
      });
    } else if (verb === 'bytes') {
      const bytes = Number(argument);
      response.setHeader('content-length', bytes);
      void writeBytes(response, bytes).then(() => response.end());
    } else if (verb === 'status') {
      response.statusCode = Number(argument);
      response.setHeader('etag', '"1"');
      response.end();
    } else if (verb === 'sink') void sink(request, response);
    else if (verb === 'sink-later') {
      unread.set(request, response);
      request.on('error', () => undefined);
      response.on('close', () => {
        if (!request.complete) aborted++;
        unread.delete(request);
      });
    } else if (verb === 'half') {
      response.setHeader('content-length', 1_000);
      response.write('half', () => request.socket.destroy());
    } else if (verb === 'half-chunked') {
      response.write('half', () => request.socket.destroy());
    } else if (verb === 'early') response.end('no need');
    else response.end(JSON.stringify({ url, headers: request.headers }));
  };
  const app = await startHttpApp({ handle });
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/refuse') {
      response.writeHead(417, { 'content-length': 0, connection: 'close' }).end();
      return;
    }
    response.writeContinue();
    handle(request, response);
  });
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${request.headers.upgrade}\r\n\r\nwelcome `,
    );
    socket.write(head);
    socket.pipe(socket);
  });
  return {
    server: app.server,
    requests: app.requests,
    address: app.address,
    get connections() {
      return app.connections;
    },
    get held() {
      return app.held;
    },
    release: () => app.release(),
    readBodies: () => {
      for (const [request, response] of unread) void sink(request, response);
      unread.clear();
    },
    get unread() {
      return unread.size;
    },
    get aborted() {
      return aborted;
    },
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}
