// Measures Weft's control plane beside a small server on go-control-plane: the same resources, fleets and changes, in turns.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseTrustDomain, type SpiffeId, spiffeIdOf } from '@weft/model/identity';
import { NAMESPACE } from '../support/lab-manifests.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { memoryOf } from './accounting.ts';
import { credentialOf, type Identities, issueIdentities, TRUST_DOMAIN } from './identities.ts';
import { BenchMesh, groupOf, type MeshSize } from './controlplane/mesh.ts';
import { type ChurnCost, PlaneFleet } from './controlplane/plane-fleet.ts';
import { goPlane, type Plane, type PlaneName, weftPlane } from './controlplane/planes.ts';
import { encodeChange, type Recorded, recordMesh } from './controlplane/recorded.ts';
import { checkSameMeaning } from './controlplane/verify.ts';
import { goControlPlane, GoServer } from './peers/go-control-plane.ts';
import { startFleet } from './propagation/fleet-process.ts';
import type { ToFleet } from './propagation/messages.ts';
import type { Variant } from './propagation/response.ts';
import { quantile, type Summary, summarize } from './statistics.ts';

const ROOT_NAMESPACE = 'weft-system';
const ACCOUNT = 'weft-control-plane';
/** Weft's own name is given to nobody else, not even here. */
const PEER_ACCOUNT = 'go-control-plane';
/** Changes of a policy in one round. */
const EDITS = 5;
const WARM_UP_EDITS = 3;
const CHURN_RATES = [10, 100] as const;
const CHURN_SECONDS = 3;
/** Rounds of what takes long. */
const SLOW_ROUNDS = 3;
/** Until memory is what stays. */
const REST_MS = 1_000;

export interface Setting extends MeshSize {
  readonly variant: Variant;
}

export interface ChurnFigures {
  readonly ratePerSecond: number;
  readonly donePerSecond: Summary;
  readonly cpuMsPerChange: Summary;
  readonly bytesPerChange: Summary;
  readonly responsesPerChange: Summary;
  readonly settledMs: Summary;
}

export interface PlaneFigures {
  readonly plane: PlaneName;
  readonly policy: {
    readonly lastAckMs: Summary;
    readonly lastAckP99Ms: number;
    readonly cpuMsPerProxy: Summary;
    readonly bytesPerProxy: number;
  };
  readonly connectCpuMsPerProxy: number;
  readonly idleMb: number;
  readonly connectedMb: number;
  readonly kbPerStream: number;
  readonly reconnect: {
    readonly configuredMs: Summary;
    readonly cpuMsPerProxy: Summary;
    readonly bytesPerProxy: number;
    /** The slowest answer of `/healthz` of each round; absent where there is none. */
    readonly slowestHealthMs: Summary | undefined;
  };
  /** After everything else. */
  readonly finalMb: number;
  readonly churn: readonly ChurnFigures[];
}

export interface SettingFigures {
  readonly setting: Setting;
  readonly resourcesPerProxy: number;
  /** What was looked at before and after anything was counted. */
  readonly checks: readonly string[];
  readonly planes: readonly PlaneFigures[];
}

export interface ControlPlaneResult {
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly rounds: number;
  /** Of churn and of reconnects. */
  readonly slowRounds: number;
  readonly settings: readonly SettingFigures[];
}

export async function measureControlPlane(
  plan: { readonly rounds: number; readonly settings: readonly Setting[] },
  progress: (what: string) => void,
): Promise<ControlPlaneResult> {
  const peer = await goControlPlane(progress);
  const settings: SettingFigures[] = [];
  for (const setting of plan.settings) {
    const { proxies, services, variant } = setting;
    progress(`control plane: ${proxies} ${variant} streams, ${services} services`);
    const path = 'path' in peer ? peer.path : undefined;
    settings.push(await measureSetting(setting, { rounds: plan.rounds, path }));
  }
  return {
    leftOut: 'missing' in peer ? [peer.missing] : [],
    peers: 'version' in peer ? [peer.version] : [],
    rounds: plan.rounds,
    slowRounds: SLOW_ROUNDS,
    settings,
  };
}

interface Run {
  readonly rounds: number;
  /** The Go server's binary, where there is one. */
  readonly path: string | undefined;
}

