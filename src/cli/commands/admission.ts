// `weft admission`: what WorkloadPolicies make of manifests before they are applied, and of the Pods that run.
import {
  namespaceLabelsIn,
  workloadPoliciesOf,
} from '@weft/controlplane/admission/workload-policies';
import type { CheckContext } from '@weft/model/admission/check-workload';
import { formatProblem } from '@weft/model/problem';
import type { Command } from 'commander';
import {
  type Asked,
  type Judged,
  isRefused,
  judgedJson,
  judgedLines,
  judgeWorkloads,
} from '../admission/judge-workloads.ts';
import { readClusterPolicies, runningPods } from '../admission/read-cluster.ts';
import { type KnownReports, readReports } from '../admission/read-reports.ts';
import { readWorkloads, STDIN } from '../admission/read-workloads.ts';
import { addClusterOptions, type ClusterFlags, clientOf } from '../install/cluster-options.ts';
import { complain, examples, print, printJson } from '../output.ts';
import { loadManifests } from '../policy/load-manifests.ts';
import { VERSION } from '../version.ts';

interface CommonFlags {
  readonly captureImage: string;
  readonly sidecarImage: string;
  readonly json?: boolean;
}

interface TestFlags extends CommonFlags {
  readonly filename: readonly string[];
  readonly policies?: readonly string[];
  readonly rootNamespace: string;
}

interface ReportFlags extends CommonFlags, ClusterFlags {
  readonly in?: string;
  readonly all?: boolean;
}

const CAPTURE_IMAGE = `weft/capture:${VERSION}`;
const SIDECAR_IMAGE = `weft/sidecar:${VERSION}`;

const contextOf = (
  { captureImage, sidecarImage }: CommonFlags,
  rootNamespace: string,
): CheckContext => ({
  nowMs: Date.now(),
  rootNamespace,
  captureImage,
  sidecarImage,
});

async function runTest(flags: TestFlags): Promise<void> {
  const { filename, policies: apart = [], rootNamespace } = flags;
  const paths = [...filename, ...apart].filter((path) => path !== STDIN);
  const { snapshot, problems } = await loadManifests(paths);
  const errors = problems.filter(
    ({ severity, object }) => severity === 'error' && isOwnKind(object?.kind),
  );
  for (const problem of errors) complain(formatProblem(problem));
  const policies = workloadPoliciesOf(snapshot);
  const asked = (await readWorkloads(filename)).map(({ file, line, workload }): Asked => {
    const labels = namespaceLabelsIn(snapshot, workload.namespace);
    return { workload, place: `${file}:${line}`, ...(labels && { namespaceLabels: labels }) };
  });
  if (policies.length === 0 && errors.length === 0) {
    throw new Error('Cannot test: there is no WorkloadPolicy; name its file with --policies');
  }
  if (asked.length === 0) throw new Error('Cannot test: there is no workload in these files');
  const context = { ...contextOf(flags, rootNamespace), isBeforeMutation: true };
  const judged = judgeWorkloads(asked, policies, { context });
  tell(judged, { ...flags, all: true });
  if (errors.length > 0) process.exitCode = 1;
}

const isOwnKind = (kind: string | undefined): boolean =>
  kind === 'WorkloadPolicy' || kind === 'ClusterWorkloadPolicy';

const NO_REPORTS: Partial<KnownReports> = {};

async function runReport(flags: ReportFlags): Promise<void> {
  using client = clientOf(flags);
  const { policies, problems } = await readClusterPolicies(client);
  problems.forEach(complain);
  const asked = await Array.fromAsync(runningPods(client, flags.in));
  const isAsked = policies.some(({ vulnerabilities }) => vulnerabilities !== undefined);
  const { reportOf, problem } = isAsked ? await readReports(client, flags.in) : NO_REPORTS;
  if (problem !== undefined) complain(`warning: ${problem}`);
  const context = contextOf(flags, flags.namespace);
  tell(judgeWorkloads(asked, policies, { context, ...(reportOf && { reportOf }) }), flags);
  if (problems.length > 0) process.exitCode = 1;
}

/** Exit code 1: something would be refused. */
function tell(judged: Judged, flags: { readonly json?: boolean; readonly all?: boolean }): void {
  const { workloads, ended } = judged;
  const refused = workloads.filter(isRefused).length;
  if (flags.json === true) printJson(judgedJson(judged));
  else {
    const shown =
      flags.all === true ? workloads : workloads.filter((one) => one.findings.length > 0);
    for (const line of shown.flatMap(judgedLines)) print(line);
    for (const text of ended) complain(`warning: ${text}`);
    const others = workloads.filter((one) => one.findings.length > 0 && !isRefused(one)).length;
    print(
      `${workloads.length} looked at: ${refused} would be refused, ${others} warned of or noted, ${workloads.length - refused - others} comply`,
    );
  }
  if (refused > 0) process.exitCode = 1;
}

export function addAdmissionCommands(program: Command): void {
  const admission = program
    .command('admission')
    .description('what WorkloadPolicies make of workloads');
  admission
    .command('test')
    .description('look at manifests as the API server would; exit code 1 when one would be refused')
    .requiredOption('-f, --filename <path...>', 'workloads, and policies; - for standard input')
    .option('--policies <path...>', 'policies that are kept elsewhere')
    .option('--root-namespace <name>', 'where the control plane lives', 'weft-system')
    .option('--capture-image <image>', "of Weft's own step that redirects traffic", CAPTURE_IMAGE)
    .option('--sidecar-image <image>', "of Weft's own sidecar", SIDECAR_IMAGE)
    .option('--json', 'for programs')
    .addHelpText(
      'after',
      examples(
        'weft admission test -f deployment.yaml --policies policies/',
        'helm template shop | weft admission test -f - --policies policies/',
      ),
    )
    .action(runTest);
  addClusterOptions(admission.command('report'))
    .description(
      'look at the Pods that run; exit code 1 when one would be refused if it were made now',
    )
    .option('--in <namespace>', 'Pods of one namespace alone')
    .option('--all', 'also those that comply')
    .option('--capture-image <image>', "of Weft's own step that redirects traffic", CAPTURE_IMAGE)
    .option('--sidecar-image <image>', "of Weft's own sidecar", SIDECAR_IMAGE)
    .option('--json', 'for programs')
    .addHelpText(
      'after',
      examples('weft admission report', 'weft admission report --in shop --json'),
    )
    .action(runReport);
}
