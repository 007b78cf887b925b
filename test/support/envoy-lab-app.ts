// The application of a Pod in an Envoy lab: answers in several protocols at its Pod's address, and calls where it is told to, by messages of its parent.
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { duplexPair } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { readFileSync } from 'node:fs';

/** What the parent asks for. */
export type AppCall =
  | {
      readonly kind: 'http1';
      readonly host: string;
      readonly port: number;
      readonly path?: string;
      readonly method?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'http2';
      readonly host: string;
      readonly port: number;
      readonly path?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      readonly text: string;
    }
  | {
      readonly kind: 'tls';
      readonly host: string;
      readonly port: number;
      readonly serverName: string;
    }
  /** A connection that stays open until the other side ends it. */
  | { readonly kind: 'held'; readonly host: string; readonly port: number }
  /** Requests one after the other until `stop`, each a new connection or not. */
  | { readonly kind: 'load'; readonly host: string; readonly port: number; readonly http2: boolean }
  | { readonly kind: 'stop' };

/** Status 0: nobody answered; then `body` says why. */
export interface AppAnswer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers?: Readonly<Record<string, unknown>>;
}

export const APP_PORTS = { http1: 8080, http2: 8081, tcp: 9000, tls: 8443, auto: 7000 } as const;

const CALL_MS = 5_000;
/** Between requests of a load: others have work to do as well. */
const PAUSE_MS = 10;
const name = process.env['APP_NAME'] ?? 'app';
const host = process.env['APP_ADDRESS'] ?? '127.0.0.1';

const echo = (version: string, path: string, headers: object): string =>
  JSON.stringify({ name, version, path, headers });

const failed = (error: unknown): AppAnswer => ({
  status: 0,
  body: error instanceof Error ? error.message : String(error),
  headers: {},
});

interface Listening {
  listen(port: number, host: string, then: () => void): unknown;
}

function listen(): Promise<unknown> {
  const plain = http.createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.setHeader('x-app', name);
      /** An authorizer, where it is asked as one. */
      const isAsked = request.url?.startsWith('/check/') === true;
      if (isAsked && request.headers['x-token'] !== 'good') response.statusCode = 401;
      const answer = echo(request.httpVersion, request.url ?? '', request.headers);
      const [, waitMs = '0'] = request.url?.split('/slow?ms=') ?? [];
      setTimeout(() => response.end(answer), Number(waitMs));
    });
  });
  const second = http2.createServer();
  second.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    const isGrpc = headers['content-type'] === 'application/grpc';
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.respond(
      { ':status': 200, 'x-app': name, ...(isGrpc && { 'content-type': 'application/grpc' }) },
      { waitForTrailers: isGrpc },
    );
    stream.resume();
    stream.end(echo('2.0', headers[':path'] ?? '', { ...headers }));
  });
  const lines = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (data: Buffer) => socket.write(`${name}: ${data.toString()}`));
    socket.on('end', () => socket.end());
  });
  const certificate = process.env['APP_CERTIFICATE'];
  const secure =
    certificate === undefined
      ? undefined
      : tls.createServer(
          { key: readFileSync(certificate), cert: readFileSync(certificate) },
          (socket) => {
            socket.on('error', () => socket.destroy());
            socket.end(`${name} by TLS for ${String(Reflect.get(socket, 'servername'))}`);
          },
        );
  /** Whatever comes, by its first bytes. */
  const any = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (data: Buffer) => {
      socket.pause();
      socket.unshift(data);
      const text = data.toString('latin1');
      if (text.startsWith('PRI ')) {
        // What was read already must come after the server has begun to listen to its session.
        const [inner, outer] = duplexPair();
        second.emit('connection', inner);
        socket.pipe(outer).pipe(socket);
        return;
      }
      (text.startsWith('GET ') ? plain : lines).emit('connection', socket);
      socket.resume();
    });
  });
  const opened: readonly (readonly [Listening, number])[] = [
    [any, APP_PORTS.auto],
    [plain, APP_PORTS.http1],
    [second, APP_PORTS.http2],
    [lines, APP_PORTS.tcp],
    ...(secure === undefined ? [] : [[secure, APP_PORTS.tls] as const]),
  ];
  return Promise.all(
    opened.map(
      ([server, port]) => new Promise<void>((resolve) => server.listen(port, host, resolve)),
    ),
  );
}

