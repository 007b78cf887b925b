// Relays the discovery streams of programs beside us to the control plane, byte for byte, and tells what becomes of what is delivered.
import type { ServerHttp2Stream } from 'node:http2';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { discoveryMethods } from './discovery-methods.ts';
import type { Variant } from './envelopes.ts';
import { type LocalMethod, refuseCall } from './local-server.ts';
import type { XdsRelayOptions } from './relay-options.ts';
import { RelayedStream } from './relayed-stream.ts';

const SERVICE = 'envoy.service.discovery.v3.AggregatedDiscoveryService';
const METHODS = { sotw: 'StreamAggregatedResources', delta: 'DeltaAggregatedResources' } as const;
const MAX_STREAMS = 12;

export class XdsRelay implements Disposable {
  readonly #options: XdsRelayOptions;
  readonly #open = new Set<RelayedStream>();
  #count = 0;
  /** For a `LocalServer`. */
  readonly methods: ReadonlyMap<string, LocalMethod>;

  constructor(options: XdsRelayOptions) {
    this.#options = options;
    this.methods = discoveryMethods(SERVICE, METHODS, (stream, call) => this.#take(stream, call));
  }

  /** Streams that are carried now. */
  get size(): number {
    return this.#open.size;
  }

  /** The control plane has at least one of them. */
  get isConnected(): boolean {
    return [...this.#open].some((stream) => stream.isCarried);
  }

  #take(
    stream: ServerHttp2Stream,
    of: { readonly path: string; readonly variant: Variant; readonly caller: string },
  ): void {
    const { metrics, maxStreams = MAX_STREAMS } = this.#options;
    if (this.#open.size >= maxStreams) {
      metrics.refused('too-many');
      const why = `${this.#open.size} streams are open already`;
      refuseCall(stream, new CallFailure(STATUS.RESOURCE_EXHAUSTED, why));
      return;
    }
    const relayed = new RelayedStream(stream, {
      ...this.#options,
      ...of,
      id: ++this.#count,
      onClose: () => {
        this.#open.delete(relayed);
        metrics.streams(this.#open.size);
      },
    });
    this.#open.add(relayed);
    metrics.streams(this.#open.size);
  }

  [Symbol.dispose](): void {
    for (const stream of this.#open) stream[Symbol.dispose]();
  }
}
