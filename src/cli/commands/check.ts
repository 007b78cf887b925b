// `weft check`: whether a cluster is ready for Weft, and afterwards whether Weft is as it should be; with the cure for what is not.
import type { Command } from 'commander';
import type { Finding, FindingState } from '../install/checks/finding.ts';
import { runChecks } from '../install/checks/run-checks.ts';
import { addClusterOptions, type ClusterFlags, clientOf } from '../install/cluster-options.ts';
import { examples, print, printJson } from '../output.ts';

interface Flags extends ClusterFlags {
  readonly pre?: boolean;
  readonly json?: boolean;
}

const MARKS: Readonly<Record<FindingState, string>> = {
  ok: 'ok     ',
  warning: 'warning',
  failed: 'FAILED ',
  skipped: 'skipped',
};

function printFinding({ check, state, message, cure }: Finding): void {
  print(`${MARKS[state]}  ${check}: ${message}`);
  if (cure !== undefined) print(`         cure: ${cure}`);
}

async function run(flags: Flags): Promise<void> {
  using client = clientOf(flags);
  const findings = await runChecks(flags.pre === true ? 'before' : 'after', {
    client,
    namespace: flags.namespace,
    now: Date.now,
  });
  const failed = findings.filter(({ state }) => state === 'failed').length;
  if (flags.json === true) printJson({ isGood: failed === 0, findings });
  else {
    findings.forEach(printFinding);
    print(failed === 0 ? 'everything is as it should be' : `${failed} failed`);
  }
  if (failed > 0) process.exitCode = 1;
}

export function addCheckCommand(program: Command): void {
  addClusterOptions(program.command('check'))
    .description('whether the mesh in a cluster is as it should be, and what to do where it is not')
    .option('--pre', 'before installing: whether it could be')
    .option('--json', 'for programs')
    .addHelpText('after', examples('weft check --pre', 'weft check', 'weft check --json'))
    .action(run);
}
