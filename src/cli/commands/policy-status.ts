// `weft policy status` and `weft policy wait`: in which condition each policy is, and waiting until it is true everywhere.
import { setTimeout as delay } from 'node:timers/promises';
import { policyDigest } from '@weft/model/policy/digest';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { complain, examples, print, printJson, table } from '../output.ts';
import { parseDuration, type HostPort } from '../parse.ts';
import { loadManifests } from '../policy/load-manifests.ts';

interface StatusFlags {
  readonly admin: HostPort;
  readonly json?: boolean;
}

/** Where an answer takes long, the control plane is left alone for so many times as long. */
const PATIENCE = 4;
/** Short beside what people notice, long beside what an answer costs. */
const POLL_MS = 50;
/** What a moment cures is not worth a line; what lasts is told at once, not when the time is over. */
const TOLD_AFTER_MS = 1_000;

interface State {
  readonly policies: readonly PlainObject[];
  readonly connected: number;
  readonly current: number;
}

async function askState(admin: HostPort): Promise<State> {
  const answer = await askAdminJson(admin, '/v1/policies');
  const policies = isPlainObject(answer) ? answer['policies'] : undefined;
  const proxies = isPlainObject(answer) ? answer['proxies'] : undefined;
  if (!Array.isArray(policies) || !isPlainObject(proxies)) {
    throw new Error(
      `Cannot read the answer of ${admin.host}:${admin.port}: it is no control plane of this version`,
    );
  }
  const count = (key: string): number => Number(proxies[key] ?? 0);
  return {
    policies: policies.filter(isPlainObject),
    connected: count('connected'),
    current: count('current'),
  };
}

const text = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '-' : JSON.stringify(value);

const nameOf = (policy: PlainObject): string =>
  `${text(policy['namespace'])}/${text(policy['name'])}`;

/** @param name `NAME`, `NAMESPACE/NAME` or `KIND/NAMESPACE/NAME`. */
export function isNamed(policy: PlainObject, name: string): boolean {
  const parts = [text(policy['kind']), text(policy['namespace']), text(policy['name'])];
  const asked = name.split('/');
  return asked.length <= parts.length && parts.slice(-asked.length).join('/') === name;
}

async function status(name: string | undefined, { admin, json }: StatusFlags): Promise<void> {
  const { policies } = await askState(admin);
  const shown = name === undefined ? policies : policies.filter((one) => isNamed(one, name));
  if (json === true) printJson({ policies: shown });
  else if (shown.length === 0)
    complain(name === undefined ? 'there are no policies' : `there is no policy ${name}`);
  else if (name === undefined) print(table([HEADER, ...shown.map(rowOf)]));
  else for (const policy of shown) print(detailsOf(policy));
  if (name !== undefined && shown.length === 0) process.exitCode = 1;
}

const HEADER = ['POLICY', 'ACTION', 'ACCEPTED', 'STATE', 'ENFORCED', 'SINCE', 'WHY'] as const;

const rowOf = (policy: PlainObject): readonly string[] => [
  `${text(policy['kind'])} ${nameOf(policy)}`,
  text(policy['action']),
  policy['isAccepted'] === true ? 'yes' : 'no',
  text(policy['state']),
  text(policy['enforced']),
  text(policy['since']),
  text(policy['why'] ?? ''),
];

function detailsOf(policy: PlainObject): string {
  const problems = Array.isArray(policy['problems']) ? policy['problems'].map(text) : [];
  const workloads = Array.isArray(policy['workloads'])
    ? policy['workloads'].filter(isPlainObject)
    : [];
  const lines = [
    `${text(policy['kind'])} ${nameOf(policy)}${policy['action'] === undefined ? '' : ` (${text(policy['action'])})`}`,
    `  Accepted  ${policy['isAccepted'] === true ? 'yes' : 'no'}`,
    `  ${text(policy['state']).padEnd(9)} ${text(policy['enforced'])} since ${text(policy['since'])}${policy['why'] === undefined ? '' : `: ${text(policy['why'])}`}`,
    ...problems.map((problem) => `  problem   ${problem}`),
  ];
  const rows = workloads.map((one) => [
    '  -',
    text(one['proxy']),
    one['enforced'] === true ? `enforced (${text(one['by'])})` : text(one['reason']),
    `version ${text(one['version'])}`,
    one['detail'] === undefined ? '' : text(one['detail']),
  ]);
  return [...lines, ...(rows.length > 0 ? [table(rows)] : [])].join('\n');
}

interface WaitFlags {
  readonly admin: HostPort;
  readonly for: 'enforced' | 'deleted';
  readonly timeout: number;
  readonly files?: readonly string[];
}

