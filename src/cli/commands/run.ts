// `weft run -- APP …`: a sidecar and its application as one: started in order, signalled together, ended together.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { Sidecar } from '@weft/dataplane/sidecar';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import { failLoudly, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { countReceivedBytesWithHeap } from '../memory-accounting.ts';
import { giveBackStartMemorySoon } from '../start-memory.ts';
import { addSidecarOptions, sidecarOptionsOf, type SidecarFlags } from '../sidecar-options.ts';
import { dropPrivileges } from '../run-as.ts';

const EXAMPLE = `
Example:
  weft run --pod web-0 --namespace shop --pod-ip 127.10.0.2 --bundle ./state/bundle.pem \\
    --token-file web.token --inbound 8080=127.0.0.1:3000 -- node server.js

The application starts when the sidecar is ready. On SIGTERM calls that are under way are finished first, then the
application gets the signal. Its exit status is this command's.
`;

/** Signals that are the application's business alone. */
const PASSED: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT', 'SIGWINCH'];

async function run(app: readonly string[], flags: SidecarFlags & LogFlags): Promise<void> {
  const [command, ...args] = app;
  if (command === undefined) throw new Error('there is no application to run: write it after --');
  if (flags.transparent === true) {
    throw new Error(
      'weft run cannot be --transparent: the sidecar is told from its application by its user; start `weft sidecar --transparent --run-as 1337` beside it',
    );
  }
  countReceivedBytesWithHeap();
  const log = await createLogger('weft-run', flags);
  let child: ChildProcess | undefined;
  /** An application without its sidecar would be called by nobody, and call past all policy. */
  failLoudly(log, () => child?.kill('SIGTERM'));
  const proxy = new Sidecar(await sidecarOptionsOf(flags, log));
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined) {
      await proxy[Symbol.asyncDispose]();
      process.exit(signalStatus(signal));
    }
    await proxy.drain();
    child.kill(signal);
  };
  let isStopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) child?.kill(signal);
      else void stop(signal);
      isStopping = true;
    });
  }
  proxy.onDrainAsked(() => void stop('SIGTERM'));
  const addresses = await proxy.start({ onListening: () => dropPrivileges(flags.runAs) });
  if (addresses === undefined) return;
  child = startApp(command, args, log);
  const ended = exitStatus(child);
  for (const signal of PASSED) process.on(signal, () => child?.kill(signal));
  /** Without a process id it could not be started. */
  if (child.pid !== undefined) {
    printReady({
      role: 'run',
      proxy: `${flags.pod}.${flags.namespace}`,
      spiffeId: proxy.spiffeId,
      appPid: child.pid,
      ...addresses,
    });
    giveBackStartMemorySoon();
  }
  const status = await ended;
  log.info({ status }, 'the application has ended');
  await proxy.drain();
  await proxy[Symbol.asyncDispose]();
  process.exit(status);
}

function startApp(command: string, args: readonly string[], log: Logger): ChildProcess {
  const child = spawn(command, [...args], { stdio: ['inherit', 'inherit', 'inherit'] });
  child.on('error', (error) => log.error({ reason: error.message }, 'cannot run the application'));
  return child;
}

/** As a shell says it: 128 and the signal's number; 127 for what could not be started. */
const signalStatus = (signal: NodeJS.Signals): number => 128 + (constants.signals[signal] ?? 0);

function exitStatus(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) =>
      resolve(signal === null ? (code ?? 1) : signalStatus(signal)),
    );
    child.on('error', () => resolve(127));
  });
}

export function addRunCommand(program: Command): void {
  addLogOptions(addSidecarOptions(program.command('run')))
    .description('a sidecar together with its application')
    .argument('<app...>', 'the application and its arguments, after --')
    .passThroughOptions()
    .addHelpText('after', EXAMPLE)
    .action(run);
}