async function measureSetting(setting: Setting, { rounds, path }: Run): Promise<SettingFigures> {
  await using stack = new AsyncDisposableStack();
  const mesh = new BenchMesh(setting);
  const lab = stack.use(await openLab());
  const { identities, own } = await issueAll(lab, mesh);
  await mesh.write(lab);
  await lab.startControlPlane();

  const record = (plane: Plane): Promise<Recorded> =>
    recordMesh(mesh, {
      xds: plane.xds,
      bundlePem: identities.bundlePem,
      controlPlaneId: idOf(plane),
      credentialOf: (group) => credentialOf(identities, group),
    });
  const weft = weftPlane(lab, mesh);
  const recorded = await record(weft);
  const planes = [{ plane: weft, recorded }];
  const checks: string[] = [];
  if (path !== undefined) {
    const server = stack.use(await startGoServer(lab, path, own));
    await server.apply(encodeChange('0', recorded.resources));
    const plane = goPlane(server, recorded);
    const theirs = await record(plane);
    checkSameMeaning(recorded, theirs);
    checks.push('both serve the same resources');
    planes.push({ plane, recorded: theirs });
  }
  await delay(REST_MS);
  const measured: Measured[] = [];
  for (const { plane, recorded: given } of planes) {
    const process = stack.use(await startFleet());
    const fleet = new PlaneFleet({ plane, fleet: process, mesh, recorded: given });
    const idleMb = memoryOf(plane.pid).privateMb;
    const connectCpuUs = await fleet.connect({
      kind: 'connect',
      xds: plane.xds,
      bundlePem: identities.bundlePem,
      controlPlaneId: idOf(plane),
      members: membersOf(mesh, identities, recorded),
      variant: setting.variant,
    });
    await delay(REST_MS);
    const connectedMb = memoryOf(plane.pid).privateMb;
    measured.push(new Measured(fleet, { idleMb, connectedMb, connectCpuUs }));
  }
  let resources = 0;
  const check = async (): Promise<void> => {
    for (const { fleet } of measured) resources = await fleet.check();
  };
  await check();

  for (const one of measured) await one.warmUp();
  await inTurns(rounds, measured, (one) => one.changePolicies());
  for (const rate of CHURN_RATES) {
    await inTurns(SLOW_ROUNDS, measured, (one) => one.churn(rate));
  }
  await check();
  await inTurns(SLOW_ROUNDS, measured, (one) => one.reconnect());
  await check();
  checks.push(
    'every proxy held what is in force, at first, after all changes and after reconnects',
  );
  await delay(REST_MS);
  return {
    setting,
    resourcesPerProxy: resources / setting.proxies,
    checks,
    planes: measured.map((one) => one.figures(setting.proxies)),
  };
}

/** Every other round goes the other way. */
async function inTurns(
  rounds: number,
  all: readonly Measured[],
  run: (one: Measured) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const one of round % 2 === 0 ? all : all.toReversed()) await run(one);
  }
}

interface Connected {
  readonly idleMb: number;
  readonly connectedMb: number;
  readonly connectCpuUs: number;
}

/** What one control plane has cost so far. */
class Measured {
  readonly fleet: PlaneFleet;
  readonly #connected: Connected;
  readonly #lastAckMs: number[] = [];
  readonly #editCpuUs: number[] = [];
  readonly #editBytes: number[] = [];
  readonly #churn = new Map<number, ChurnCost[]>();
  readonly #reconnects: Awaited<ReturnType<PlaneFleet['reconnect']>>[] = [];

  constructor(fleet: PlaneFleet, connected: Connected) {
    this.fleet = fleet;
    this.#connected = connected;
  }

  async warmUp(): Promise<void> {
    for (let edit = 0; edit < WARM_UP_EDITS; edit++) await this.fleet.changePolicy();
  }

  async changePolicies(): Promise<void> {
    const before = await this.fleet.account();
    let cpuUs = 0;
    for (let edit = 0; edit < EDITS; edit++) {
      const cost = await this.fleet.changePolicy();
      cpuUs += cost.cpuUs;
      this.#lastAckMs.push(cost.lastAckMs);
    }
    const after = await this.fleet.account();
    this.#editCpuUs.push(cpuUs / EDITS);
    const bytes = after.receivedBytes + after.sentBytes - before.receivedBytes - before.sentBytes;
    this.#editBytes.push(bytes / EDITS);
  }

  async churn(rate: number): Promise<void> {
    const costs = this.#churn.get(rate) ?? [];
    this.#churn.set(rate, costs);
    costs.push(await this.fleet.churn(rate, CHURN_SECONDS));
  }

