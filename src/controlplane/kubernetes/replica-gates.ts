// Lets the leader know what each replica's proxies hold a rotation up with: every replica says so in a Lease of its own.
import type { Authority } from '@weft/ca/authority';
import type { ConnectedProxy, PhaseGate } from '@weft/ca/rotation';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { textAt } from '@weft/kube/object-fields';
import { apiVersionOf, LEASES, PODS } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';
import { gateText, readGateText } from './gate-text.ts';

export interface ReplicaGatesOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of this replica. */
  readonly podName: string;
  /** With it the Lease goes when the Pod does. */
  readonly podUid?: string;
  readonly authority: Pick<Authority, 'gate' | 'otherEnded' | 'onBundleChange' | 'onRenewNow'>;
  readonly connected: () => readonly ConnectedProxy[];
  readonly clock?: Clock;
  /** Milliseconds that pass evenly; default the process's own. */
  readonly elapsedMs?: () => number;
  readonly random?: () => number;
  readonly log?: Logger;
}

/** `weft-control-plane-POD`, beside the Lease that the leader is elected by. */
export const REPLICA_LEASE_PREFIX = 'weft-control-plane-';
const REPLICA_LABEL = 'weft.dev/replica';
const GATE_ANNOTATION = 'weft.dev/rotation-gate';
const FIELD_MANAGER = 'weft-control-plane';
/** 1 s while a rotation is under way, 5 s otherwise: two writes a second for ten replicas are nothing. */
const ROTATING_MS = 1_000;
const IDLE_MS = 5_000;
/** 20 s: four writes that were missed. */
const STALE_MS = 20_000;
/** How long a replica that has ended is remembered: longer than any certificate that it gave. */
const REMEMBERED_MS = 86_400_000;

interface Replica {
  readonly pod: string;
  readonly podUid: string | undefined;
  readonly gate: PhaseGate | undefined;
  /** When we saw it change last. */
  readonly atMs: number;
  readonly version: string;
}

/** Every replica runs it from its start to its end, whether it leads or not. */
export function startReplicaGates(options: ReplicaGatesOptions): ReplicaGates {
  return new ReplicaGates(options);
}

export class ReplicaGates implements AsyncDisposable {
  readonly #options: ReplicaGatesOptions;
  readonly #clock: Clock;
  readonly #elapsedMs: () => number;
  readonly #others = new Map<string, Replica>();
  readonly #owned = new AsyncDisposableStack();
  readonly #watch: ListWatch;
  #isListed = false;
  #isPublished = false;
  #endedAtMs: number | undefined;
  #timer: Disposable | undefined;
  #running: Promise<void> | undefined;
  /** Something has changed since the round that is under way began. */
  #isDue = false;
  #isDisposed = false;

  constructor(options: ReplicaGatesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#elapsedMs = options.elapsedMs ?? (() => performance.now());
    this.#watch = this.#owned.use(this.#follow());
    this.#owned.use(options.authority.onBundleChange(() => this.#tick()));
    this.#owned.use(options.authority.onRenewNow(() => this.#tick()));
    this.#tick();
  }

  /** Whether the other replicas can know of this one: before, it should get no traffic. */
  get isPublished(): boolean {
    return this.#isPublished;
  }

  /** Whether another replica may have issued anything that is still valid; true as long as it is not known. */
  hasOthers(): boolean {
    if (!this.#isListed || this.#watch.status.kind === 'failing' || this.#others.size > 0) {
      return true;
    }
    return this.#endedAtMs !== undefined && this.#elapsedMs() < this.#endedAtMs + REMEMBERED_MS;
  }

