// Measures the memory of proxies; for a network namespace of its own, where connections to Envoy's Pods are redirected to it. Its words are lines of JSON.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { call, splitAddress } from '../support/lab-clients.ts';
import { NAMESPACE } from '../support/lab-manifests.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Memory, memoryOf } from './accounting.ts';
import { credentialOf, type Identities, issueIdentities } from './identities.ts';
import { nextMessage, startApp, startChild } from './load/processes.ts';
import type { HoldAnswer, HoldJob } from './memory-clients.ts';
import type {
  MemoryPlan,
  MemoryResult,
  MemoryWord,
  Slope,
  StateFigures,
} from './memory-figures.ts';
import { calledService, CALLED_SERVICES, writeMesh } from './memory-mesh.ts';
import {
  buildBundle,
  type Contender,
  envoyFrom,
  type Proxy,
  weftFromBundle,
  weftFromSource,
} from './memory-proxies.ts';
import { checkInbound } from './memory-checks.ts';
import { soak } from './memory-soak.ts';
import { receivedBytes } from './memory-wire.ts';
import { findEnvoy, type FoundEnvoy } from './peers/envoy-binary.ts';
import { CALLED, CALLER, STRANGER } from './policies.ts';
import { type Summary, summarize } from './statistics.ts';

/** What is on its way at the end of a state has come, and a young heap is collected. */
const SETTLE_MS = 3_000;
const HOLD_MS = 300_000;
/** Connections to these are redirected to port 15006, to those are not. */
const ENVOY_PODS = '127.88.0';
const WEFT_PODS = '127.42.0';
const CALLERS = '127.42.1';

const say = (word: MemoryWord): void => void process.stdout.write(`${JSON.stringify(word)}\n`);
const progress = (what: string): void => say({ kind: 'progress', what });

interface Bench {
  readonly lab: Lab;
  readonly identities: Identities;
  readonly port: number;
  readonly contenders: readonly Contender[];
  readonly plan: MemoryPlan;
  readonly checks: Set<string>;
}

interface Sample {
  readonly memory: Memory;
  readonly configKb: number | undefined;
}

const figuresOf = (
  state: string,
  { name }: Contender,
  samples: readonly Sample[],
): StateFigures => {
  const configs = samples.flatMap(({ configKb }) => (configKb === undefined ? [] : [configKb]));
  const of = (key: keyof Memory): Summary => summarize(samples.map(({ memory }) => memory[key]));
  return {
    state,
    proxy: name,
    residentMb: of('residentMb'),
    privateMb: of('privateMb'),
    dirtyMb: of('dirtyMb'),
    proportionalMb: of('proportionalMb'),
    configKb: configs.length === 0 ? undefined : summarize(configs),
  };
};

async function sampleOf(proxy: Proxy, lab: Lab): Promise<Sample> {
  const received = await receivedBytes(proxy.pid, lab.addresses.xds);
  return { memory: memoryOf(proxy.pid), configKb: received / 1_024 };
}

/** A lab with a mesh, its control plane and its application. */
async function openBench(
  stack: AsyncDisposableStack,
  how: {
    readonly services: number;
    readonly callers: number;
    /** Addresses of the called workload. */
    readonly called: readonly string[];
    readonly plan: MemoryPlan;
    readonly contenders: readonly Contender[];
    readonly checks: Set<string>;
  },
): Promise<Bench> {
  const { services, plan, contenders, checks } = how;
  const lab = stack.use(await openLab());
  assert.ok(!lab.nextIp().startsWith('127.88.'), 'another process number is needed: run it again');
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLER, CALLED, STRANGER],
  });
  const { port } = splitAddress(stack.use(await startApp()).address);
  await writeMesh(lab, {
    services,
    port,
    called: how.called,
    callers: Array.from({ length: how.callers }, (_, at) => `${CALLERS}.${at + 1}`),
  });
  await lab.startControlPlane();
  return { lab, identities, port, contenders, plan, checks };
}

/** The first half for Weft's, the second for Envoy's. */
const calledIps = (count: number): readonly string[] =>
  [WEFT_PODS, ENVOY_PODS].flatMap((network) =>
    Array.from({ length: count }, (_, at) => `${network}.${at + 1}`),
  );

function startCalled(bench: Bench, contender: Contender, at: number): Promise<Proxy> {
  const { lab, identities, port, plan } = bench;
  const isEnvoy = contender.name === 'envoy';
  return contender.start({
    lab,
    identities,
    pod: `${CALLED}-${isEnvoy ? plan.many + at : at}`,
    serviceAccount: CALLED,
    podIp: `${isEnvoy ? ENVOY_PODS : WEFT_PODS}.${at + 1}`,
    port,
    services: CALLED_SERVICES,
  });
}

async function measureIdle(bench: Bench): Promise<readonly StateFigures[]> {
  const { contenders, plan, lab } = bench;
  const figures: StateFigures[] = [];
  for (const contender of contenders) {
    progress(`${contender.name}, idle`);
    await using stack = new AsyncDisposableStack();
    const proxies = [stack.use(await startCalled(bench, contender, 0))];
    const [first] = proxies;
    assert.ok(first !== undefined);
    await delay(SETTLE_MS);
    figures.push(figuresOf('idle, 1 proxy', contender, [await sampleOf(first, lab)]));
    for (let at = 1; at < plan.many; at++) {
      proxies.push(stack.use(await startCalled(bench, contender, at)));
    }
    await delay(SETTLE_MS);
    const samples = await Promise.all(proxies.map((proxy) => sampleOf(proxy, lab)));
    figures.push(figuresOf(`idle, ${plan.many} proxies`, contender, samples));
    for (const check of await checkInbound(first.inbound, bench.identities)) {
      bench.checks.add(check);
    }
  }
  return figures;
}

