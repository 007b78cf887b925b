// The `weft` command: finds the command that was named, loads only that one, and turns failures into one clear line.
import { Command, CommanderError } from 'commander';
import { complain } from './output.ts';
import { VERSION } from './version.ts';

type Register = (program: Command) => void;

/** Every command and where it lives. A daemon's start-up must not pay for the others. */
const COMMANDS: ReadonlyMap<string, () => Promise<Register>> = new Map([
  [
    'control-plane',
    async () => (await import('./commands/control-plane.ts')).addControlPlaneCommand,
  ],
  ['sidecar', async () => (await import('./commands/sidecar.ts')).addSidecarCommand],
  ['run', async () => (await import('./commands/run.ts')).addRunCommand],
  ['demo', async () => (await import('./commands/demo.ts')).addDemoCommand],
  ['token', async () => (await import('./commands/token.ts')).addTokenCommands],
  ['ca', async () => (await import('./commands/ca.ts')).addCaCommands],
  ['status', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['config-dump', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['certs', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['ready', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['policy', async () => (await import('./commands/policy.ts')).addPolicyCommands],
  ['capture', async () => (await import('./commands/capture.ts')).addCaptureCommands],
]);

const EXAMPLES = `
Examples:
  weft demo                                   see a small mesh at work on this machine
  weft control-plane --manifests ./manifests --state-dir ./state
  weft token create --state-dir ./state --namespace shop --service-account web > web.token
  weft run --pod web-0 --namespace shop --pod-ip 127.0.0.2 --token-file web.token \\
           --bundle ./state/bundle.pem --inbound 8080=127.0.0.1:3000 -- node server.js
  weft status                                 proxies, policies in force, problems
  weft policy check policies.yaml             what is wrong with these policies
  weft policy explain --help                  who may call whom, and why
  weft config-dump --admin 127.0.0.1:15000    what a sidecar runs with
`;

async function createProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('weft')
    .description('a light service mesh that can prove what it enforces')
    .version(VERSION)
    .showHelpAfterError('(add --help for what can be said here)')
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES)
    .enablePositionalOptions()
    .exitOverride();
  const named = argv[2] === undefined ? undefined : COMMANDS.get(argv[2]);
  /** Help names every command; a version needs none. */
  const all = argv[2] === '--version' || argv[2] === '-V' ? [] : [...COMMANDS.values()];
  const registers = named === undefined ? all : [named];
  const added = new Set<Register>();
  for (const load of registers) added.add(await load());
  for (const register of added) register(program);
  return program;
}

/** Longer causes are for the log, not for the terminal. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env['WEFT_DEBUG'] === undefined ? error.message : (error.stack ?? error.message);
}

async function main(argv: readonly string[]): Promise<void> {
  try {
    const program = await createProgram(argv);
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode;
      return;
    }
    complain(`weft: ${explain(error)}`);
    process.exitCode = 1;
  }
}

await main(process.argv);
