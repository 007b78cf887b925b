// A proxy for HTTP/2 between a client and a backend on real sockets, and a gRPC service with all four kinds of call.
import { once } from 'node:events';
import type http2 from 'node:http2';
import net from 'node:net';
import grpc from '@grpc/grpc-js';
import type { Http2RequestHead } from '@weft/dataplane/http2/header-list';
import {
  Http2Connection,
  type Http2Action,
  type Http2Completion,
} from '@weft/dataplane/http2/http2-proxy';
import { UpstreamSessions } from '@weft/dataplane/http2/upstream-sessions';
import type { RetryPlan } from '@weft/dataplane/upstream/retries';

const EDITS = {
  path: undefined,
  isRemoved: (name: string) => name.startsWith('x-weft-'),
  added: [],
};

interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly completions: Http2Completion[];
  readonly connections: Http2Connection[];
  readonly completed: (count: number) => Promise<void>;
  allow: (head: Http2RequestHead) => boolean;
}

export async function listen(server: net.Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

/** A proxy in front of a backend's port, which may be closed. */
export async function createRig(
  backendPort: number,
  act?: (head: Http2RequestHead) => Http2Action | undefined,
  retry?: RetryPlan,
): Promise<Rig> {
  const sockets = new Set<net.Socket>();
  const sessions = new UpstreamSessions(
    () =>
      new Promise((resolve, reject) => {
        const socket = net.connect(backendPort, '127.0.0.1', () => resolve(socket));
        sockets.add(socket);
        socket.once('error', reject);
      }),
  );
  const completions: Http2Completion[] = [];
  const connections: Http2Connection[] = [];
  let wake = (): void => undefined;
  const rig = { allow: (_head: Http2RequestHead) => true };
  const front = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    const connection = new Http2Connection(
      socket,
      {
        onRequest: (head) =>
          act?.(head) ?? {
            kind: 'forward',
            edits: EDITS,
            upstream: {
              pick: ({ tried, mayRepeat }) =>
                tried.has(sessions) && !mayRepeat ? undefined : sessions,
              report: () => undefined,
              connectRetries: 1,
            },
            retry,
          },
        isStillAllowed: (head) => rig.allow(head),
        onComplete: (completion) => {
          completions.push(completion);
          wake();
        },
        onClose: () => undefined,
      },
      { idleTimeoutMs: 60_000 },
    );
    connections.push(connection);
  });
  return Object.assign(rig, {
    port: await listen(front),
    completions,
    connections,
    async completed(count: number) {
      while (completions.length < count) await new Promise<void>((resolve) => (wake = resolve));
    },
    async [Symbol.asyncDispose]() {
      sessions[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
      front.close();
    },
  });
}

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
const definition = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: bytes.serialize,
  requestDeserialize: bytes.deserialize,
  responseSerialize: bytes.serialize,
  responseDeserialize: bytes.deserialize,
});
const ECHO = {
  Unary: definition('/e.Echo/Unary', false, false),
  Client: definition('/e.Echo/Client', true, false),
  Server: definition('/e.Echo/Server', false, true),
  Bidi: definition('/e.Echo/Bidi', true, true),
};

export async function grpcServer(): Promise<{ readonly port: number } & Disposable> {
  const server = new grpc.Server();
  server.addService(ECHO, {
    Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
      if (String(call.request) === 'fail')
        callback({ code: grpc.status.DATA_LOSS, details: 'no ü' });
      else callback(null, call.request);
    },
    Client: (
      call: grpc.ServerReadableStream<Buffer, Buffer>,
      callback: grpc.sendUnaryData<Buffer>,
    ) => {
      const parts: Buffer[] = [];
      call.on('data', (part: Buffer) => parts.push(part));
      call.on('end', () => callback(null, Buffer.concat(parts)));
    },
    Server: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
      for (let index = 0; index < 3; index++) call.write(call.request);
      call.end();
    },
    Bidi: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

const EchoClient = grpc.makeGenericClientConstructor(ECHO, 'e.Echo');
interface Call {
  (...args: readonly unknown[]): grpc.ClientDuplexStream<Buffer, Buffer>;
}
export function echoClient(port: number): { readonly call: (name: string) => Call } & Disposable {
  const client = new EchoClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  return {
    call: (name) => (client[name] as Call).bind(client),
    [Symbol.dispose]: () => client.close(),
  };
}

export const unary = (call: Call, request: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    call(request, (error: grpc.ServiceError | null, reply: Buffer) =>
      error ? reject(error) : resolve(reply),
    );
  });
