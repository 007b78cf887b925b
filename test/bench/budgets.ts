// Holds the budgets that Weft is held to, and decides from runs which of them are met.
import type { PlainObject } from '@weft/model/policy/reader';
import { listAt, numberAt, objectAt, summaryAt, textAt } from './run-json.ts';
import { ratioOf, type Ratio, type Summary } from './statistics.ts';

export interface Budget {
  readonly what: string;
  readonly budget: string;
  /** Of the run's, by name. */
  readonly part: string;
  /** What measures it. */
  readonly command: string;
  /** @param run parts by name @returns none when it was not measured */
  readonly measured: (run: PlainObject) => readonly Measured[];
}

export interface Measured {
  readonly text: string;
  readonly isMet: boolean;
}

/** Two digits that say something. */
const figure = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const ratioText = ({ ofMedians, min, max }: Ratio): string =>
  `${figure(ofMedians)}× (${figure(min)}–${figure(max)})`;

type FigureName = 'cpuUs' | 'p50Us' | 'p99Us';

function figureOf(
  run: PlainObject,
  scenario: string,
  pair: string,
  name: FigureName,
): Summary | undefined {
  const entry = listAt(run['dataplane'], 'scenarios').find(
    (one) => textAt(objectAt(one, 'scenario'), 'name') === scenario,
  );
  return summaryAt(objectAt(objectAt(entry, 'byPair'), pair), name);
}

interface RatioBudget {
  readonly label: string;
  readonly scenario: string;
  readonly peer: 'envoy' | 'haproxy';
  readonly name: FigureName;
  readonly atMost: number;
}

function ratioBudget(run: PlainObject, budget: RatioBudget): readonly Measured[] {
  const { label, scenario, peer, name, atMost } = budget;
  const ours = figureOf(run, scenario, 'weft', name);
  const theirs = figureOf(run, scenario, peer, name);
  if (ours === undefined || theirs === undefined) return [];
  const ratio = ratioOf(ours, theirs);
  return [{ text: `${label}: ${ratioText(ratio)}`, isMet: ratio.ofMedians <= atMost }];
}

const ratios =
  (...budgets: readonly RatioBudget[]) =>
  (run: PlainObject): readonly Measured[] =>
    budgets.flatMap((budget) => ratioBudget(run, budget));

const latency = (scenario: string, label: string): readonly RatioBudget[] =>
  (['p50Us', 'p99Us'] as const).map((name) => ({
    label: `${label}, ${name === 'p50Us' ? 'p50' : 'p99'}`,
    scenario,
    peer: 'envoy',
    name,
    atMost: 1,
  }));

const cpu = (
  scenario: string,
  label: string,
  atMost: number,
  peer: RatioBudget['peer'] = 'envoy',
): RatioBudget => ({ label, scenario, peer, name: 'cpuUs', atMost });

const SMALL = '100 B, 32 connections';

function stateOf(run: PlainObject, state: string, proxy: string): PlainObject | undefined {
  return listAt(run['memory'], 'states').find(
    (one) => textAt(one, 'state') === state && textAt(one, 'proxy') === proxy,
  );
}

function idleMemory(run: PlainObject): readonly Measured[] {
  const state = 'idle, 10 proxies';
  const theirs = summaryAt(stateOf(run, state, 'envoy'), 'privateMb');
  return ['weft', 'weft bundle'].flatMap((proxy) => {
    const ours = summaryAt(stateOf(run, state, proxy), 'privateMb');
    if (ours === undefined || theirs === undefined) return [];
    const times = ours.median / theirs.median;
    const mb = `${figure(ours.median)} MB, Envoy ${figure(theirs.median)} MB`;
    return [{ text: `${proxy}: ${figure(times)}× (${mb})`, isMet: times <= 1 }];
  });
}

/** Sizes of meshes differ a thousandfold: this much is flat. */
const FLAT = 1.25;

