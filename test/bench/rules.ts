// Measures what rules cost a request: the called proxy of each pair with 10 to 10,000 of them, beside Envoy's own RBAC filter.
import { compilePolicies } from '@weft/model/policy/compile';
import type { PlainObject } from '@weft/model/policy/reader';
import { encodeRbac } from '@weft/xds/codec/rbac';
import type { PlainMessage } from '@weft/xds/registry';
import { modeYaml, NAMESPACE } from '../support/lab-manifests.ts';
import { type Lab, type LabSidecar, openLab } from '../support/lab.ts';
import { type Memory, memoryOf } from './accounting.ts';
import { type Effort, type FiguresByPair, measureScenario } from './dataplane-rounds.ts';
import { issueIdentities, TRUST_DOMAIN } from './identities.ts';
import { startApp, startLoadGenerator } from './load/processes.ts';
import { findEnvoy } from './peers/envoy-binary.ts';
import { type Pair, type PairName, startEnvoyPair, startWeftPair } from './peers/pairs.ts';
import { CALLED, CALLER, STRANGER } from './policies.ts';
import { calledManifests, parsePolicy } from './rule-sets.ts';
import type { Scenario } from './scenario.ts';
import { verifyPair } from './verify-pair.ts';

export interface RulesCost {
  readonly rules: number;
  /** CPU is that of the called proxy alone: the caller's has no rules. */
  readonly byPair: FiguresByPair;
  /** The called proxy after its rounds. */
  readonly memory: Readonly<Partial<Record<PairName, Memory>>>;
}

export interface RulesResult {
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly rounds: number;
  readonly checks: readonly string[];
  readonly costs: readonly RulesCost[];
}

const SIZES = [10, 1_000, 10_000];
const PATH = '/100b';
const CONNECTIONS = 16;
/** Files of a size that the control plane reads. */
const POLICIES_A_FILE = 1_000;
/** A spread of fewer says nothing. */
const LEAST_ROUNDS = 3;

type Envoy = Awaited<ReturnType<typeof findEnvoy>>;

export async function measureRules(
  given: Effort,
  progress: (what: string) => void,
): Promise<RulesResult> {
  const effort = { ...given, rounds: Math.max(LEAST_ROUNDS, given.rounds) };
  const envoy = await findEnvoy();
  const checks = new Set<string>();
  const costs: RulesCost[] = [];
  for (const rules of SIZES) {
    progress(`${rules} rules`);
    costs.push(await measureSize({ rules, envoy, effort, checks }));
  }
  return {
    leftOut: envoy.ok ? [] : [`Envoy: ${envoy.reason}`],
    peers: envoy.ok ? [`Envoy ${envoy.version}, one worker, static configuration`] : [],
    rounds: effort.rounds,
    checks: [...checks],
    costs,
  };
}

/** Processes of its own for each size: memory that another one needed is nobody's. */
async function measureSize(how: {
  readonly rules: number;
  readonly envoy: Envoy;
  readonly effort: Effort;
  readonly checks: Set<string>;
}): Promise<RulesCost> {
  const { rules, envoy, effort, checks } = how;
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLER, CALLED, STRANGER],
  });
  const manifests = calledManifests(rules, PATH);
  await writeManifests(lab, manifests);
  await lab.startControlPlane();
  const { address: appAddress } = stack.use(await startApp());
  const driver = stack.use(await startLoadGenerator());
  const weft = await startWeftPair({ lab, appAddress });
  const pairs: Pair[] = [weft];
  if (envoy.ok) {
    const own = { binary: envoy.path, folder: lab.root, rules: envoyRulesOf(manifests) };
    pairs.push(stack.use(await startEnvoyPair({ ...own, identities, appAddress })));
  }
  for (const pair of pairs) {
    for (const check of (await verifyPair(pair, { identities, folder: lab.root })).checks)
      checks.add(check);
  }
  const scenario: Scenario = {
    name: `${rules} rules`,
    mesh: { name: `${rules} rules`, app: 'http1', port: 'http', rules },
    drivers: ['generator'],
    load: { path: PATH, connections: CONNECTIONS },
    isCalledOnly: true,
  };
  const setting = { scenario, pairs, driver, driverName: 'generator', identities, effort };
  const { byPair } = await measureScenario(setting);
  const memory: Partial<Record<PairName, Memory>> = {};
  for (const { name, pids } of pairs) memory[name] = memoryOf(pids.at(-1) ?? 0);
  // Last of all: writing its dump costs the sidecar memory.
  const [, called] = weft.sidecars;
  const found = called === undefined ? 0 : await rulesIn(called);
  if (found !== rules) throw new Error(`Cannot measure ${rules} rules: weft enforces ${found}`);
  checks.add('Weft enforces as many rules');
  return { rules, byPair, memory };
}

/** How many rules a sidecar says that it enforces. */
async function rulesIn(sidecar: LabSidecar): Promise<number> {
  const { body } = await sidecar.ask('/config_dump');
  const [, ...named] = body.split(`"ns[${NAMESPACE}]-policy[`);
  return new Set(named.map((text) => text.slice(0, text.indexOf('"')))).size;
}

async function writeManifests(lab: Lab, manifests: readonly PlainObject[]): Promise<void> {
  const documents = manifests.map((manifest) => `${JSON.stringify(manifest)}\n`);
  await lab.write('mode.yaml', modeYaml('STRICT'));
  for (let at = 0; at < documents.length; at += POLICIES_A_FILE) {
    await lab.write(`policies-${at}.yaml`, ...documents.slice(at, at + POLICIES_A_FILE));
  }
}

/** The rule sets that the control plane sends to the called sidecar, in its own encoding. */
function envoyRulesOf(manifests: readonly PlainObject[]): readonly PlainMessage[] {
  const chain = compilePolicies(manifests.map(parsePolicy), [], {
    trustDomain: TRUST_DOMAIN,
    trustDomainAliases: [],
    protocol: 'http',
  });
  return chain.map(encodeRbac);
}
