// Runs one Pod from its binding to its end: network, volumes, containers in Kubernetes' order, and the status told meanwhile.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@weft/kube/kube-api';
import { PODS } from '@weft/kube/resource';
import { planContainer } from './container-plan.ts';
import { ContainerRunner, type ContainerRunnerOptions, type Plan } from './container-runner.ts';
import { findImage, type Images } from './images.ts';
import type { NodeNetwork, PodNetwork } from './network.ts';
import { type Condition, type Container, isSidecar, type Pod, podKey } from './pod.ts';
import { type Phase, podStatus } from './pod-status.ts';
import { PodVolumes } from './pod-volumes.ts';
import type { PodPlace, Sources } from './projection.ts';
import { StatusWriter } from './status-writer.ts';
import { TokenSource } from './token-source.ts';

/** What all Pods of a node share. */
export interface NodeContext {
  readonly name: string;
  readonly client: KubeClient;
  readonly network: NodeNetwork;
  readonly images: Images;
  readonly sourcesIn: (namespace: string) => Sources;
  readonly clusterEnv: Readonly<Record<string, string>>;
  /** For volumes and logs. */
  readonly folder: string;
  readonly stage: string;
  readonly probePeriodMs: number;
  readonly onProblem: (text: string) => void;
}

const VOLUMES_RETRY_MS = 200;
const DELETE_RETRY_MS = 200;
const DEFAULT_GRACE_SECONDS = 30;

export class PodWorker {
  readonly #node: NodeContext;
  readonly #inits: readonly ContainerRunner[];
  readonly #mains: readonly ContainerRunner[];
  readonly #status: StatusWriter;
  readonly #tokens: TokenSource;
  readonly #stopping = new AbortController();
  readonly #startedAt = new Date();
  readonly #folder: string;
  #network: PodNetwork | undefined;
  #volumes: PodVolumes | undefined;
  #pod: Pod;
  #phase: Phase = 'Pending';
  #isInitialized = false;
  #blocked: string | undefined;
  #conditions: readonly Condition[] = [];
  #life: Promise<void> | undefined;
  #end: Promise<void> | undefined;
  #isKilled = false;

  constructor(pod: Pod, node: NodeContext) {
    this.#pod = pod;
    this.#node = node;
    this.#folder = join(node.folder, 'pods', pod.metadata.uid);
    const { client, onProblem } = node;
    this.#status = new StatusWriter({ client, pod: pod.metadata, onProblem });
    this.#tokens = new TokenSource({ client, pod, onRenewed: () => void this.refresh() });
    this.#inits = (pod.spec.initContainers ?? []).map((container) => this.#runner(container, true));
    this.#mains = pod.spec.containers.map((container) => this.#runner(container, false));
  }

  get pod(): Pod {
    return this.#pod;
  }

  get address(): string | undefined {
    if (this.#pod.spec.hostNetwork === true) return this.#node.network.address;
    return this.#network?.address;
  }

  /** What to put before a command so that it runs in the Pod's network. */
  get enter(): readonly string[] {
    const enter =
      this.#pod.spec.hostNetwork === true ? this.#node.network.enter : this.#network?.enter;
    if (enter === undefined) throw new Error(`Pod ${podKey(this.#pod)} has no network yet`);
    return enter;
  }

  /** @throws Error when the Pod has no such container. */
  container(name: string): ContainerRunner {
    const found = [...this.#inits, ...this.#mains].find((one) => one.container.name === name);
    if (found === undefined) throw new Error(`Pod ${podKey(this.#pod)} has no container ${name}`);
    return found;
  }

  start(): void {
    this.#life = this.#live().catch((error: unknown) => {
      this.#node.onProblem(`Pod ${podKey(this.#pod)}: ${String(error)}`);
    });
  }

