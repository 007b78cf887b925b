// `weft sidecar --config FILE`: the proxy before one application from a file of its own, without a mesh.
import { type Command, Option } from 'commander';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { countReceivedBytesWithHeap } from '../memory-accounting.ts';
import { complain, examples, print } from '../output.ts';
import { parseDuration, parseRunAs } from '../parse.ts';
import { dropPrivileges } from '../run-as.ts';
import { giveBackStartMemorySoon } from '../start-memory.ts';
import { readStaticConfig } from './static-config.ts';
import { problemLines, StaticSidecar } from './static-sidecar.ts';

interface StaticFlags extends LogFlags {
  readonly config: string;
  readonly check?: boolean;
  readonly drainLimit: number;
  readonly runAs?: { readonly uid: number; readonly gid: number };
}

async function check(file: string): Promise<void> {
  const { config, problems } = await readStaticConfig(file);
  if (problems.length > 0) complain(problemLines(problems));
  if (config === undefined) process.exitCode = 1;
  else print(`${file}: can be used`);
}

async function run(flags: StaticFlags): Promise<void> {
  if (flags.check === true) {
    await check(flags.config);
    return;
  }
  countReceivedBytesWithHeap();
  const log = await createLogger('weft-sidecar', flags);
  failLoudly(log);
  const { config: file, drainLimit: drainLimitMs } = flags;
  const sidecar = new StaticSidecar({ file, log, drainLimitMs });
  onStop(log, async () => {
    await sidecar.drain();
    await sidecar[Symbol.asyncDispose]();
    return 0;
  });
  const addresses = await sidecar.start({ onListening: () => dropPrivileges(flags.runAs) });
  if (addresses === undefined) return;
  printReady({ role: 'sidecar', config: file, ...addresses });
  giveBackStartMemorySoon();
}

export function addStaticSidecarCommand(program: Command): void {
  addLogOptions(program.command('sidecar'))
    .description('the proxy before one application, from a file of its own and without a mesh')
    .requiredOption(
      '--config <file>',
      'what it does (docs/static-sidecar.md); watched from then on',
    )
    .option('--check', 'only say what is wrong with the file; status 1 when something is')
    .addOption(
      new Option('--drain-limit <duration>', 'how long what is in flight may take at the end')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option(
        '--run-as <uid[:gid]>',
        'give up root for this user once the ports are open',
      ).argParser(parseRunAs),
    )
    .addHelpText(
      'after',
      examples('weft sidecar --config sidecar.yaml', 'weft sidecar --config sidecar.yaml --check'),
    )
    .action(run);
}
