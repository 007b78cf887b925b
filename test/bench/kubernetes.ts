// Measures the control plane in a real cluster API: memory and CPU by the number of proxies, and what it asks of the API server.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isPlainObject } from '@weft/model/policy/reader';
import { AUTHORIZATION_POLICIES, SECRETS } from '@weft/kube/resource';
import { parseTrustDomain, spiffeIdOf } from '@weft/model/identity';
import { Daemon } from '../support/lab-daemon.ts';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { cpuUsOf, memoryOf } from './accounting.ts';
import { countRequests, type RequestCounts, requestsSince } from './api-requests.ts';
import { accountOf, createNamespace, fillCluster, NAMESPACE, podOf } from './cluster-objects.ts';
import { credentialOf, type Identities, issueIdentities, TRUST_DOMAIN } from './identities.ts';
import { measurePodStart, type PodStartFigures } from './pod-start.ts';
import { startFleet } from './propagation/fleet-process.ts';
import { monotonicMs, type ToFleet } from './propagation/messages.ts';
import { type Summary, summarize } from './statistics.ts';

const ROOT = 'weft-system';
const CRDS = join(import.meta.dirname, '../../deploy/crds');
const CONNECT_MS = 300_000;
const EDIT_MS = 60_000;
const WARM_UP_EDITS = 2;
/** Longer than the status writer waits between two writes of one object. */
const SETTLE_MS = 2_500;

export interface ClusterFigures {
  readonly pods: number;
  /** From the start of the process to its ready line. */
  readonly readyMs: number;
  readonly idle: { readonly residentMb: number; readonly privateMb: number };
  /** CPU of the control plane for all proxies to connect and be configured, by proxy. */
  readonly connectCpuMsPerProxy: number;
  readonly connected: { readonly residentMb: number; readonly privateMb: number };
  /** From before the policy was sent to the API server. */
  readonly lastAckMs: Summary;
  readonly enforcedMs: Summary;
  readonly cpuMsPerEditAndProxy: number;
  /** Of the control plane to the API server, for one edit of a policy, without the leader's Lease. */
  readonly requestsPerEdit: number;
  readonly statusWritesPerEdit: number;
}

export interface KubernetesResult {
  readonly podStart: PodStartFigures | undefined;
  readonly skipped: string | undefined;
  readonly clusters: readonly ClusterFigures[];
}

export async function measureKubernetes(
  plan: {
    readonly sizes: readonly number[];
    readonly edits: number;
    readonly starts: number;
  },
  progress: (what: string) => void,
): Promise<KubernetesResult> {
  const skipped = kubelabMissing();
  if (skipped !== undefined) return { skipped, clusters: [], podStart: undefined };
  const podStart = await measurePodStart(plan.starts, progress);
  const clusters: ClusterFigures[] = [];
  for (const size of plan.sizes) {
    progress(`a cluster of ${size} Pods`);
    clusters.push(await measureCluster(size, plan.edits));
  }
  return { skipped, clusters, podStart };
}

async function measureCluster(size: number, edits: number): Promise<ClusterFigures> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startKubelab({ controllers: [] }));
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  stack.defer(() => rm(stateDir, { recursive: true }));
  const identities = await prepare(lab, stateDir, size);

  const startedAtMs = monotonicMs();
  const plane = stack.use(new Daemon('control plane', argumentsOf(lab, join(stateDir, 'run'))));
  const { xds } = await plane.ready();
  const readyMs = monotonicMs() - startedAtMs;
  if (typeof xds !== 'string') throw new TypeError('Cannot measure: no xDS address');
  await delay(SETTLE_MS);
  const idle = memoryOf(plane.pid);

  const fleet = stack.use(await startFleet());
  const cpuBefore = cpuUsOf([plane.pid]);
  fleet.tell(connectMessage(xds, identities, size));
  await fleet.next('connected', CONNECT_MS);
  const connectCpuMsPerProxy = (cpuUsOf([plane.pid]) - cpuBefore) / 1_000 / size;
  await delay(SETTLE_MS);
  const connected = memoryOf(plane.pid);

  const lastAck: number[] = [];
  const enforced: number[] = [];
  let cpuUs = 0;
  let requests: RequestCounts = { all: 0, statusWrites: 0 };
  for (let edit = -WARM_UP_EDITS; edit < edits; edit++) {
    const marker = `/edit-n${edit + WARM_UP_EDITS}x`;
    fleet.tell({ kind: 'expect', marker });
    await fleet.next('expecting', EDIT_MS);
    const before = { cpuUs: cpuUsOf([plane.pid]), requests: await countRequests(lab) };
    const acknowledged = fleet.next('acknowledged', EDIT_MS);
    const writtenAtMs = monotonicMs();
    const written = await writePolicy(lab, marker);
    const [{ lastAtMs }, enforcedAtMs] = await Promise.all([
      acknowledged,
      untilEnforced(lab, written),
    ]);
    await delay(SETTLE_MS);
    if (edit < 0) continue;
    cpuUs += cpuUsOf([plane.pid]) - before.cpuUs;
    requests = requestsSince(before.requests, await countRequests(lab), requests);
    lastAck.push(lastAtMs - writtenAtMs);
    enforced.push(enforcedAtMs - writtenAtMs);
  }
  return {
    pods: size,
    readyMs,
    idle,
    connectCpuMsPerProxy,
    connected,
    lastAckMs: summarize(lastAck),
    enforcedMs: summarize(enforced),
    cpuMsPerEditAndProxy: cpuUs / 1_000 / edits / size,
    // Of each edit one request is our own, and one watch of its status.
    requestsPerEdit: requests.all / edits - 2,
    statusWritesPerEdit: requests.statusWrites / edits,
  };
}

