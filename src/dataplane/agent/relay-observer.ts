// What a relay tells of the streams that it carries: what was delivered to the program beside us, and what it said to it.

/** One stream of a program beside us. */
export interface RelayedStreamRef {
  /** Of this relay, counted up. */
  readonly id: number;
  /** `uid 1000 gid 1000 pid 17`. */
  readonly caller: string;
  readonly variant: 'sotw' | 'delta';
  /** `user_agent_name/user_agent_version` of its node. */
  readonly userAgent: string;
}

export interface RelayedResource {
  /** Empty in state of the world, where the envelope does not say it. */
  readonly name: string;
  /** Its own in delta, that of the response in state of the world. */
  readonly version: string;
  readonly typeUrl: string;
  readonly bytes: Uint8Array;
}

export interface RelayedResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly RelayedResource[];
  /** Names; of delta alone. In state of the world what is not in `resources` of listeners and clusters is gone. */
  readonly removed: readonly string[];
}

/** An answer to a response; without `refusal` all of it is in force. */
export interface RelayedAnswer {
  readonly response: RelayedResponse;
  readonly refusal: string | undefined;
}

export interface RelayObserver {
  readonly onOpen?: (stream: RelayedStreamRef) => void;
  readonly onDelivered?: (stream: RelayedStreamRef, response: RelayedResponse) => void;
  readonly onAnswered?: (stream: RelayedStreamRef, answer: RelayedAnswer) => void;
  /** What it acknowledged may stay in force there: proxies keep what they have. */
  readonly onClose?: (stream: RelayedStreamRef) => void;
}