  /** A new version of the object, with the same uid. */
  update(pod: Pod): void {
    const hasNewMetadata = metadataText(pod) !== metadataText(this.#pod);
    this.#pod = pod;
    if (hasNewMetadata) void this.refresh();
    if (pod.metadata.deletionTimestamp !== undefined) void this.#terminate();
    else this.#tell();
  }

  /** Brings the volumes up to date with their sources. */
  async refresh(): Promise<void> {
    const written = await this.#volumes?.write(this.#pod);
    // What is missing now is kept as it was, as kubelets do; before the start it is told.
    if (written?.ok === false && this.#blocked !== undefined) this.#blocked = written.reason;
  }

  renewTokens(): Promise<void> {
    return this.#tokens.renew();
  }

  /** All its processes at once, without order and without telling the API server. */
  async kill(): Promise<void> {
    this.#isKilled = true;
    this.#stopping.abort();
    this.#status.end();
    await Promise.all([...this.#mains, ...this.#inits].map((one) => one.kill()));
    await this.#life;
    await this.#release();
  }

  #runner(container: Container, isInit: boolean): ContainerRunner {
    const policy = this.#pod.spec.restartPolicy ?? 'Always';
    let restarts: ContainerRunnerOptions['restarts'] = policy === 'Never' ? 'never' : 'on-failure';
    if (isSidecar(container) || (!isInit && policy === 'Always')) restarts = 'always';
    return new ContainerRunner({
      container,
      podIp: () => this.address ?? '',
      plan: (count) => this.#plan(container, count),
      restarts,
      probePeriodMs: this.#node.probePeriodMs,
      onChanged: () => this.#tell(),
    });
  }

  #plan(container: Container, restarts: number): Plan {
    const { images, network, sourcesIn, stage, clusterEnv } = this.#node;
    const image = findImage(images, container.image);
    if (image === undefined) {
      const reason = `failed to pull image "${container.image}": this node does not know it`;
      return { ok: false, waiting: 'ErrImagePull', reason };
    }
    const planned = planContainer({
      pod: this.#pod,
      container,
      image,
      place: this.#place,
      sources: sourcesIn(this.#pod.metadata.namespace),
      volumes: this.#volumes ?? { path: () => undefined },
      enter: this.enter,
      nameserver: network.address,
      stage,
      logFile: this.logFile(container.name, restarts),
      clusterEnv,
    });
    if (planned.ok) return planned;
    return { ok: false, waiting: 'CreateContainerConfigError', reason: planned.reason };
  }

  logFile(container: string, restarts = this.container(container).restartCount): string {
    const { namespace, name, uid } = this.#pod.metadata;
    const folder = `${namespace}_${name}_${uid}`;
    return join(this.#node.folder, 'logs', folder, `${container}-${restarts}.log`);
  }

  get #place(): PodPlace {
    const { name, network } = this.#node;
    return { podIp: this.address ?? '', nodeName: name, nodeIp: network.address };
  }

  async #live(): Promise<void> {
    this.#tell();
    if (this.#pod.metadata.deletionTimestamp !== undefined) {
      void this.#terminate();
      return;
    }
    if (this.#pod.spec.hostNetwork !== true) {
      this.#network = await this.#node.network.attachPod();
    }
    this.#volumes = new PodVolumes({
      folder: join(this.#folder, 'volumes'),
      pod: this.#pod,
      place: this.#place,
      sources: this.#node.sourcesIn(this.#pod.metadata.namespace),
      tokens: this.#tokens,
    });
    if (!(await this.#mounted(this.#volumes)) || !(await this.#initialized())) return;
    this.#isInitialized = true;
    this.#phase = 'Running';
    this.#tell();
    await this.#runMains();
    if (this.#stopping.signal.aborted) return;
    await this.#stopSidecars(this.#graceMs);
    this.#complete();
    this.#tell();
  }

  async #mounted(volumes: PodVolumes): Promise<boolean> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const written = await volumes.write(this.#pod);
      if (written.ok) {
        this.#blocked = undefined;
        return true;
      }
      if (this.#blocked !== written.reason) {
        this.#blocked = written.reason;
        this.#tell();
      }
      await delay(VOLUMES_RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
    return false;
  }

  /** One init container after the other; a sidecar lets the next begin when it has started. */
  async #initialized(): Promise<boolean> {
    const { signal } = this.#stopping;
    const stopped = this.#stopped();
    for (const init of this.#inits) {
      const run = init.run();
      await (isSidecar(init.container) ? Promise.race([init.started, stopped]) : run);
      if (signal.aborted) return false;
      if (!isSidecar(init.container) && !hasSucceeded(init)) {
        await this.#stopSidecars(this.#graceMs);
        this.#phase = 'Failed';
        this.#tell();
        return false;
      }
    }
    return !signal.aborted;
  }

  /** Each starts when the postStart hook of the one before has ended. @returns when all have completed. */
  async #runMains(): Promise<void> {
    const stopped = this.#stopped();
    const runs: Promise<void>[] = [];
    for (const main of this.#mains) {
      if (this.#stopping.signal.aborted) break;
      runs.push(main.run());
      await Promise.race([main.begun, stopped]);
    }
    await Promise.all(runs);
  }

  #stopped(): Promise<void> {
    const { signal } = this.#stopping;
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
  }

  #complete(): void {
    this.#phase = this.#mains.every(hasSucceeded) ? 'Succeeded' : 'Failed';
  }

  get #graceMs(): number {
    const { metadata, spec } = this.#pod;
    const asked = metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds;
    return (asked ?? DEFAULT_GRACE_SECONDS) * 1_000;
  }

