// A gRPC application whose messages are plain text, and a client of it: all four kinds of call.
import { once } from 'node:events';
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { PATIENCE_MS } from './lab-wait.ts';

const encode = (text: string): Buffer => Buffer.from(text);
const decode = (bytes: Buffer): string => bytes.toString();

function method(name: string, requestStream: boolean, responseStream: boolean) {
  const definition: MethodDefinition<string, string> = {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: encode,
    requestDeserialize: decode,
    responseSerialize: encode,
    responseDeserialize: decode,
  };
  return definition;
}

const METHODS = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  spread: method('Spread', false, true),
  chat: method('Chat', true, true),
};

export interface GrpcApp extends AsyncDisposable {
  readonly address: string;
  readonly name: string;
  /** Calls that the client gave up, by method. */
  readonly cancelled: readonly string[];
  /** Calls of Chat that are open. */
  readonly chats: number;
  readonly calls: number;
  /** GOAWAY on every connection: what is in flight ends, new calls go elsewhere. */
  goAway(): Promise<void>;
}

const trailersOf = (text: string): Metadata => {
  const metadata = new Metadata();
  metadata.set('x-count', text);
  metadata.set('x-bytes-bin', Buffer.from([0, 255, 1]));
  return metadata;
};

export async function startGrpcApp(name = 'app'): Promise<GrpcApp> {
  const server = new Server();
  const cancelled: string[] = [];
  const counted = { calls: 0, chats: 0 };
  server.addService(METHODS, {
    unary(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      counted.calls++;
      if (call.request === 'fail') {
        done({
          code: status.FAILED_PRECONDITION,
          details: 'as asked: ü',
          metadata: trailersOf('0'),
        });
        return;
      }
      if (call.request === 'hang') {
        call.on('cancelled', () => cancelled.push('unary'));
        return;
      }
      const hasDeadline = call.getDeadline() !== Infinity;
      const told = call.request === 'deadline' ? String(hasDeadline) : call.request;
      done(null, `${name} ${told}`, trailersOf('1'));
    },
    collect(call: ServerReadableStream<string, string>, done: sendUnaryData<string>) {
      const texts: string[] = [];
      call.on('data', (text: string) => texts.push(text));
      call.on('end', () => done(null, texts.join('+'), trailersOf(String(texts.length))));
    },
    spread(call: ServerWritableStream<string, string>) {
      call.on('cancelled', () => cancelled.push('spread'));
      if (call.request === 'forever') {
        call.write('first');
        return;
      }
      for (const text of call.request.split(' ')) call.write(text);
      call.end(trailersOf(String(call.request.split(' ').length)));
    },
    chat(call: ServerDuplexStream<string, string>) {
      counted.chats++;
      call.on('close', () => counted.chats--);
      call.on('cancelled', () => cancelled.push('chat'));
      call.on('error', () => undefined);
      call.on('data', (text: string) => call.write(`${name} ${text}`));
      call.on('end', () => call.end(trailersOf('bye')));
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    name,
    address: `127.0.0.1:${port}`,
    cancelled,
    get chats() {
      return counted.chats;
    },
    get calls() {
      return counted.calls;
    },
    goAway: async () => {
      server.drain(`127.0.0.1:${port}`, 5_000);
      await Promise.resolve();
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await Promise.resolve();
    },
  };
}

export interface Called {
  readonly text: string;
  readonly trailers: Metadata;
}

export class GrpcClient implements Disposable {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
    });
  }

  /** @throws ServiceError */
  unary(
    text: string,
    options: {
      readonly timeoutMs?: number;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Called> {
    const { path } = METHODS.unary;
    const { timeoutMs = PATIENCE_MS, headers = {} } = options;
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return new Promise((resolve, reject) => {
      let trailers = new Metadata();
      let answer = '';
      const call = this.#client.makeUnaryRequest(
        path,
        encode,
        decode,
        text,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, value) => {
          if (error !== null) reject(error);
          answer = value ?? '';
        },
      );
      call.on('status', (ended) => {
        trailers = ended.metadata;
        resolve({ text: answer, trailers });
      });
    });
  }

  collect(done: (error: ServiceError | null, text?: string) => void): ClientWritableStream<string> {
    return this.#client.makeClientStreamRequest(METHODS.collect.path, encode, decode, done);
  }

  spread(text: string): ClientReadableStream<string> {
    return this.#client.makeServerStreamRequest(METHODS.spread.path, encode, decode, text);
  }

  chat(): ClientDuplexStream<string, string> {
    return this.#client.makeBidiStreamRequest(METHODS.chat.path, encode, decode);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** The next message of a stream. */
export async function nextText(
  stream: ClientReadableStream<string> | ClientDuplexStream<string, string>,
): Promise<string> {
  const [text]: unknown[] = await once(stream, 'data', {
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  return String(text);
}

/** How a stream ended. */
export async function statusOf(
  stream: ClientReadableStream<string> | ClientDuplexStream<string, string>,
): Promise<{ readonly code: number; readonly metadata: Metadata }> {
  stream.on('error', () => undefined);
  const { promise, resolve, reject } = Promise.withResolvers<{
    code: number;
    metadata: Metadata;
  }>();
  stream.on('status', resolve);
  const late = new Error(`the call did not end in ${PATIENCE_MS} ms`);
  const timer = setTimeout(reject, PATIENCE_MS, late);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