/** A fresh proxy for each number: memory that another one needed is nobody's. */
async function measureConnections(bench: Bench): Promise<readonly StateFigures[]> {
  const { contenders, plan, lab, identities } = bench;
  const figures: StateFigures[] = [];
  for (const connections of plan.connections) {
    for (const contender of contenders) {
      progress(`${contender.name}, ${connections} connections`);
      await using stack = new AsyncDisposableStack();
      const proxy = stack.use(await startCalled(bench, contender, 0));
      const holder = stack.use(startChild(`${import.meta.dirname}/memory-clients.ts`));
      await nextMessage(holder, HOLD_MS);
      await checkInbound(proxy.inbound, identities);
      await delay(SETTLE_MS);
      const before = memoryOf(proxy.pid);
      const { keyPem, chainPem } = credentialOf(identities, CALLER);
      const { bundlePem } = identities;
      const serverId = credentialOf(identities, CALLED).spiffeId;
      const to = proxy.inbound;
      const job = { to, connections, path: '/100b', keyPem, chainPem, bundlePem, serverId };
      await ask(holder, job, 'holding');
      await delay(SETTLE_MS);
      const sample = await sampleOf(proxy, lab);
      await ask(holder, 'release', 'released');
      const name = `${connections.toLocaleString('en')} open connections`;
      const grown = sample.memory.privateMb - before.privateMb;
      const kbPerConnection = (grown * 1_024) / connections;
      figures.push({ ...figuresOf(name, contender, [sample]), kbPerConnection });
    }
  }
  return figures;
}

async function ask(
  holder: ReturnType<typeof startChild>,
  message: HoldJob | 'release',
  kind: HoldAnswer['kind'],
): Promise<void> {
  holder.send(message);
  const said = await nextMessage(holder, HOLD_MS);
  const isRight = typeof said === 'object' && said !== null && 'kind' in said && said.kind === kind;
  if (!isRight) throw new Error(`Cannot hold connections: ${JSON.stringify(said)}`);
}

/** Callers in a mesh of so many services; one workload behind five of them really answers. */
async function measureMesh(bench: Bench, services: number): Promise<readonly StateFigures[]> {
  const { contenders, plan, lab, identities, port } = bench;
  const figures: StateFigures[] = [];
  await using called = await startCalled(bench, weftFromSource, 0);
  await checkInbound(called.inbound, identities);
  for (const contender of contenders) {
    const samples: Sample[] = [];
    for (let at = 0; at < plan.starts; at++) {
      progress(`${contender.name}, ${services} services, ${at + 1} of ${plan.starts}`);
      await using proxy = await contender.start({
        lab,
        identities,
        pod: `${CALLER}-${at}`,
        serviceAccount: CALLER,
        podIp: `${CALLERS}.${at + 1}`,
        port,
        services,
      });
      await callServices(proxy);
      await delay(SETTLE_MS);
      samples.push(await sampleOf(proxy, lab));
    }
    const name = `${services.toLocaleString('en')} services, ${CALLED_SERVICES} called`;
    figures.push(figuresOf(name, contender, samples));
  }
  return figures;
}

async function callServices({ outboundHttp }: Proxy): Promise<void> {
  if (outboundHttp === undefined) return;
  for (let at = 0; at < CALLED_SERVICES; at++) {
    const headers = { host: `${calledService(at)}.${NAMESPACE}` };
    const { status, body } = await call(outboundHttp, '/100b', { headers });
    assert.equal(status, 200, body);
  }
}

async function main(plan: MemoryPlan): Promise<MemoryResult> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await openLab()).root;
  progress("the sidecar's bundle");
  const contenders: Contender[] = [weftFromSource, weftFromBundle(await buildBundle(folder))];
  const envoy: FoundEnvoy =
    plan.whyNoEnvoy === undefined ? await findEnvoy() : { ok: false, reason: plan.whyNoEnvoy };
  if (envoy.ok) contenders.push(envoyFrom(envoy.path));
  const checks = new Set<string>();
  const states: StateFigures[] = [];
  const common = { plan, contenders, checks };
  const slopes: Slope[] = [];
  {
    await using own = new AsyncDisposableStack();
    const called = calledIps(plan.many);
    const small = { ...common, services: CALLED_SERVICES, called, callers: 0 };
    const bench = await openBench(own, small);
    states.push(...(await measureIdle(bench)), ...(await measureConnections(bench)));
    if (plan.soakMinutes > 0) {
      progress(`soak of ${plan.soakMinutes} minutes`);
      slopes.push(...(await soak(bench, startCalled)));
    }
  }
  for (const services of plan.meshes) {
    await using own = new AsyncDisposableStack();
    const called = [`${WEFT_PODS}.1`];
    const large = { ...common, services, called, callers: plan.starts };
    states.push(...(await measureMesh(await openBench(own, large), services)));
  }
  return {
    leftOut: envoy.ok ? [] : [`Envoy: ${envoy.reason}`],
    peers: envoy.ok
      ? [`Envoy ${envoy.version}, one worker, by delta xDS from Weft's control plane`]
      : [],
    checks: [...checks],
    states,
    soak: slopes,
  };
}

if (import.meta.main) {
  const [, , plan = ''] = process.argv;
  say({ kind: 'result', result: await main(JSON.parse(plan)) });
}
