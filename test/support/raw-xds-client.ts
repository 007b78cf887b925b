// Speaks xDS as it is on the wire: requests and responses as plain messages, nothing kept, nothing answered by itself.
import { Client, type ClientDuplexStream, credentials } from '@grpc/grpc-js';
import type { Variant } from '@weft/xds/protocol/subscription';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { ResourceKind } from '@weft/xds/resource';
import { PATIENCE_MS } from './lab-wait.ts';

/** `ads`: all types on one stream. */
export type ServiceName = 'ads' | ResourceKind;

const SERVICES: Readonly<Record<ServiceName, readonly [service: string, suffix: string]>> = {
  ads: ['discovery.v3.AggregatedDiscoveryService', 'AggregatedResources'],
  cluster: ['cluster.v3.ClusterDiscoveryService', 'Clusters'],
  endpoints: ['endpoint.v3.EndpointDiscoveryService', 'Endpoints'],
  listener: ['listener.v3.ListenerDiscoveryService', 'Listeners'],
  route: ['route.v3.RouteDiscoveryService', 'Routes'],
  secret: ['secret.v3.SecretDiscoveryService', 'Secrets'],
};

export class RawXdsStream implements Disposable {
  readonly #client: Client;
  readonly #call: ClientDuplexStream<PlainMessage, PlainMessage>;
  readonly #messages: AsyncIterator<PlainMessage>;

  constructor(
    address: string,
    options: { readonly service: ServiceName; readonly variant: Variant },
  ) {
    const [name, suffix] = SERVICES[options.service];
    const prefix = options.variant === 'sotw' ? 'Stream' : 'Delta';
    const method = serviceDefinition(`envoy.service.${name}`)[prefix + suffix];
    if (method === undefined) throw new TypeError(`Cannot open ${name}: no such method`);
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#call = this.#client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
      method.path,
      method.requestSerialize,
      (bytes) => ({ ...method.responseDeserialize(bytes) }),
      { deadline: Date.now() + PATIENCE_MS },
    );
    this.#messages = this.#call[Symbol.asyncIterator]();
  }

  send(request: PlainMessage): void {
    this.#call.write(request);
  }

  /** @returns `undefined` when the server has ended the stream. @throws the stream's status, or its deadline */
  async next(): Promise<PlainMessage | undefined> {
    const { done, value } = await this.#messages.next();
    return done === true ? undefined : value;
  }

  /** Says that nothing more is asked. @returns what had come by then and was not taken. */
  async finish(): Promise<readonly PlainMessage[]> {
    this.#call.end();
    const rest: PlainMessage[] = [];
    for (let next = await this.next(); next !== undefined; next = await this.next())
      rest.push(next);
    return rest;
  }

  [Symbol.dispose](): void {
    // Whoever waits for a message is told of an error; when nobody does, there is none to tell.
    this.#call.on('error', () => undefined);
    this.#call.cancel();
    this.#client.close();
  }
}