function callHttp1(
  call: Extract<AppCall, { kind: 'http1' }>,
  agent?: http.Agent,
): Promise<AppAnswer> {
  const { host: to, port, path = '/', method = 'GET', headers = {} } = call;
  return new Promise((resolve) => {
    const request = http.request(
      { host: to, port, path, method, headers, ...(agent ? { agent } : { agent: false }) },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('error', (error) => resolve(failed(error)));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
        );
      },
    );
    request.setTimeout(CALL_MS, () => request.destroy(new Error('no answer in time')));
    request.on('error', (error) => resolve(failed(error)));
    request.end();
  });
}

function callHttp2(
  call: Extract<AppCall, { kind: 'http2' }>,
  known?: http2.ClientHttp2Session,
): Promise<AppAnswer> {
  const { host: to, port, path = '/', headers = {} } = call;
  const session = known ?? http2.connect(`http://${to}:${port}`);
  return new Promise<AppAnswer>((resolve) => {
    session.on('error', (error) => resolve(failed(error)));
    const stream = session.request({ ':path': path, ...headers });
    const answer: { status: number; body: string; headers: object; trailers?: object } = {
      status: 0,
      body: '',
      headers: {},
    };
    stream.setEncoding('utf8');
    stream.setTimeout(CALL_MS, () => stream.destroy(new Error('no answer in time')));
    stream.on('response', (head) => {
      answer.status = Number(head[':status']);
      answer.headers = { ...head };
    });
    stream.on('trailers', (trailers) => (answer.trailers = { ...trailers }));
    stream.on('data', (text: string) => (answer.body += text));
    stream.on('error', (error) => resolve(failed(error)));
    stream.on('close', () => resolve(answer as AppAnswer));
    stream.end();
  }).finally(() => {
    if (known === undefined) session.destroy();
  });
}

function callSocket(socket: net.Socket, text: string): Promise<AppAnswer> {
  return new Promise((resolve) => {
    let body = '';
    socket.setTimeout(CALL_MS, () => socket.destroy(new Error('no answer in time')));
    socket.setEncoding('utf8').on('data', (part: string) => {
      body += part;
      socket.end();
    });
    socket.on('error', (error) => resolve(failed(error)));
    socket.on('close', () => resolve({ status: body === '' ? 0 : 200, body, headers: {} }));
    if (text !== '') socket.write(text);
  });
}

/** @returns once it was closed; what came before is the body. */
function hold({ host: to, port }: Extract<AppCall, { kind: 'held' }>): Promise<AppAnswer> {
  return new Promise((resolve) => {
    const socket = net.connect(port, to);
    let body = '';
    socket.setEncoding('utf8').on('data', (text: string) => (body += text));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve({ status: 200, body, headers: {} }));
    socket.write('held');
  });
}

const loading = { isOn: false };

/** @returns how many requests went well, and what the others were answered. */
async function load(call: Extract<AppCall, { kind: 'load' }>): Promise<AppAnswer> {
  loading.isOn = true;
  const { host: to, port } = call;
  const target = { host: to, port };
  const failures: string[] = [];
  let count = 0;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  while (loading.isOn) {
    const answer = call.http2
      ? await callHttp2({ kind: 'http2', ...target })
      : await callHttp1({ kind: 'http1', ...target }, count % 2 === 0 ? agent : undefined);
    if (answer.status === 200) count++;
    else failures.push(`${answer.status} ${answer.body}`.slice(0, 200));
    await delay(PAUSE_MS);
  }
  agent.destroy();
  return { status: count, body: JSON.stringify(failures.slice(0, 10)), headers: {} };
}

function make(call: AppCall): Promise<AppAnswer> {
  switch (call.kind) {
    case 'http1':
      return callHttp1(call);
    case 'http2':
      return callHttp2(call);
    case 'tcp':
      return callSocket(net.connect(call.port, call.host), call.text);
    case 'tls': {
      const { host: to, port, serverName: servername } = call;
      return callSocket(tls.connect({ host: to, port, servername, rejectUnauthorized: false }), '');
    }
    case 'held':
      return hold(call);
    case 'load':
      return load(call);
    case 'stop':
      loading.isOn = false;
      return Promise.resolve({ status: 200, body: '', headers: {} });
    default:
      return call satisfies never;
  }
}

if (process.send !== undefined) {
  await listen();
  process.on('message', (message: { readonly id: number; readonly call: AppCall }) => {
    make(message.call).then(
      (answer) => process.send?.({ id: message.id, answer }),
      (error: unknown) => process.send?.({ id: message.id, answer: failed(error) }),
    );
  });
  process.on('disconnect', () => process.exit(0));
  process.send({ id: 0 });
}