async function wait(name: string, flags: WaitFlags): Promise<void> {
  const wanted = flags.files === undefined ? undefined : await digestIn(name, flags.files);
  const until = performance.now() + flags.timeout;
  const startedAt = performance.now();
  let lasting = { reason: '', sinceMs: startedAt, isTold: false };
  for (;;) {
    const askedAt = performance.now();
    const state = await askState(flags.admin);
    const tookMs = performance.now() - askedAt;
    const missing =
      flags.for === 'deleted' ? notDeleted(name, state) : notEnforced(name, state, wanted);
    if (missing === undefined) {
      print(`${name} is ${flags.for} everywhere (${Math.round(performance.now() - startedAt)} ms)`);
      return;
    }
    if (performance.now() >= until) {
      complain(`${name} is not ${flags.for} after ${flags.timeout} ms: ${missing}`);
      process.exitCode = 1;
      return;
    }
    if (missing !== lasting.reason) {
      lasting = { reason: missing, sinceMs: askedAt, isTold: false };
    } else if (!lasting.isTold && performance.now() - lasting.sinceMs >= TOLD_AFTER_MS) {
      complain(`waiting: ${missing}`);
      lasting.isTold = true;
    }
    await delay(
      Math.min(Math.max(POLL_MS, tookMs * PATIENCE), Math.max(1, until - performance.now())),
    );
  }
}

/** @returns what is still missing. */
function notDeleted(name: string, { policies, connected, current }: State): string | undefined {
  if (policies.some((one) => isNamed(one, name))) return 'the control plane still has it';
  return current < connected
    ? `${connected - current} of ${connected} proxies have not acknowledged the rules without it`
    : undefined;
}

function notEnforced(
  name: string,
  { policies }: State,
  wanted: string | undefined,
): string | undefined {
  const found = policies.filter((one) => isNamed(one, name));
  const [first] = found;
  if (first === undefined) return 'the control plane has no policy of that name';
  for (const policy of found) {
    if (policy['isAccepted'] !== true) return `it is refused: ${text(policy['why'])}`;
    if (wanted !== undefined && policy['digest'] !== wanted) {
      return 'the control plane has another version of it than the file';
    }
    if (policy['state'] === 'Ignored') return `it is ignored: ${text(policy['why'])}`;
    if (policy['isEnforced'] !== true) return text(policy['why'] ?? 'not every proxy has it');
  }
  return undefined;
}

/** @throws Error when the files do not hold exactly one readable policy of that name. */
async function digestIn(name: string, files: readonly string[]): Promise<string> {
  const { snapshot } = await loadManifests(files);
  const found = [...snapshot.objects.values()].flatMap((object) => {
    if (!('policy' in object) || object.kind === 'BrokenPolicy') return [];
    if (object.kind === 'WorkloadPolicy') return [];
    const { namespace, name: own } = object.policy;
    return isNamed({ kind: object.kind, namespace, name: own }, name) ? [object.policy] : [];
  });
  const [policy, ...others] = found;
  if (policy === undefined || others.length > 0) {
    const count = policy === undefined ? 'no' : found.length;
    throw new Error(
      `Cannot wait: ${files.join(', ')} holds ${count} readable policies ${name}; write NAMESPACE/NAME of one`,
    );
  }
  return policyDigest(policy);
}

function parseGoal(value: string): 'enforced' | 'deleted' {
  if (value === 'enforced' || value === 'deleted') return value;
  throw new InvalidArgumentError(`"${value}" cannot be waited for; write enforced or deleted`);
}

export function addStatusCommands(policy: Command): void {
  policy
    .command('status')
    .description('where each policy is enforced, since when, and why not')
    .argument('[name]', 'NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME; default: all')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft policy status', 'weft policy status shop/web-callers'))
    .action(status);
  policy
    .command('wait')
    .description(
      'wait until a policy is enforced everywhere, or deleted everywhere; exits 1 when the time is over',
    )
    .argument('<name>', 'NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME')
    .addOption(
      new Option('--for <condition>', 'enforced or deleted')
        .argParser(parseGoal)
        .default('enforced'),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long')
        .argParser(parseDuration)
        .default(30_000, '30s'),
    )
    .option('-f, --files <path...>', 'manifests: wait for exactly the version in them')
    .addOption(controlPlaneAdminOption())
    .addHelpText(
      'after',
      examples(
        'weft policy wait shop/web-callers --for enforced --timeout 30s',
        'weft policy wait shop/web-callers -f manifests/policies.yaml     # this version of it',
        'weft policy wait shop/old --for deleted',
      ),
    )
    .action(wait);
}
