// Runs one command of a program: loads only the one that was named, and turns failures into one clear line.
import { Command, CommanderError } from 'commander';
import { complain } from './output.ts';
import { VERSION } from './version.ts';

export type Register = (program: Command) => void;

export interface Offer {
  /** A daemon's start-up must not pay for other commands: each is loaded when it is named. */
  readonly commands: ReadonlyMap<string, () => Promise<Register>>;
  /** For the end of the help text. */
  readonly examples: string;
}

async function createProgram(argv: readonly string[], offer: Offer): Promise<Command> {
  const { commands, examples } = offer;
  const program = new Command('weft')
    .description('a light service mesh that can prove what it enforces')
    .version(VERSION)
    .showHelpAfterError('(add --help for what can be said here)')
    .showSuggestionAfterError()
    .addHelpText('after', examples)
    .enablePositionalOptions()
    .exitOverride();
  const named = argv[2] === undefined ? undefined : commands.get(argv[2]);
  /** Help names every command; a version needs none. */
  const all = argv[2] === '--version' || argv[2] === '-V' ? [] : [...commands.values()];
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

export async function runProgram(argv: readonly string[], offer: Offer): Promise<void> {
  try {
    const program = await createProgram(argv, offer);
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