  /** The last one started is the first to go; each has what is left of the time. */
  async #stopSidecars(graceMs: number): Promise<void> {
    const until = performance.now() + graceMs;
    for (const init of this.#inits.toReversed()) {
      await init.stop(Math.max(0, until - performance.now()));
    }
  }

  #terminate(): Promise<void> {
    this.#end ??= this.#terminateInOrder().catch((error: unknown) => {
      this.#node.onProblem(`end of Pod ${podKey(this.#pod)}: ${String(error)}`);
    });
    return this.#end;
  }

  async #terminateInOrder(): Promise<void> {
    const graceMs = this.#graceMs;
    const until = performance.now() + graceMs;
    this.#stopping.abort();
    await Promise.all(this.#mains.map((main) => main.stop(graceMs)));
    await this.#stopSidecars(Math.max(0, until - performance.now()));
    await this.#life;
    this.#complete();
    this.#tell();
    await this.#status.settled();
    await this.#release();
    await this.#deleteObject();
  }

  async #release(): Promise<void> {
    this.#tokens[Symbol.dispose]();
    await this.#network?.[Symbol.asyncDispose]();
    this.#volumes?.[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #deleteObject(): Promise<void> {
    const { name, namespace } = this.#pod.metadata;
    while (!this.#isKilled) {
      const answer = await this.#node.client.delete(
        PODS,
        { name, namespace },
        { gracePeriodSeconds: 0 },
      );
      if (answer.ok || answer.code === 404) return;
      await delay(DELETE_RETRY_MS, undefined, { ref: false });
    }
  }

  #tell(): void {
    const now = new Date();
    const status = podStatus(
      {
        pod: this.#pod,
        phase: this.#phase,
        podIp: this.address,
        nodeIp: this.#node.network.address,
        startedAt: this.#startedAt,
        isInitialized: this.#isInitialized,
        inits: this.#inits,
        mains: this.#mains,
        blocked: this.#blocked,
        conditions: this.#conditions,
      },
      now,
    );
    this.#conditions = status.conditions;
    this.#status.write(status);
  }
}

const hasSucceeded = ({ state }: ContainerRunner): boolean =>
  state.kind === 'terminated' && state.exitCode === 0;

/** What the downward API may show, and what changes. */
const metadataText = ({ metadata }: Pod): string =>
  JSON.stringify([metadata.labels, metadata.annotations]);
