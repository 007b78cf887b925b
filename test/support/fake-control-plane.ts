// A gRPC discovery server that writes down what it is asked and says what the test tells it to.
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import { eventually } from './servers.ts';

type Call = ServerDuplexStream<PlainMessage, PlainMessage>;

interface Stream {
  readonly call: Call;
  readonly requests: readonly PlainMessage[];
}

export interface Sent {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly version: string;
  readonly value: Uint8Array;
  readonly typeUrl?: string;
}

/** A control plane of the test's own. */
export class FakeControlPlane implements AsyncDisposable {
  readonly streams: Stream[] = [];
  readonly #server = new Server();
  #port = 0;
  #nonce = 0;

  async start(): Promise<void> {
    const definition = serviceDefinition('envoy.service.discovery.v3.AggregatedDiscoveryService');
    this.#server.addService(definition, {
      DeltaAggregatedResources: (call: Call) => {
        const requests: PlainMessage[] = [];
        this.streams.push({ call, requests });
        call.on('data', (request: PlainMessage) => requests.push(request));
        call.on('error', () => call.end());
        call.on('end', () => call.end());
      },
    });
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  get port(): number {
    return this.#port;
  }

  async stream(index: number): Promise<Stream> {
    await eventually(() => this.streams.length > index, `stream ${index}`);
    return this.streams[index]!;
  }

  /** Waits for the request with that index. */
  async request(index: number, streamIndex = 0): Promise<PlainMessage> {
    const { requests } = await this.stream(streamIndex);
    await eventually(() => requests.length > index, `request ${index} of stream ${streamIndex}`);
    return requests[index]!;
  }

  /** @returns the nonce. */
  send(kind: ResourceKind, sent: readonly Sent[], removed: readonly string[] = []): string {
    const nonce = String(++this.#nonce);
    this.streams.at(-1)?.call.write({
      type_url: TYPE_URLS[kind],
      nonce,
      resources: sent.map(({ name, version, value, typeUrl = TYPE_URLS[kind] }) => ({
        name,
        version,
        resource: { type_url: typeUrl, value },
      })),
      removed_resources: removed,
    });
    return nonce;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await Promise.resolve();
  }
}
