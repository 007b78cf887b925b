// Keeps what the application was given as the sidecar says it is now, and tells when it changes or is withdrawn.
import { setTimeout as wait } from 'node:timers/promises';
import {
  type CredentialSource,
  fetchCredential,
  type Fetched,
  type FetchedCredential,
} from './credential-client.ts';

export interface HeldOptions {
  readonly source: CredentialSource;
  readonly names: readonly string[];
  readonly signal: AbortSignal;
  readonly onChange: () => void;
  /** The sidecar has said that it is granted no more. */
  readonly onWithdrawn: (name: string, reason: string) => void;
}

const RETRY_MS = { first: 250, most: 2_000 } as const;
/** An answer that comes at once each time must not become a busy loop. */
const MIN_BETWEEN_MS = 100;

export interface FetchFailure {
  readonly kind: 'refused' | 'unavailable';
  /** Names the credential. */
  readonly reason: string;
}

export class HeldCredentials {
  readonly #options: HeldOptions;
  readonly #byName = new Map<string, FetchedCredential>();

  constructor(options: HeldOptions) {
    this.#options = options;
  }

  get all(): ReadonlyMap<string, FetchedCredential> {
    return this.#byName;
  }

  /**
   * Gets each of them, and asks again until the sidecar answers.
   * @returns why not, when one is refused or there was no answer in time.
   */
  async fetchAll(withinMs: number): Promise<FetchFailure | undefined> {
    const { source, names, signal } = this.#options;
    const until = AbortSignal.any([signal, AbortSignal.timeout(withinMs)]);
    for (const name of names) {
      const fetched = await firstAnswer(source, name, until);
      if (fetched.kind !== 'granted') return { kind: fetched.kind, reason: fetched.reason };
      this.#byName.set(name, fetched.credential);
    }
    return undefined;
  }

  /** Follows every one of them until the signal. Never rejects. */
  async follow(): Promise<void> {
    await Promise.all(this.#options.names.map((name) => this.#followOne(name)));
  }

  async #followOne(name: string): Promise<void> {
    const { source, signal, onChange, onWithdrawn } = this.#options;
    let delayMs: number = RETRY_MS.first;
    while (!signal.aborted) {
      const after = this.#byName.get(name)?.version;
      const fetched = await fetchCredential(source, name, { after, signal });
      if (signal.aborted) return;
      switch (fetched.kind) {
        case 'granted':
          delayMs = RETRY_MS.first;
          if (fetched.credential.version === after) break;
          this.#byName.set(name, fetched.credential);
          onChange();
          break;
        case 'unchanged':
          delayMs = RETRY_MS.first;
          break;
        case 'refused':
          this.#byName.delete(name);
          onWithdrawn(name, fetched.reason);
          return;
        case 'unavailable':
          await pause(delayMs, signal);
          delayMs = Math.min(delayMs * 2, RETRY_MS.most);
          break;
        default:
          fetched satisfies never;
      }
      await pause(MIN_BETWEEN_MS, signal);
    }
  }
}

/** Asks until the sidecar says something, or until it is too late; then the reason is the last that was given. */
async function firstAnswer(
  source: CredentialSource,
  name: string,
  until: AbortSignal,
): Promise<Exclude<Fetched, { kind: 'unchanged' }>> {
  let delayMs: number = RETRY_MS.first;
  let why = 'the sidecar did not answer';
  while (!until.aborted) {
    const fetched = await fetchCredential(source, name, { signal: until });
    if (fetched.kind === 'granted') return fetched;
    const reason = `${name}: ${fetched.kind === 'unchanged' ? 'no answer' : fetched.reason}`;
    if (fetched.kind === 'refused') return { kind: 'refused', reason };
    if (!until.aborted) why = reason;
    await pause(delayMs, until);
    delayMs = Math.min(delayMs * 2, RETRY_MS.most);
  }
  return { kind: 'unavailable', reason: `no credentials in time: ${why}` };
}

/** Ends early, and without a word, when it is told to. */
async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(delayMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
