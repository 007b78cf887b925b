// `weft token`: join tokens, written straight into the control plane's state directory.
import { stat } from 'node:fs/promises';
import { createJoinToken } from '@weft/ca/join-tokens';
import { Option, type Command } from 'commander';
import { print, printJson } from '../output.ts';
import { parseDuration } from '../parse.ts';

interface CreateFlags {
  readonly stateDir: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly ttl: number;
  readonly json?: boolean;
}

const DEFAULT_TTL_MS = 600_000;

async function create(flags: CreateFlags): Promise<void> {
  const { stateDir, namespace, serviceAccount, ttl: ttlMs } = flags;
  await checkStateDir(stateDir);
  const made = await createJoinToken({ stateDir, namespace, serviceAccount, ttlMs });
  if (flags.json === true) printJson({ ...made, namespace, serviceAccount });
  else print(made.token);
}

/** A mistyped folder would get a token that no control plane ever reads. */
async function checkStateDir(stateDir: string): Promise<void> {
  const stats = await stat(stateDir).catch((cause: unknown) => {
    throw new Error(
      `Cannot make a token: there is no folder ${stateDir}; give the --state-dir with which the control plane runs`,
      { cause },
    );
  });
  if (!stats.isDirectory()) {
    throw new Error(
      `Cannot make a token: ${stateDir} is no folder; give the --state-dir with which the control plane runs`,
    );
  }
}

export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('tokens with which workloads join the mesh');
  token
    .command('create')
    .description('make a token that one workload may use once; it is shown here and kept nowhere')
    .requiredOption('--state-dir <dir>', "the control plane's state directory")
    .requiredOption('--namespace <name>', 'of the workload')
    .requiredOption('--service-account <name>', 'whose identity the workload gets')
    .addOption(
      new Option('--ttl <duration>', 'how long it can be used')
        .argParser(parseDuration)
        .default(DEFAULT_TTL_MS, '10m'),
    )
    .option('--json', 'with its id and end, as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  weft token create --state-dir ./state --namespace shop --service-account web > web.token\n',
    )
    .action(create);
}
