// A control plane for tests that grants credentials as the test says, over plain gRPC on loopback.
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { encodeMessage, type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { eventually } from './lab-wait.ts';

const REPLY = 'weft.credentials.v1.WatchReply';

/** One stream that a sidecar opened. */
export interface OpenedWatch {
  readonly received: readonly PlainMessage[];
  /** As an object, or as bytes that are sent as they are. */
  send(reply: PlainMessage | Uint8Array): void;
  end(): void;
}

export class CredentialsServer implements AsyncDisposable {
  readonly #server = new Server();
  readonly #streams: OpenedWatch[] = [];
  #port = 0;

  static async start(): Promise<CredentialsServer> {
    const made = new CredentialsServer();
    await made.#start();
    return made;
  }

  get port(): number {
    return this.#port;
  }

  /** The stream with this number, once its first request has come. */
  stream(index: number): Promise<OpenedWatch> {
    return eventually(
      () => {
        const stream = this.#streams[index];
        return stream !== undefined && stream.received.length > 0 && stream;
      },
      { what: `stream ${index} of credentials` },
    );
  }

  async #start(): Promise<void> {
    const { Watch: method } = serviceDefinition('weft.credentials.v1.Credentials');
    if (method === undefined) throw new TypeError('Cannot serve credentials: there is no Watch');
    const responseSerialize = (reply: PlainMessage | Uint8Array): Buffer =>
      Buffer.from(reply instanceof Uint8Array ? reply : encodeMessage(REPLY, reply));
    const definition = { Watch: { ...method, responseSerialize } };
    this.#server.addService(definition, {
      Watch: (call: ServerDuplexStream<PlainMessage, PlainMessage | Uint8Array>) => {
        const received: PlainMessage[] = [];
        call.on('data', (request: PlainMessage) => received.push(request));
        call.on('error', () => undefined);
        call.on('end', () => call.end());
        this.#streams.push({
          received,
          send: (reply) => void call.write(reply),
          end: () => call.end(),
        });
      },
    });
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await Promise.resolve();
  }
}
