// `weft policy suggest` and `unused`: what traffic says about policies, asked of the control plane.
import { newlyRefused } from '@weft/controlplane/status/replay';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { formatSuggestion, type SeenCall, suggestPolicies } from '@weft/model/policy/suggest';
import type { Command } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import { controlPlaneAdminOption } from '../admin-option.ts';
import { complain, examples, print, printJson, table } from '../output.ts';
import type { HostPort } from '../parse.ts';
import {
  addMeshOptions,
  compileManifests,
  loadManifests,
  type Manifests,
  type MeshFlags,
} from '../policy/load-manifests.ts';
import { warnOfErrors } from './policy-compare.ts';

interface Flags {
  readonly admin: HostPort;
  readonly json?: boolean;
}

const SUGGEST_EXAMPLE = `${examples(
  'weft policy suggest shop > shop-allow.yaml',
  'weft policy check shop-allow.yaml',
)}
Only what was seen since the control plane started is in it: leave it running for as long as your rarest call takes.
`;

const REPLAY_EXAMPLE = `${examples(
  'weft policy replay manifests changed     # changed: a copy of the folder, edited',
)}
Calls are judged by caller, port, method and path. What headers and tokens decide is not in the summaries.
`;

interface SeenEdge extends SeenCall {
  /** The Pod that was called. */
  readonly proxy: string;
  readonly rule: string;
}

const textOf = (edge: PlainObject, key: string): string => {
  const value = edge[key];
  return typeof value === 'string' ? value : '';
};
const numberOf = (edge: PlainObject, key: string): number => {
  const value = edge[key];
  return typeof value === 'number' ? value : 0;
};

function readEdge(edge: PlainObject): SeenEdge {
  const selector = isPlainObject(edge['selector']) ? edge['selector'] : {};
  const labels = new Map(Object.entries(selector).map(([key, value]) => [key, String(value)]));
  const [name] = labels.values();
  return {
    proxy: textOf(edge, 'proxy'),
    workload: name ?? textOf(edge, 'proxy').split('.', 1)[0] ?? '',
    selector: labels,
    namespace: textOf(edge, 'namespace'),
    source: textOf(edge, 'source'),
    port: numberOf(edge, 'port'),
    method: textOf(edge, 'method'),
    path: textOf(edge, 'path'),
    isAllowed: edge['isAllowed'] === true,
    rule: textOf(edge, 'rule'),
    count: numberOf(edge, 'count'),
  };
}

async function askEdges(
  admin: HostPort,
): Promise<{ readonly since: string; readonly edges: readonly SeenEdge[] }> {
  const answer = await askAdminJson(admin, '/v1/edges');
  const list = isPlainObject(answer) && Array.isArray(answer['edges']) ? answer['edges'] : [];
  return {
    since: isPlainObject(answer) ? textOf(answer, 'since') : '',
    edges: list.filter(isPlainObject).map(readEdge),
  };
}

async function suggest(namespace: string, { admin, json }: Flags): Promise<void> {
  const { since, edges } = await askEdges(admin);
  const seen = edges.filter((edge) => edge.namespace === namespace);
  if (seen.length === 0) {
    complain(
      `no call to a workload of ${namespace} has been seen since ${since}; sidecars report every 10 s unless the control plane's --report-interval says otherwise`,
    );
    process.exitCode = 1;
    return;
  }
  const policies = suggestPolicies(seen);
  if (json === true) {
    printJson({
      since,
      policies: policies.map((policy) => ({
        ...policy,
        selector: Object.fromEntries(policy.selector),
      })),
    });
    return;
  }
  print(`# From calls seen since ${since}`);
  print(policies.map(formatSuggestion).join('---\n').trimEnd());
}

/** Policies, as `NAMESPACE/NAME`, that hold at Pods which nobody sees the calls of. */
async function askUnreported(admin: HostPort): Promise<readonly string[]> {
  const answer = await askAdminJson(admin, '/v1/workloads');
  const list =
    isPlainObject(answer) && Array.isArray(answer['workloads']) ? answer['workloads'] : [];
  const without = list.filter(isPlainObject).filter(({ proxy }) => proxy === 'none');
  const names = without.flatMap(({ policies }) => (Array.isArray(policies) ? policies : []));
  return [...new Set(names.map(String))].sort();
}

async function unused({ admin, json }: Flags): Promise<void> {
  const [{ since, edges }, answer, unreported] = await Promise.all([
    askEdges(admin),
    askAdminJson(admin, '/v1/rules'),
    askUnreported(admin),
  ]);
  const hit = new Set(edges.map(({ rule }) => rule));
  const rules = isPlainObject(answer) && Array.isArray(answer['rules']) ? answer['rules'] : [];
  const idle = rules.filter((rule): rule is string => typeof rule === 'string' && !hit.has(rule));
  if (json === true) {
    printJson({ since, unused: idle, ...(unreported.length > 0 && { unreported }) });
    return;
  }
  for (const rule of idle) print(rule);
  print(`${idle.length} of ${rules.length} rules decided nothing since ${since}`);
  if (unreported.length > 0) {
    const which = unreported.join(', ');
    print(`Pods without a proxy report no calls, and may have used rules of ${which}`);
  }
}

/** Exit status when somebody would be refused. */
const REFUSED = 2;

async function replay(
  paths: { readonly old: string; readonly new: string },
  flags: Flags & MeshFlags,
): Promise<void> {
  const [before, after, { since, edges }] = await Promise.all([
    loadManifests([paths.old]),
    loadManifests([paths.new]),
    askEdges(flags.admin),
  ]);
  warnOfErrors(after.problems, paths.new);
  const meshOf = ({ snapshot }: Manifests) =>
    compileManifests(snapshot, flags, { isSupposing: false }).mesh;
  const refused = newlyRefused(edges, { before: meshOf(before), after: meshOf(after) });
  if (refused.length > 0) process.exitCode = REFUSED;
  if (flags.json === true) {
    printJson({
      since,
      refused: refused.map(({ call: { selector: _selector, ...call }, ...why }) => ({
        call,
        ...why,
      })),
    });
    return;
  }
  const rows = refused.map(({ call, decidedBy, reason }) => [
    call.source === '' ? '(no certificate)' : call.source.slice('spiffe://'.length),
    `${call.proxy}:${call.port}`,
    `${call.method} ${call.path}`.trim() || 'TCP',
    String(call.count),
    decidedBy ?? reason,
  ]);
  if (rows.length > 0) print(table([['FROM', 'TO', 'CALL', 'SEEN', 'REFUSED BY'], ...rows]));
  print(
    `${rows.length} of ${edges.length} kinds of calls seen since ${since} would newly be refused`,
  );
}

export function addPolicyLearnCommands(policy: Command): void {
  addMeshOptions(
    policy
      .command('replay')
      .description(
        'which callers that were seen a change would newly refuse; exits 2 when there are any',
      )
      .argument('<old>', 'folder of manifests as it is')
      .argument('<new>', 'folder of manifests as it would be')
      .addOption(controlPlaneAdminOption())
      .option('--json', 'as JSON'),
  )
    .addHelpText('after', REPLAY_EXAMPLE)
    .action((old: string, changed: string, flags: Flags & MeshFlags) =>
      replay({ old, new: changed }, flags),
    );
  policy
    .command('suggest')
    .description('least-privilege ALLOW policies from the calls that were seen')
    .argument('<namespace>', 'of the workloads that were called')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', SUGGEST_EXAMPLE)
    .action(suggest);
  policy
    .command('unused')
    .description('rules that have decided nothing')
    .addOption(controlPlaneAdminOption())
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft policy unused'))
    .action(unused);
}
