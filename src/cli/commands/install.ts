// `weft install` and `weft upgrade`: bring a cluster to what the chart says, and wait until it is at work.
import type { Command } from 'commander';
import type { Change } from '../install/apply-objects.ts';
import {
  addClusterOptions,
  addValueOptions,
  addWaitOption,
  type ClusterFlags,
  clientOf,
  renderOptionsOf,
  type ValueFlags,
  type WaitFlags,
} from '../install/cluster-options.ts';
import { install, installedVersion } from '../install/installation.ts';
import { complain, examples, print } from '../output.ts';
import { VERSION } from '../version.ts';

interface Flags extends ClusterFlags, ValueFlags, WaitFlags {
  readonly dryRun?: boolean;
  readonly wait: boolean;
}

const MARKS: Readonly<Record<Change['kind'], string>> = {
  created: '+',
  changed: '~',
  unchanged: '=',
  removed: '-',
};

export function printChange(change: Change, isDetailed: boolean): void {
  print(`${MARKS[change.kind]} ${change.object} ${change.kind}`);
  if (isDetailed) for (const field of change.fields) print(`    ${field}`);
}

async function run(mode: 'install' | 'upgrade', flags: Flags): Promise<void> {
  using client = clientOf(flags);
  const isDryRun = flags.dryRun === true;
  const before = await installedVersion(client, flags.namespace);
  if (mode === 'upgrade' && before !== undefined) complain(`from ${before} to ${VERSION}`);
  const counts: Record<Change['kind'], number> = {
    created: 0,
    changed: 0,
    unchanged: 0,
    removed: 0,
  };
  await install({
    client,
    render: renderOptionsOf(flags),
    isDryRun,
    mode,
    isWaiting: flags.wait,
    waiting: { timeoutMs: flags.timeout, onMissing: complain },
    onChange(change) {
      counts[change.kind]++;
      if (change.kind !== 'unchanged') printChange(change, isDryRun);
    },
    say: complain,
  });
  const { created, changed, unchanged, removed } = counts;
  const would = isDryRun ? 'would be ' : '';
  print(
    `${created} ${would}created, ${changed} ${would}changed, ${removed} ${would}removed, ${unchanged} unchanged`,
  );
  if (isDryRun) complain('nothing was changed');
  else complain('see whether everything is as it should be: weft check');
}

const common = (command: Command): Command =>
  addWaitOption(addValueOptions(addClusterOptions(command)))
    .option('--dry-run', 'ask the API server what would change, field by field, and change nothing')
    .option('--no-wait', 'do not wait until the control plane is at work');

export function addInstallCommand(program: Command): void {
  common(program.command('install'))
    .description('put the control plane into a cluster')
    .addHelpText(
      'after',
      examples(
        'weft check --pre && weft install',
        'weft install --values deploy/helm/weft/values-ha.yaml --set trustDomain=prod.example',
        'weft install --dry-run',
      ),
    )
    .action((flags: Flags) => run('install', flags));
}

export function addUpgradeCommand(program: Command): void {
  common(program.command('upgrade'))
    .description('bring an installed control plane to this version, with the values that are given')
    .addHelpText(
      'after',
      examples('weft upgrade --dry-run', 'weft upgrade --values my-values.yaml'),
    )
    .action((flags: Flags) => run('upgrade', flags));
}