  /** What other replicas hold the phase up with, as sentences: for `Authority.advance`. */
  elsewhere(own: PhaseGate): readonly string[] {
    if (!this.#isListed) return ['the replicas of the control plane are not known yet'];
    if (this.#watch.status.kind === 'failing') return [this.#watch.status.failure.message];
    return [...this.#others.values()].flatMap((replica) => this.#heldBy(replica, own));
  }

  #heldBy({ pod, gate, atMs }: Replica, own: PhaseGate): readonly string[] {
    const silentMs = this.#elapsedMs() - atMs;
    if (silentMs > STALE_MS) {
      const seconds = Math.round(silentMs / 1_000);
      return [
        `control plane ${pod} was not heard of for ${seconds} s and may still issue; if it has ended, delete its Pod`,
      ];
    }
    if (gate === undefined) return [`control plane ${pod} does not say what its proxies have`];
    const isSame =
      gate.phase === own.phase &&
      gate.bundleVersion === own.bundleVersion &&
      gate.issuerKeyId === own.issuerKeyId;
    if (!isSame) return [`control plane ${pod} has not followed to phase ${own.phase}`];
    return gate.waitsFor.map((line) => `${pod}: ${line}`);
  }

  #follow(): ListWatch {
    const { client, namespace, random, log } = this.#options;
    return startListWatch<KubeObject>({
      client,
      resources: [LEASES],
      namespace,
      read: (object) => object,
      onListed: (leases) => {
        this.#isListed = true;
        const listed = new Set(leases.map((lease) => this.#take(lease)));
        for (const pod of this.#others.keys()) if (!listed.has(pod)) this.#ended(pod);
      },
      onChanged: (lease) => void this.#take(lease),
      onDeleted: (lease) => {
        const pod = podOf(lease);
        if (pod !== undefined) this.#ended(pod);
      },
      clock: this.#clock,
      ...(random && { random }),
      ...(log && { log }),
    });
  }

  /** @returns whose it is; `undefined` when it is no other replica's. */
  #take(lease: KubeObject): string | undefined {
    const pod = podOf(lease);
    if (pod === undefined || pod === this.#options.podName) return undefined;
    const version = textAt(lease, 'metadata', 'resourceVersion') ?? '';
    // A list shows again what was seen: that is no sign of life.
    if (this.#others.get(pod)?.version === version) return pod;
    this.#others.set(pod, {
      pod,
      podUid: textAt(lease, 'metadata', 'annotations', 'weft.dev/pod-uid'),
      gate: readGateText(textAt(lease, 'metadata', 'annotations', GATE_ANNOTATION)),
      atMs: this.#elapsedMs(),
      version,
    });
    return pod;
  }

  #ended(pod: string): void {
    if (!this.#others.delete(pod)) return;
    this.#endedAtMs = this.#elapsedMs();
    this.#options.authority.otherEnded();
    this.#options.log?.info({ replica: pod }, 'a control plane has ended');
  }

  /** One round at a time; what happens meanwhile is in the next. */
  #tick(): void {
    this.#isDue = true;
    if (this.#isDisposed || this.#running !== undefined) return;
    this.#isDue = false;
    this.#timer?.[Symbol.dispose]();
    this.#running = this.#round()
      .catch((error: unknown) => {
        this.#options.log?.error({ err: error }, 'rotation gate not published');
        return IDLE_MS;
      })
      .then((delayMs) => {
        this.#running = undefined;
        if (this.#isDisposed) return;
        if (this.#isDue) this.#tick();
        else this.#timer = this.#clock.setTimeout(() => this.#tick(), delayMs);
      });
  }

  /** @returns when the next is due. */
  async #round(): Promise<number> {
    const gate = this.#options.authority.gate(this.#options.connected);
    await this.#publish(gate);
    if (gate.phase === 'stable') return IDLE_MS;
    for (const replica of this.#others.values()) await this.#removeIfGone(replica);
    return ROTATING_MS;
  }

  async #publish(gate: PhaseGate): Promise<void> {
    const { client, namespace, podName, podUid, log } = this.#options;
    const owner = { apiVersion: 'v1', kind: 'Pod', name: podName, uid: podUid };
    const answer = await client.apply(
      LEASES,
      {
        apiVersion: apiVersionOf(LEASES),
        kind: LEASES.kind,
        metadata: {
          name: `${REPLICA_LEASE_PREFIX}${podName}`,
          namespace,
          labels: { [REPLICA_LABEL]: podName },
          annotations: {
            [GATE_ANNOTATION]: gateText(gate),
            ...(podUid !== undefined && { 'weft.dev/pod-uid': podUid }),
          },
          ...(podUid !== undefined && { ownerReferences: [owner] }),
        },
        spec: {
          holderIdentity: podName,
          leaseDurationSeconds: STALE_MS / 1_000,
          renewTime: new Date(this.#clock.now()).toISOString().replace('Z', '000Z'),
        },
      },
      { fieldManager: FIELD_MANAGER, isForced: true },
    );
    if (answer.ok) this.#isPublished = true;
    else log?.warn({ reason: answer.message }, 'rotation gate not published');
  }

  /** A replica that is silent holds everything up, until its Pod is seen to be gone. */
  async #removeIfGone({ pod, podUid, atMs }: Replica): Promise<void> {
    if (this.#elapsedMs() - atMs <= STALE_MS) return;
    const { client, namespace, log } = this.#options;
    const answer = await client.get(PODS, { namespace, name: pod });
    const phase = answer.ok ? textAt(answer.value, 'status', 'phase') : undefined;
    const isGone = answer.ok
      ? phase === 'Failed' ||
        phase === 'Succeeded' ||
        (podUid !== undefined && textAt(answer.value, 'metadata', 'uid') !== podUid)
      : answer.code === 404;
    if (!isGone) return;
    const name = `${REPLICA_LEASE_PREFIX}${pod}`;
    const deleted = await client.delete(LEASES, { namespace, name });
    if (!deleted.ok && deleted.code !== 404) {
      log?.warn({ reason: deleted.message }, 'lease of a control plane that has ended not deleted');
    }
  }

  /** After the servers: what is not in the Lease any more is taken for ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#owned.disposeAsync();
    await this.#running;
    const { client, namespace, podName, log } = this.#options;
    const name = `${REPLICA_LEASE_PREFIX}${podName}`;
    const signal = AbortSignal.timeout(ROTATING_MS);
    const deleted = await client.delete(LEASES, { namespace, name }, { signal });
    if (!deleted.ok) log?.warn({ reason: deleted.message }, 'own lease not deleted');
  }
}

/** The Pod whose Lease it is; `undefined` for Leases of others. */
function podOf(lease: KubeObject): string | undefined {
  const pod = textAt(lease, 'metadata', 'labels', REPLICA_LABEL);
  return textAt(lease, 'metadata', 'name') === `${REPLICA_LEASE_PREFIX}${pod}` ? pod : undefined;
}