/** The cluster as it is before Weft starts, and a CA whose certificates the fleet has already. */
async function prepare(lab: Kubelab, stateDir: string, size: number): Promise<Identities> {
  const applied = await lab.kubectl(['apply', '--server-side', '-f', CRDS]);
  if (applied.code !== 0) throw new Error(`Cannot apply the CRDs: ${applied.stderr}`);
  await createNamespace(lab.client, ROOT);
  await fillCluster(lab.client, size);
  const accounts = new Set(Array.from({ length: size }, (_, n) => accountOf(n)));
  const identities = await issueIdentities({
    stateDir,
    namespace: NAMESPACE,
    accounts: [...accounts],
  });
  const state = await readFile(join(stateDir, 'ca', 'state.json'));
  const metadata = { name: 'weft-ca', namespace: ROOT };
  const made = await lab.client.create(SECRETS, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata,
    data: { 'state.json': state.toString('base64') },
  });
  if (!made.ok) throw new Error(made.message);
  return identities;
}

function argumentsOf(lab: Kubelab, stateDir: string): readonly string[] {
  const cluster = ['--kubernetes', '--kubeconfig', lab.kubeconfig, '--state-dir', stateDir];
  const ports = ['--xds', '--enrolment', '--admin'].flatMap((name) => [name, '127.0.0.1:0']);
  return ['control-plane', ...cluster, '--pod-name', 'weft-control-plane-0', ...ports];
}

interface Written {
  readonly resourceVersion: string;
  readonly generation: number;
}

/** Selects every proxy. */
async function writePolicy(lab: Kubelab, marker: string): Promise<Written> {
  const metadata = { name: 'edited', namespace: NAMESPACE };
  const rules = [{ to: [{ operation: { paths: [marker] } }] }];
  const applied = await lab.client.apply(
    AUTHORIZATION_POLICIES,
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata,
      spec: { action: 'DENY', rules },
    },
    { fieldManager: 'benchmark', isForced: true },
  );
  if (!applied.ok) throw new Error(applied.message);
  const { metadata: written } = applied.value;
  if (!isPlainObject(written)) throw new TypeError('Cannot measure: a policy without metadata');
  return {
    resourceVersion: String(written['resourceVersion']),
    generation: Number(written['generation']),
  };
}

/** @returns when its status says that it is enforced. */
async function untilEnforced(lab: Kubelab, written: Written): Promise<number> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(EDIT_MS)]);
  let enforcedAtMs: number | undefined;
  const ended = await lab.client.watch(AUTHORIZATION_POLICIES, {
    namespace: NAMESPACE,
    resourceVersion: written.resourceVersion,
    signal,
    onEvent(event) {
      if (event.kind === 'bookmark' || !isEnforced(event.object['status'], written.generation))
        return;
      enforcedAtMs = monotonicMs();
      stop.abort();
    },
  });
  if (enforcedAtMs !== undefined) return enforcedAtMs;
  throw new Error(
    `Cannot measure: the status never said Enforced${ended.ok ? '' : `: ${ended.message}`}`,
  );
}

function isEnforced(status: unknown, generation: number): boolean {
  const conditions = isPlainObject(status) ? status['conditions'] : undefined;
  return (
    Array.isArray(conditions) &&
    conditions.some(
      (one) =>
        isPlainObject(one) &&
        one['type'] === 'Enforced' &&
        one['status'] === 'True' &&
        one['observedGeneration'] === generation,
    )
  );
}

function connectMessage(xds: string, identities: Identities, size: number): ToFleet {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  return {
    kind: 'connect',
    xds,
    bundlePem: identities.bundlePem,
    controlPlaneId: spiffeIdOf({
      trustDomain,
      namespace: ROOT,
      serviceAccount: 'weft-control-plane',
    }),
    members: Array.from({ length: size }, (_, n) => {
      const { keyPem, chainPem } = credentialOf(identities, accountOf(n));
      return { node: `${podOf(n)}.${NAMESPACE}`, keyPem, chainPem };
    }),
  };
}
