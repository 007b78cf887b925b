// Measures the CA: certificates that its real services give for a second of CPU, beside what openssl can sign and verify in the same run.
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJoinToken } from '@weft/ca/join-tokens';
import { type Lab, openLab } from '../support/lab.ts';
import { cpuUsOf, memoryOf } from './accounting.ts';
import { type SigningLimit, signingLimit } from './ca-limit.ts';
import {
  ACCOUNT,
  type Answered,
  BAD_TOKEN,
  CA_NAMESPACE,
  ECHO,
  type FromClients,
  type Serving,
  type ToClients,
  type Where,
} from './ca-messages.ts';
import { TRUST_DOMAIN } from './identities.ts';
import { nextMessage, startChild } from './load/processes.ts';
import { type Summary, summarize } from './statistics.ts';

export interface CaFigures {
  readonly name: string;
  /** Of the server, all its threads, for one certificate. */
  readonly cpuUs: Summary;
  /** For a second of the server's CPU: what one core answers. */
  readonly perCpuSecond: Summary;
  /** By the clock, with the clients on the other cores. */
  readonly perSecond: Summary;
  readonly p50Ms: Summary;
  readonly p99Ms: Summary;
  /** What openssl can do at most, by the round. */
  readonly limitPerSecond: Summary;
}

export interface MassStart {
  readonly sidecars: number;
  readonly figures: CaFigures;
  /** Of the control plane with all their renewal streams open. */
  readonly privateMb: Summary;
}

export interface CaResult {
  readonly rounds: number;
  readonly limit: {
    readonly signsPerSecond: Summary;
    readonly verifiesPerSecond: Summary;
  };
  readonly checks: readonly string[];
  readonly figures: readonly CaFigures[];
  readonly massStart: MassStart;
}

export interface CaPlan {
  readonly rounds: number;
  readonly roundMs: number;
  readonly sidecars: number;
}

const START_MS = 30_000;
const MASS_START_MS = 180_000;
/** Each of signing and verifying. */
const OPENSSL_SECONDS = 1;
/** At most: each takes its time, and a control plane of its own. */
const MASS_STARTS = 3;
const WARM_UP_MS = 2_000;
const US_PER_SECOND = 1e6;

interface Round {
  readonly answered: Answered;
  readonly cpuUs: number;
  readonly limit: SigningLimit;
}

interface Load {
  readonly name: string;
  readonly kind: 'enrol' | 'renew';
  readonly atOnce: number;
  /** Of the server that gives the same answer again: what gRPC and TLS alone cost. */
  readonly isEcho?: true;
}

const LOADS: readonly Load[] = [
  { name: 'enrolment, one by one', kind: 'enrol', atOnce: 1 },
  { name: 'enrolment, 32 at once', kind: 'enrol', atOnce: 32 },
  { name: 'renewal, one stream', kind: 'renew', atOnce: 1 },
  { name: 'renewal, 32 streams', kind: 'renew', atOnce: 32 },
  { name: 'its messages without a CA, 32 streams', kind: 'renew', atOnce: 32, isEcho: true },
];

interface Server {
  readonly where: Where;
  readonly pid: number;
}

async function startServer(stack: AsyncDisposableStack, ...args: string[]): Promise<Server> {
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-ca-bench-'));
  stack.defer(() => rm(stateDir, { recursive: true, force: true }));
  const child = stack.use(startChild(fileOf('ca-server.ts'), [stateDir, ...args]));
  const where = servingOf(await nextMessage(child, START_MS));
  return { where, pid: child.pid ?? 0 };
}

export async function measureCa(plan: CaPlan, progress: (what: string) => void): Promise<CaResult> {
  await using stack = new AsyncDisposableStack();
  const server = await startServer(stack);
  const echo = await startServer(stack, ECHO);
  const clients = stack.use(await Clients.start());
  const checks = await verify(clients, server.where);
  const run = (load: Load, durationMs: number): ReturnType<typeof runLoad> =>
    runLoad({ load, clients, server: load.isEcho ? echo : server, durationMs });
  const rounds = LOADS.map((): Round[] => []);
  const limits: SigningLimit[] = [];
  for (const load of LOADS) await run(load, WARM_UP_MS);
  for (let round = 0; round < plan.rounds; round++) {
    progress(`CA, round ${round + 1} of ${plan.rounds}`);
    const limit = await signingLimit(OPENSSL_SECONDS);
    limits.push(limit);
    for (const [at, load] of LOADS.entries()) {
      rounds[at]?.push({ ...(await run(load, plan.roundMs)), limit });
    }
  }
  const massStart = await measureMassStart(plan, progress);
  return {
    rounds: plan.rounds,
    limit: {
      signsPerSecond: summarize(limits.map(({ signsPerSecond }) => signsPerSecond)),
      verifiesPerSecond: summarize(limits.map(({ verifiesPerSecond }) => verifiesPerSecond)),
    },
    checks,
    figures: LOADS.map(({ name }, at) => figuresOf(name, rounds[at] ?? [])),
    massStart,
  };
}

const fileOf = (name: string): string => join(import.meta.dirname, name);

