// Holds the service account tokens of one Pod: asked for by TokenRequest, bound to the Pod, and asked for anew before they expire.
import type { KubeClient } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { SERVICE_ACCOUNTS } from '@weft/kube/resource';
import type { Pod } from './pod.ts';

export interface TokenAsk {
  readonly audience: string | undefined;
  readonly expirationSeconds: number;
}

/** As a kubelet: at four fifths of its life, and at the latest after a day. */
const RENEW_AT = 0.8;
const RENEW_LATEST_MS = 86_400_000;
const RETRY_MS = 500;

interface Held {
  readonly ask: TokenAsk;
  token: string;
  renewAtMs: number;
}

export interface TokenSourceOptions {
  readonly client: KubeClient;
  readonly pod: Pod;
  /** A token has been replaced. */
  readonly onRenewed: () => void;
}

export class TokenSource implements Disposable {
  readonly #options: TokenSourceOptions;
  readonly #heldByKey = new Map<string, Held>();
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TokenSourceOptions) {
    this.#options = options;
  }

  /** @throws Error with the API server's reason when there is no token yet and none to be had. */
  async token(ask: TokenAsk): Promise<string> {
    const key = `${ask.audience ?? ''} ${ask.expirationSeconds}`;
    const held = this.#heldByKey.get(key);
    if (held !== undefined) return held.token;
    const fresh = await this.#request(ask);
    this.#heldByKey.set(key, fresh);
    this.#schedule();
    return fresh.token;
  }

  /** Replaces all of them now. */
  async renew(): Promise<void> {
    await Promise.all([...this.#heldByKey.values()].map((held) => this.#renew(held)));
    this.#schedule();
    this.#options.onRenewed();
  }

  async #renew(held: Held): Promise<void> {
    const { token, renewAtMs } = await this.#request(held.ask);
    held.token = token;
    held.renewAtMs = renewAtMs;
  }

  async #request(ask: TokenAsk): Promise<Held> {
    const { client, pod } = this.#options;
    const { name, namespace, uid } = pod.metadata;
    const { audience, expirationSeconds } = ask;
    const answer = await client.create(
      SERVICE_ACCOUNTS,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { name: pod.spec.serviceAccountName ?? 'default', namespace },
        spec: {
          audiences: audience === undefined ? [] : [audience],
          expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
        },
      },
      { subresource: 'token', signal: this.#stop.signal },
    );
    if (!answer.ok) throw new Error(answer.message);
    const token = textAt(answer.value, 'status', 'token') ?? '';
    const expiry = Date.parse(textAt(answer.value, 'status', 'expirationTimestamp') ?? '');
    const now = Date.now();
    const renewAtMs = now + Math.min((expiry - now) * RENEW_AT, RENEW_LATEST_MS);
    return { ask, token, renewAtMs };
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted || this.#heldByKey.size === 0) return;
    const next = Math.min(...[...this.#heldByKey.values()].map((held) => held.renewAtMs));
    const waitMs = Math.max(RETRY_MS, next - Date.now());
    this.#timer = setTimeout(() => void this.#renewDue(), waitMs).unref();
  }

  async #renewDue(): Promise<void> {
    const now = Date.now();
    const due = [...this.#heldByKey.values()].filter((held) => held.renewAtMs <= now);
    const ends = await Promise.allSettled(due.map((held) => this.#renew(held)));
    this.#schedule();
    if (ends.some((end) => end.status === 'fulfilled')) this.#options.onRenewed();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }
}
