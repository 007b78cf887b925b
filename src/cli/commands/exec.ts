// `weft exec -- APP …`: runs an application with credentials in its environment, and again when they change.
import { readFile } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { signalOf } from '../credentials-options.ts';
import type { CredentialSource } from '../exec/credential-client.ts';
import { type EnvMapping, environmentOf, parseEnvMapping } from '../exec/environment.ts';
import { HeldCredentials } from '../exec/held-credentials.ts';
import { SupervisedApp } from '../exec/supervised-app.ts';
import { complain } from '../output.ts';
import { collect, parseDuration, parseHostPort } from '../parse.ts';

const EXAMPLE = `
Example:
  weft exec --from unix:/run/weft/credentials.sock --env DB_PASSWORD=db/password -- node server.js

The application starts once every credential is there. Signals are passed on; its exit status is this command's, but 77
when a credential is refused or withdrawn, and 69 when the sidecar did not answer in time.
`;

/** sysexits.h: EX_UNAVAILABLE, EX_NOPERM. */
const STATUS_UNAVAILABLE = 69;
const STATUS_WITHDRAWN = 77;
const PASSED: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT', 'SIGWINCH'];
/** Several credentials of one rotation are one restart. */
const SETTLE_MS = 200;

type Where = CredentialSource['where'];
type OnChange = 'restart' | 'ignore' | NodeJS.Signals;

interface ExecFlags {
  readonly from: Where;
  readonly tokenFile?: string;
  readonly env: readonly EnvMapping[];
  readonly onChange: OnChange;
  readonly grace: number;
  readonly wait: number;
}

async function exec(app: readonly string[], flags: ExecFlags): Promise<void> {
  const [command, ...args] = app;
  if (command === undefined) throw new Error('there is no application to run: write it after --');
  process.exit(await new Execution(command, args, flags).run());
}

/** One run of the command: the application, what it was given, and what becomes of both. */
class Execution {
  readonly #flags: ExecFlags;
  readonly #runner: SupervisedApp;
  readonly #held: HeldCredentials;
  readonly #stopped = new AbortController();
  #environment: ReadonlyMap<string, string> = new Map();
  #isWithdrawn = false;

  constructor(command: string, args: readonly string[], flags: ExecFlags) {
    this.#flags = flags;
    const environment = () => this.#environment;
    this.#runner = new SupervisedApp({ command, args, environment, graceMs: flags.grace });
    const { signal } = this.#stopped;
    this.#held = new HeldCredentials({
      source: sourceOf(flags),
      names: [...new Set(flags.env.map(({ credential }) => credential))],
      signal,
      onChange: settled(() => this.#changed(), signal),
      onWithdrawn: (name, reason) => this.#withdraw(`${name} is withdrawn: ${reason}`),
    });
  }

  /** @returns the status to end with. */
  async run(): Promise<number> {
    const signals = passSignals(this.#runner, this.#stopped);
    const failure = await this.#held.fetchAll(this.#flags.wait);
    if (failure !== undefined) {
      complain(`weft exec: ${failure.reason}`);
      return failure.kind === 'refused' ? STATUS_WITHDRAWN : STATUS_UNAVAILABLE;
    }
    const first = environmentOf(this.#flags.env, this.#held.all);
    if (!first.ok) {
      complain(`weft exec: ${first.reason}`);
      return STATUS_WITHDRAWN;
    }
    this.#environment = first.variables;
    signals.begin();
    this.#runner.start();
    void this.#held.follow();
    const status = await this.#runner.ended;
    return this.#isWithdrawn ? STATUS_WITHDRAWN : status;
  }

  #changed(): void {
    const next = environmentOf(this.#flags.env, this.#held.all);
    if (!next.ok) {
      this.#withdraw(next.reason);
      return;
    }
    if (isSame(this.#environment, next.variables)) return;
    this.#environment = next.variables;
    const { onChange } = this.#flags;
    if (onChange === 'restart') this.#runner.restart();
    else if (onChange !== 'ignore') this.#runner.signal(onChange);
  }

  #withdraw(what: string): void {
    complain(`weft exec: ${what}; the application is ended`);
    this.#isWithdrawn = true;
    this.#stopped.abort();
    this.#runner.end('SIGTERM', { isForced: true });
  }
}

/** Before the application runs there is nobody to pass a signal to. */
function passSignals(runner: SupervisedApp, stopped: AbortController): { begin(): void } {
  let hasBegun = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stopped.abort();
      if (!hasBegun) process.exit(signal === 'SIGTERM' ? 143 : 130);
      /** How long it may take is for whoever sent the signal to say. */
      runner.end(signal, { isForced: false });
    });
  }
  for (const signal of PASSED) process.on(signal, () => runner.signal(signal));
  return {
    begin() {
      hasBegun = true;
    },
  };
}

/** Runs once a burst is over. */
function settled(run: () => void, signal: AbortSignal): () => void {
  let timer: NodeJS.Timeout | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!signal.aborted) run();
    }, SETTLE_MS);
  };
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([name, value]) => b.get(name) === value);

function sourceOf({ from, tokenFile }: ExecFlags): CredentialSource {
  return {
    where: from,
    token: async () =>
      tokenFile === undefined ? undefined : (await readFile(tokenFile, 'latin1')).trim(),
  };
}

/** `unix:PATH` or `http://HOST:PORT`. */
export function parseFrom(text: string): Where {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (isAbsolute(path)) return { kind: 'unix', path };
  }
  if (text.startsWith('http://')) return { kind: 'tcp', ...parseHostPort(text.slice(7)) };
  throw new InvalidArgumentError(
    `"${text}" is no place of credentials; write unix:/run/weft/credentials.sock or http://127.0.0.1:PORT`,
  );
}

function parseOnChange(text: string): OnChange {
  if (text === 'restart' || text === 'ignore') return text;
  const signal = signalOf(text);
  if (signal !== undefined) return signal;
  throw new InvalidArgumentError(
    `"${text}" is nothing to do; write restart, ignore or a signal: HUP`,
  );
}

export function addExecCommand(program: Command): void {
  program
    .command('exec')
    .description('an application with credentials in its environment')
    .argument('<app...>', 'the application and its arguments, after --')
    .passThroughOptions()
    .addOption(
      new Option('--from <unix:path|http://host:port>', 'where the sidecar hands them over')
        .env('WEFT_CREDENTIALS')
        .argParser(parseFrom)
        .makeOptionMandatory(),
    )
    .option('--token-file <file>', 'holds the start-up token, where the sidecar asks for it')
    .addOption(
      new Option(
        '--env <variable=credential/key>',
        'a variable of the application (again for more)',
      )
        .argParser(collect(parseEnvMapping))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--on-change <restart|ignore|signal>', 'what to do when a value changes')
        .argParser(parseOnChange)
        .default('restart'),
    )
    .addOption(
      new Option('--grace <duration>', 'how long it may take to end before it is killed')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option('--wait <duration>', 'how long to wait for the sidecar at the start')
        .argParser(parseDuration)
        .default(30_000, '30s'),
    )
    .addHelpText('after', EXAMPLE)
    .action(exec);
}