function figuresOf(name: string, rounds: readonly Round[]): CaFigures {
  const of = (read: (round: Round) => number): Summary => summarize(rounds.map(read));
  return {
    name,
    cpuUs: of(({ cpuUs, answered }) => cpuUs / answered.answers),
    perCpuSecond: of(({ cpuUs, answered }) => (answered.answers / cpuUs) * US_PER_SECOND),
    perSecond: of(({ answered }) => (answered.answers / answered.elapsedMs) * 1_000),
    p50Ms: of(({ answered }) => answered.p50Ms),
    p99Ms: of(({ answered }) => answered.p99Ms),
    limitPerSecond: of(({ limit }) => limit.answersPerSecond),
  };
}

async function runLoad(how: {
  readonly load: Load;
  readonly clients: Clients;
  readonly server: Server;
  readonly durationMs: number;
}): Promise<Omit<Round, 'limit'>> {
  const { load, clients, server, durationMs } = how;
  const { where, pid } = server;
  const { kind, atOnce } = load;
  if (kind === 'renew') await clients.ask({ kind: 'open', where, streams: atOnce }, 'opened');
  const message: ToClients =
    kind === 'renew' ? { kind, durationMs } : { kind, where, atOnce, durationMs };
  const before = cpuUsOf([pid]);
  const answered = await clients.ask(message, 'answered');
  return { answered, cpuUs: cpuUsOf([pid]) - before };
}

/** Clients check each first certificate: its key, its name, and that it leads to the root. */
async function verify(clients: Clients, where: Where): Promise<readonly string[]> {
  const refusal = await clients.ask({ kind: 'refused', where, token: BAD_TOKEN }, 'refusal');
  if (refusal.reason === undefined) throw new Error('Cannot measure the CA: it believes anybody');
  await clients.ask({ kind: 'open', where, streams: 1 }, 'opened');
  return [
    'a bad token is refused',
    'certificates are of the key and the name that asked, under the root',
  ];
}

/** A control plane as it is installed, with its own limits, and all sidecars at once. */
async function measureMassStart(
  plan: CaPlan,
  progress: (what: string) => void,
): Promise<MassStart> {
  const rounds: Round[] = [];
  const privateMb: number[] = [];
  const starts = Math.min(plan.rounds, MASS_STARTS);
  for (let round = 0; round < starts; round++) {
    progress(`mass start of ${plan.sidecars}, round ${round + 1} of ${starts}`);
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await openLab());
    await lab.startControlPlane();
    const tokens = await makeTokens(lab, plan.sidecars);
    const where: Where = {
      enrolment: lab.addresses.enrolment,
      renewal: lab.addresses.xds,
      bundlePem: await readFile(lab.bundle, 'utf8'),
      controlPlaneId: `spiffe://${TRUST_DOMAIN}/ns/weft-system/sa/weft-control-plane`,
    };
    const clients = stack.use(await Clients.start());
    const limit = await signingLimit(OPENSSL_SECONDS);
    const { pid } = lab.controlPlane;
    const before = cpuUsOf([pid]);
    const answered = await clients.ask({ kind: 'start-all', where, tokens }, 'answered');
    rounds.push({ answered, cpuUs: cpuUsOf([pid]) - before, limit });
    privateMb.push(memoryOf(pid).privateMb);
  }
  const name = `mass start of ${plan.sidecars} sidecars`;
  return {
    sidecars: plan.sidecars,
    figures: figuresOf(name, rounds),
    privateMb: summarize(privateMb),
  };
}

async function makeTokens(lab: Lab, count: number): Promise<readonly string[]> {
  const tokens: string[] = [];
  const name = { namespace: CA_NAMESPACE, serviceAccount: ACCOUNT };
  // Made in another folder, for each making reads all that are in its own.
  const stateDir = join(lab.root, 'made');
  while (tokens.length < count) {
    const { token, id } = await createJoinToken({ stateDir, ...name });
    tokens.push(token);
    await moveToken(stateDir, lab.state, id);
  }
  return tokens;
}

async function moveToken(from: string, to: string, id: string): Promise<void> {
  await mkdir(join(to, 'tokens'), { recursive: true, mode: 0o700 });
  await rename(join(from, 'tokens', `${id}.json`), join(to, 'tokens', `${id}.json`));
}

function servingOf(message: unknown): Serving {
  if (isServing(message)) return message;
  throw new TypeError(`Cannot go on: the CA said ${JSON.stringify(message)}`);
}

const isServing = (value: unknown): value is Serving =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'serving';

/** The process of fake sidecars. */
class Clients implements AsyncDisposable {
  readonly #child: ReturnType<typeof startChild>;

  constructor(child: ReturnType<typeof startChild>) {
    this.#child = child;
  }

  static async start(): Promise<Clients> {
    const child = startChild(fileOf('ca-clients.ts'));
    await nextMessage(child, START_MS);
    return new Clients(child);
  }

  async ask<K extends FromClients['kind']>(
    message: ToClients,
    kind: K,
  ): Promise<Extract<FromClients, { kind: K }>> {
    this.#child.send(message);
    const answer = await nextMessage(this.#child, MASS_START_MS);
    if (isOf(answer, kind)) return answer;
    throw new Error(`Cannot measure the CA: its clients said ${JSON.stringify(answer)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

const isOf = <K extends FromClients['kind']>(
  value: unknown,
  kind: K,
): value is Extract<FromClients, { kind: K }> =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
