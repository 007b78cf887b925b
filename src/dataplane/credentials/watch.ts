// Watches what the control plane grants this identity: takes credentials as they come, change and go, and says what is in force.
import type { Clock } from '@weft/model/clock';
import { messagesOf, textOf, textsOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import {
  describeUnknown,
  noticingUnknown,
  type UnknownField,
  unknownIn,
} from '@weft/xds/unknown-fields';
import type { Logger } from 'pino';
import { LastingStream } from '../control-plane/lasting-stream.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import { type Credential, readCredential } from './credential.ts';
import type { CredentialMetrics } from './credential-metrics.ts';
import type { CredentialStore } from './credential-store.ts';
import type { HandOvers } from './hand-overs.ts';

export interface CredentialWatchOptions {
  readonly connect: () => ChannelLease;
  readonly nodeId: string;
  readonly store: CredentialStore;
  readonly handOvers: HandOvers;
  readonly metrics: CredentialMetrics;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

const SERVICE = 'weft.credentials.v1.Credentials';
const REPLY = 'weft.credentials.v1.WatchReply';
/** 3 s at most: whoever is entitled has a new value within 5 s, also when a stream was lost meanwhile. */
const BACKOFF = { baseMs: 250, maxMs: 3_000 } as const;
/** 1 s: hand-overs are said together. */
const REPORT_MS = 1_000;
/** Reasons are shown to people. */
const MAX_REASON = 300;

/**
 * What a newer control plane says of a credential, or of all that it sends, may be what it must not be used for: taken without it, it would
 * be used more widely than it was granted (CVE-2022-21679).
 */
const concerns = ({ place }: UnknownField, index: number): boolean => {
  const own = `credentials[${index}]`;
  return place === '' || place === own || place.startsWith(`${own}.`);
};

export class CredentialWatch implements Disposable {
  readonly #options: CredentialWatchOptions;
  readonly #stream: LastingStream;
  #timer: Disposable | undefined;
  #unavailable = new Map<string, string>();
  #isDisposed = false;

  /** Begins to watch at once. */
  constructor(options: CredentialWatchOptions) {
    this.#options = options;
    const method = serviceDefinition(SERVICE)['Watch'];
    if (method === undefined) throw new TypeError(`Cannot find Watch of ${SERVICE}`);
    const { connect, clock, random, log, nodeId, store } = options;
    this.#stream = new LastingStream({
      connect,
      method: noticingUnknown(method, REPLY),
      backoff: BACKOFF,
      clock,
      random,
      log,
      absence: 'no credentials stream; what is held stays in force',
      onOpen: (send) => {
        const held = store.describe();
        send({ node_id: nodeId, held, in_force: held });
        this.#schedule();
      },
      onMessage: (reply) => this.#take(reply),
    });
  }

  /** Why a granted credential cannot be read at its source; `undefined` when it can, or is not granted. */
  whyUnavailable(name: string): string | undefined {
    return this.#unavailable.get(name);
  }

  #take(reply: PlainMessage): void {
    const { store, metrics, log } = this.#options;
    const removed = new Set(textsOf(reply, 'removed'));
    const credentials: Credential[] = [];
    const unknown = unknownIn(reply);
    for (const [index, message] of messagesOf(reply, 'credentials').entries()) {
      const read = readCredential(message);
      const restriction = unknown.find((field) => concerns(field, index));
      if (read.ok && restriction === undefined) {
        credentials.push(read.credential);
        continue;
      }
      const name = read.ok ? read.credential.name : read.name;
      const reason = read.ok ? restriction && describeUnknown(restriction) : read.reason;
      /** What was held under this name is another version's: it may have been withdrawn for a reason. */
      if (name !== '') removed.add(name);
      metrics.refused(read.ok ? 'unknown-field' : 'unreadable');
      log.error({ credential: name, reason }, 'credential refused');
    }
    this.#unavailable = new Map(
      messagesOf(reply, 'unavailable').map((one) => [
        textOf(one, 'name'),
        textOf(one, 'reason').slice(0, MAX_REASON),
      ]),
    );
    const isComplete = reply['is_complete'] === true;
    const refused = store.apply({ credentials, removed, isComplete });
    for (const name of refused) {
      metrics.refused('too-many');
      log.error({ credential: name }, 'credential refused: there are too many');
    }
    this.#report();
  }

  #report(): void {
    const { store, handOvers } = this.#options;
    if (!this.#stream.isOpen) return;
    this.#stream.send({ in_force: store.describe(), hand_overs: handOvers.take() });
  }

  #schedule(): void {
    this.#timer?.[Symbol.dispose]();
    if (this.#isDisposed) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      if (!this.#options.handOvers.isEmpty) this.#report();
      this.#schedule();
    }, REPORT_MS);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#stream[Symbol.dispose]();
  }
}