function flatMesh(run: PlainObject): readonly Measured[] {
  const states = listAt(run['memory'], 'states').filter(
    (one) => textAt(one, 'proxy') === 'weft bundle' && textAt(one, 'state').includes('services'),
  );
  return (['configKb', 'dirtyMb'] as const).flatMap((name) => {
    const medians = states.flatMap((one) => summaryAt(one, name)?.median ?? []);
    if (medians.length < 2) return [];
    const times = Math.max(...medians) / Math.min(...medians);
    const what = name === 'configKb' ? 'received' : 'written memory';
    const unit = name === 'configKb' ? 'KB' : 'MB';
    const sizes = states.map((one) => textAt(one, 'state').split(' ')[0]).join(', ');
    const figures = medians.map(figure).join(', ');
    return [{ text: `${what}: ${figures} ${unit} among ${sizes} services`, isMet: times <= FLAT }];
  });
}

const START_MS = 300;

const start = (run: PlainObject): readonly Measured[] =>
  listAt(run['start'], 'figures')
    .filter((one) => textAt(one, 'name').startsWith('weft'))
    .flatMap((one) => {
      const ready = summaryAt(one, 'readyMs');
      if (ready === undefined) return [];
      const text = `${textAt(one, 'name')}: ${figure(ready.median)} ms`;
      return [{ text, isMet: ready.median <= START_MS }];
    });

const LAST_ACK_MS = 300;
const CPU_MS_A_PROXY = 0.15;
const FLEET = 1_000;

function propagation(run: PlainObject): readonly Measured[] {
  const fleet = listAt(run['policy'], 'fleets').find((one) => one['proxies'] === FLEET);
  const lastAck = summaryAt(fleet, 'lastAckMs');
  const cpuMs = numberAt(fleet, 'cpuMsPerProxy');
  if (lastAck === undefined || cpuMs === undefined) return [];
  return [
    { text: `${figure(lastAck.median)} ms`, isMet: lastAck.median <= LAST_ACK_MS },
    { text: `${cpuMs.toFixed(3)} ms of CPU a proxy`, isMet: cpuMs <= CPU_MS_A_PROXY },
  ];
}

/** The same subscribers in meshes of several sizes: no more than this times the smallest's. */
const GROWTH = 2;

/** CPU and bytes of a change for 100 delta streams in each mesh that was measured. */
function endpointChange(run: PlainObject): readonly Measured[] {
  const settings = listAt(run['controlplane'], 'settings').filter((one) => {
    const { proxies, variant } = objectAt(one, 'setting');
    return proxies === 100 && variant === 'delta';
  });
  return (['cpuMsPerChange', 'bytesPerChange'] as const).flatMap((name) => {
    const found = settings.flatMap((one) => {
      const ours = listAt(one, 'planes').find((plane) => textAt(plane, 'plane') === 'weft');
      const value = summaryAt(listAt(ours, 'churn')[0], name)?.median;
      return value === undefined
        ? []
        : [{ size: textAt(objectAt(one, 'setting'), 'services'), value }];
    });
    if (found.length < 2) return [];
    const values = found.map(({ value }) => value);
    const figures = values.map(figure).join(', ');
    const sizes = found.map(({ size }) => size).join(', ');
    const unit = name === 'cpuMsPerChange' ? 'ms of CPU' : 'bytes';
    const isMet = Math.max(...values) <= GROWTH * Math.min(...values);
    return [{ text: `${figures} ${unit} among ${sizes} services`, isMet }];
  });
}

const CERTIFICATES_OF_LIMIT = 0.5;

const certificates = (run: PlainObject): readonly Measured[] =>
  listAt(run['ca'], 'figures').flatMap((one) => {
    const ours = summaryAt(one, 'perCpuSecond');
    const limit = summaryAt(one, 'limitPerSecond');
    if (ours === undefined || limit === undefined) return [];
    const ratio = ratioOf(ours, limit);
    const isMet = ratio.ofMedians >= CERTIFICATES_OF_LIMIT;
    return [{ text: `${textAt(one, 'name')}: ${ratioText(ratio)}`, isMet }];
  });

const DECISION_NS = 1_000;
/** From caches that no longer hold everything; a scan would make it a thousand. */
const DECISION_GROWTH = 3;

