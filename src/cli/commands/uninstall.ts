// `weft uninstall`: takes the control plane out of a cluster, and says what stays.
import type { Command } from 'commander';
import { addClusterOptions, type ClusterFlags, clientOf } from '../install/cluster-options.ts';
import { injectedPods, uninstall } from '../install/removal.ts';
import { complain, examples, print } from '../output.ts';
import { printChange } from './install.ts';

interface Flags extends ClusterFlags {
  readonly purge?: boolean;
  readonly dryRun?: boolean;
}

async function run(flags: Flags): Promise<void> {
  using client = clientOf(flags);
  const isDryRun = flags.dryRun === true;
  const isPurge = flags.purge === true;
  const injected = await injectedPods(client);
  let count = 0;
  await uninstall({
    client,
    namespace: flags.namespace,
    isPurge,
    isDryRun,
    onChange(change) {
      count++;
      printChange(change, false);
    },
  });
  print(`${count} ${isDryRun ? 'would be ' : ''}removed`);
  if (injected.size > 0) {
    const total = [...injected.values()].reduce((sum, one) => sum + one, 0);
    complain(
      `${total} Pods still have a sidecar, which enforces what it was told last until its certificate ends (an hour); take it out:`,
    );
    for (const namespace of injected.keys()) {
      complain(`  kubectl label namespace ${namespace} weft.dev/injection-`);
      complain(`  kubectl -n ${namespace} rollout restart deployment,statefulset,daemonset`);
    }
  }
  if (!isPurge) {
    complain(
      `policies, their kinds, and the CA (Secret ${flags.namespace}/weft-ca) stay; with all of them gone: weft uninstall --purge`,
    );
  }
}

export function addUninstallCommand(program: Command): void {
  addClusterOptions(program.command('uninstall'))
    .description('take the control plane out of a cluster; policies and the CA stay')
    .option('--purge', 'policies, their kinds, the CA, bundles and the namespace too')
    .option('--dry-run', 'say what would be removed, and remove nothing')
    .addHelpText('after', examples('weft uninstall --dry-run', 'weft uninstall --purge'))
    .action(run);
}