  async reconnect(): Promise<void> {
    this.#reconnects.push(await this.fleet.reconnect());
  }

  figures(proxies: number): PlaneFigures {
    const { plane } = this.fleet;
    const { idleMb, connectedMb, connectCpuUs } = this.#connected;
    const perProxyMs = (us: number): number => us / 1_000 / proxies;
    const sorted = this.#lastAckMs.toSorted((a, b) => a - b);
    return {
      plane: plane.name,
      policy: {
        lastAckMs: summarize(this.#lastAckMs),
        lastAckP99Ms: quantile(sorted, 0.99),
        cpuMsPerProxy: summarize(this.#editCpuUs.map(perProxyMs)),
        bytesPerProxy: summarize(this.#editBytes).median / proxies,
      },
      connectCpuMsPerProxy: perProxyMs(connectCpuUs),
      idleMb,
      connectedMb,
      kbPerStream: ((connectedMb - idleMb) * 1_024) / proxies,
      reconnect: {
        configuredMs: summarize(this.#reconnects.map(({ configuredMs }) => configuredMs)),
        cpuMsPerProxy: summarize(this.#reconnects.map(({ cpuUs }) => perProxyMs(cpuUs))),
        bytesPerProxy: summarize(this.#reconnects.map((one) => one.receivedBytes)).median / proxies,
        slowestHealthMs: whereMeasured(this.#reconnects.map((one) => one.slowestHealthMs)),
      },
      finalMb: memoryOf(plane.pid).privateMb,
      churn: [...this.#churn].map(([rate, costs]) => churnFigures(rate, costs)),
    };
  }
}

function whereMeasured(values: readonly (number | undefined)[]): Summary | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : summarize(known);
}

function churnFigures(ratePerSecond: number, costs: readonly ChurnCost[]): ChurnFigures {
  const of = (read: (cost: ChurnCost) => number): Summary => summarize(costs.map(read));
  return {
    ratePerSecond,
    donePerSecond: of((cost) => cost.perSecond),
    cpuMsPerChange: of((cost) => cost.cpuUsPerChange / 1_000),
    bytesPerChange: of((cost) => cost.bytesPerChange),
    responsesPerChange: of((cost) => cost.responsesPerChange),
    settledMs: of((cost) => cost.settledMs),
  };
}

function idOf({ name }: Plane): SpiffeId {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  const serviceAccount = name === 'weft' ? ACCOUNT : PEER_ACCOUNT;
  return spiffeIdOf({ trustDomain, namespace: ROOT_NAMESPACE, serviceAccount });
}

/** Certificates of all workloads, and the one that the peer serves with: of the same CA. */
async function issueAll(
  lab: Lab,
  mesh: BenchMesh,
): Promise<{ readonly identities: Identities; readonly own: Identities }> {
  const stateDir = lab.state;
  const namespace = ROOT_NAMESPACE;
  const own = await issueIdentities({ stateDir, namespace, accounts: [PEER_ACCOUNT] });
  const accounts = Array.from({ length: mesh.workloads }, (_, service) => groupOf(service));
  const identities = await issueIdentities({ stateDir, namespace: NAMESPACE, accounts });
  return { identities, own };
}

async function startGoServer(lab: Lab, path: string, own: Identities): Promise<GoServer> {
  const { keyPem, chainPem } = credentialOf(own, PEER_ACCOUNT);
  const files = {
    cert: join(lab.root, 'go-cert.pem'),
    key: join(lab.root, 'go-key.pem'),
    roots: join(lab.root, 'go-roots.pem'),
  };
  await writeFile(files.cert, chainPem);
  await writeFile(files.key, keyPem, { mode: 0o600 });
  await writeFile(files.roots, own.bundlePem);
  return GoServer.start(path, files);
}

function membersOf(
  mesh: BenchMesh,
  identities: Identities,
  { wantedByGroup }: Recorded,
): Extract<ToFleet, { kind: 'connect' }>['members'] {
  return mesh.proxies.map(({ node, service }) => {
    const group = groupOf(service);
    const { keyPem, chainPem } = credentialOf(identities, group);
    const wanted = wantedByGroup.get(group);
    if (wanted === undefined) throw new RangeError(`Cannot connect ${node}: nothing was recorded`);
    return { node, cluster: group, keyPem, chainPem, wanted };
  });
}