function decisions(run: PlainObject): readonly Measured[] {
  const costs = listAt(run, 'decisions').flatMap((one) => {
    const ns = numberAt(one, 'nsPerDecision');
    return ns === undefined ? [] : [{ rules: textAt(one, 'rules'), ns }];
  });
  const [few, many] = [costs.at(0), costs.at(-1)];
  if (few === undefined || many === undefined) return [];
  const growth = many.ns / few.ns;
  return [
    ...costs.map(({ rules, ns }) => ({
      text: `${rules} rules: ${ns.toFixed(0)} ns`,
      isMet: ns < DECISION_NS,
    })),
    {
      text: `${many.rules} by ${few.rules} rules: ${growth.toFixed(2)}×`,
      isMet: growth <= DECISION_GROWTH,
    },
  ];
}

const dataplane = (...only: readonly string[]): string =>
  `npm run bench:dataplane -- ${only.map((text) => `--only "${text}"`).join(' ')}`;

export const BUDGETS: readonly Budget[] = [
  {
    what: 'HTTP/1.1 keep-alive, 100-byte answer, mutual TLS and policies: CPU of the pair a request',
    budget: '≤ 0.5× Envoy, ≤ 1.25× HAProxy',
    part: 'dataplane',
    command: dataplane(SMALL),
    measured: ratios(cpu(SMALL, 'Envoy', 0.5), cpu(SMALL, 'HAProxy', 1.25, 'haproxy')),
  },
  {
    what: 'the same, latency p50 and p99 at 1 and at 32 connections',
    budget: "below Envoy's",
    part: 'dataplane',
    command: dataplane('100 B, 1 connection', SMALL),
    measured: ratios(...latency('100 B, 1 connection', '1'), ...latency(SMALL, '32')),
  },
  {
    what: 'gRPC and HTTP/2, 64 streams in flight: CPU of the pair a request',
    budget: '≤ 1.0× Envoy',
    part: 'dataplane',
    command: dataplane('64 in flight', '64 streams'),
    measured: ratios(
      cpu('gRPC unary, 64 in flight', 'gRPC', 1),
      cpu('HTTP/2 100 B, 64 streams', 'HTTP/2', 1),
    ),
  },
  {
    what: '10 MB bodies: CPU of the pair',
    budget: '≤ 1.25× Envoy, then ≤ 1.0×',
    part: 'dataplane',
    command: dataplane('10 MB'),
    measured: ratios(
      cpu('10 MB down, 4 connections', 'down', 1.25),
      cpu('10 MB up, 4 connections', 'up', 1.25),
    ),
  },
  {
    what: 'memory of an idle, enrolled sidecar: private pages, 10 of them on one host',
    budget: "≤ Envoy's with the same configuration",
    part: 'memory',
    command: 'npm run bench:memory',
    measured: idleMemory,
  },
  {
    what: 'start of a sidecar to ready, control plane near',
    budget: '≤ 300 ms',
    part: 'start',
    command: 'npm run bench:start',
    measured: start,
  },
  {
    what: "a sidecar's configuration and memory in meshes of 10, 1,000 and 10,000 services when it calls 5",
    budget: 'flat',
    part: 'memory',
    command: 'npm run bench:memory -- --large',
    measured: flatMesh,
  },
  {
    what: 'policy file written → in force at the last of 1,000 connected proxies, everything on two cores',
    budget: '≤ 300 ms, and ≤ 0.15 ms of control-plane CPU a proxy',
    part: 'policy',
    command: 'npm run bench -- policy',
    measured: propagation,
  },
  {
    what: 'CPU and bytes of one endpoint change',
    budget: 'grows with its subscribers, not with the mesh',
    part: 'controlplane',
    command: 'npm run bench:controlplane',
    measured: endpointChange,
  },
  {
    what: 'a certificate request answered, of what openssl could sign and verify on one core',
    budget: '≥ 0.5×',
    part: 'ca',
    command: 'npm run bench:ca',
    measured: certificates,
  },
  {
    what: 'one policy decision',
    budget: '< 1 µs, flat from 10 to 10,000 rules',
    part: 'decisions',
    command: 'npm run bench -- decisions',
    measured: decisions,
  },
];
