// Knows what the gRPC programs beside the agent have acknowledged and refused, stream by stream.
import type { Logger } from 'pino';
import type { RelayedAnswer, RelayedStreamRef, RelayObserver } from '../agent/relay-observer.ts';

interface TypeState {
  version: string;
  refusal: string | undefined;
  /** What of it is in force, by name; state of the world names nothing in its envelope. */
  resources: number;
}

interface StreamState {
  readonly ref: RelayedStreamRef;
  readonly types: Map<string, TypeState>;
}

/** As many types as discovery has, and some. */
const MAX_TYPES = 16;
const MAX_REFUSAL = 1_024;

export class ObservedStreams implements RelayObserver {
  readonly #log: Logger;
  readonly #onResponse: (typeUrl: string, isAccepted: boolean) => void;
  readonly #streams = new Map<number, StreamState>();

  constructor(options: {
    readonly log: Logger;
    readonly onResponse: (typeUrl: string, isAccepted: boolean) => void;
  }) {
    this.#log = options.log;
    this.#onResponse = options.onResponse;
  }

  get size(): number {
    return this.#streams.size;
  }

  readonly onOpen = (ref: RelayedStreamRef): void => {
    this.#streams.set(ref.id, { ref, types: new Map() });
    const { caller: peer, userAgent } = ref;
    this.#log.info({ peer, userAgent }, 'a gRPC program asks for its configuration');
  };

  readonly onAnswered = (ref: RelayedStreamRef, { response, refusal }: RelayedAnswer): void => {
    const types = this.#streams.get(ref.id)?.types;
    const { typeUrl, resources, nonce } = response;
    this.#onResponse(typeUrl, refusal === undefined);
    const said = refusal?.slice(0, MAX_REFUSAL);
    if (said !== undefined) {
      const fields = { peer: ref.caller, userAgent: ref.userAgent, typeUrl, nonce, reason: said };
      this.#log.error(fields, 'a gRPC program refused configuration');
    }
    if (types === undefined || (types.size >= MAX_TYPES && !types.has(typeUrl))) return;
    const before = types.get(typeUrl);
    const version = resources[0]?.version ?? '';
    types.set(
      typeUrl,
      said === undefined
        ? { version, refusal: undefined, resources: resources.length }
        : { version: before?.version ?? '', refusal: said, resources: before?.resources ?? 0 },
    );
  };

  readonly onClose = ({ id }: RelayedStreamRef): void => {
    this.#streams.delete(id);
  };

  describe(): unknown {
    return [...this.#streams.values()].map(({ ref, types }) => ({
      caller: ref.caller,
      userAgent: ref.userAgent,
      types: Object.fromEntries(types),
    }));
  }
}
