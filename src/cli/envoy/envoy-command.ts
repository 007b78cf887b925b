// `weft sidecar --proxy envoy`: an Envoy beside one workload, and the agent that it has everything from.
import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { EnvoySidecarOptions } from '@weft/dataplane/agent/envoy/options';
import { EnvoySidecar } from '@weft/dataplane/agent/envoy/envoy-sidecar';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Logger } from 'pino';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { parseAbsolutePath, parseDuration } from '../parse.ts';
import { dropPrivileges } from '../run-as.ts';
import { addSidecarOptions, sidecarOptionsOf, type SidecarFlags } from '../sidecar-options.ts';
import { giveBackStartMemorySoon } from '../start-memory.ts';
import { checkBootstrap } from './check-bootstrap.ts';

interface EnvoyFlags extends SidecarFlags, LogFlags {
  readonly envoy: string;
  readonly envoyConcurrency: number;
  readonly envoyLogLevel: string;
  readonly envoyRulesDrain: number;
  readonly envoyFolder?: string;
  readonly check?: boolean;
}

const EXAMPLE = `
Example, in a Pod whose connections are redirected (weft capture, or the injector's init container):
  weft sidecar --proxy envoy --envoy /usr/local/bin/envoy --transparent --run-as 1337 \\
    --bundle /var/run/weft/bundle/bundle.pem --service-account-token-file /var/run/weft/token/token

Envoy gets its configuration and its certificate of this agent, at a Unix socket that nobody else may open.
`;

const ENVOY_LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'critical', 'off'];
const MAX_CONCURRENCY = 128;
const MAX_RULES_DRAIN_MS = 3_600_000;

function parseConcurrency(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_CONCURRENCY) return count;
  throw new InvalidArgumentError(
    `"${text}" is no number of threads; write 1 to ${MAX_CONCURRENCY}`,
  );
}

/** Envoy counts whole seconds. */
function parseDrain(text: string): number {
  const ms = parseDuration(text);
  if (ms >= 1_000 && ms <= MAX_RULES_DRAIN_MS) return Math.ceil(ms / 1_000);
  throw new InvalidArgumentError(`"${text}" is not between 1s and 1h`);
}

const addEnvoyOptions = (command: Command): Command =>
  addSidecarOptions(command)
    .addOption(new Option('--proxy <kind>', 'envoy: the proxy is an Envoy').choices(['envoy']))
    .addOption(
      new Option('--envoy <path>', 'the program; a name is looked for in PATH')
        .env('WEFT_ENVOY')
        .default('envoy'),
    )
    .addOption(
      new Option('--envoy-concurrency <threads>', 'threads of Envoy that serve')
        .argParser(parseConcurrency)
        .default(2),
    )
    .addOption(
      new Option('--envoy-log-level <level>', "what Envoy writes into the agent's log")
        .choices(ENVOY_LEVELS)
        .default('warning'),
    )
    .addOption(
      new Option(
        '--envoy-rules-drain <duration>',
        'how long connections of before a change of rules may go on by the old ones; a policy is enforced when they are gone',
      )
        .argParser(parseDrain)
        .default(5, '5s'),
    )
    .addOption(
      new Option(
        '--envoy-folder <path>',
        'for the bootstrap and the sockets; made private, and removed at the end (default: a new one for temporary files)',
      ).argParser(parseAbsolutePath),
    )
    .option('--check', 'let Envoy judge the bootstrap, and end');

/** Envoy's listeners have them in the mesh's configuration. */
const PORTS = { inboundListen: 15_006, outboundListen: 15_001 } as const;

/** @throws Error that names an option which an Envoy cannot follow, and what to do. */
function refuseWhatEnvoyCannot(flags: EnvoyFlags): void {
  if (flags.transparent !== true)
    throw new Error(
      '--proxy envoy needs --transparent: an Envoy knows by where a connection was going what it is, so it takes redirected connections alone (see `weft capture`)',
    );
  const given = {
    '--inbound': flags.inbound,
    '--outbound': flags.outbound,
    '--outbound-http': flags.outboundHttp,
    '--dns-server': flags.dnsServer,
    '--credentials-socket': flags.credentialsSocket,
    '--credentials-listen': flags.credentialsListen,
    '--credentials-dir': flags.credentialsDir,
  };
  for (const [option, value] of Object.entries(given)) {
    if (value !== undefined)
      throw new Error(`${option} is of Weft's own sidecar, and an Envoy has it not; leave it out`);
  }
  if (
    flags.inboundListen.port !== PORTS.inboundListen ||
    flags.outboundListen.port !== PORTS.outboundListen
  )
    throw new Error(
      `--inbound-listen and --outbound-listen are ${PORTS.inboundListen} and ${PORTS.outboundListen} of an Envoy`,
    );
}

const isProgram = (place: string): Promise<boolean> =>
  access(place, constants.X_OK).then(
    () => true,
    () => false,
  );

/** @throws Error when there is no such program. */
async function findProgram(name: string): Promise<string> {
  const places = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  for (const place of places) if (await isProgram(place)) return place;
  throw new Error(`--envoy: there is no program ${name}; give its path, or put it into PATH`);
}

/** This very program, by which Envoy is started so that it does not outlive the agent. */
function guardCommand(): readonly string[] {
  const [node, main] = process.argv;
  if (node === undefined || main === undefined) throw new Error('Cannot start Envoy: no program');
  return [process.execPath, ...process.execArgv, main, 'guard'];
}

async function optionsOf(flags: EnvoyFlags, log: Logger): Promise<EnvoySidecarOptions> {
  refuseWhatEnvoyCannot(flags);
  const options = await sidecarOptionsOf(flags, log);
  const binary = await findProgram(flags.envoy);
  /** Before anything is made: what belongs to root nobody else could use afterwards. */
  dropPrivileges(flags.runAs);
  const folder = flags.envoyFolder ?? (await mkdtemp(join(tmpdir(), 'weft-envoy-')));
  return {
    ...options,
    envoy: {
      binary,
      concurrency: flags.envoyConcurrency,
      logLevel: flags.envoyLogLevel,
      rulesDrainSeconds: flags.envoyRulesDrain,
      guard: guardCommand(),
      folder,
    },
    onGiveUp: (reason) => {
      log.fatal({ reason }, 'giving up');
      process.exit(1);
    },
  };
}

async function run(flags: EnvoyFlags): Promise<void> {
  const log = await createLogger('weft-agent', flags);
  failLoudly(log);
  const options = await optionsOf(flags, log);
  if (flags.check === true) {
    try {
      process.stdout.write(`${await checkBootstrap(options)}\n`);
    } finally {
      await rm(options.envoy.folder, { recursive: true, force: true });
    }
    return;
  }
  const proxy = new EnvoySidecar(options);
  onStop(log, async () => {
    await proxy.drain();
    await proxy[Symbol.asyncDispose]();
    return 0;
  });
  const addresses = await proxy.start();
  if (addresses === undefined) return;
  printReady({
    role: 'sidecar',
    proxy: `${flags.pod}.${flags.namespace}`,
    spiffeId: proxy.spiffeId,
    ...addresses,
    envoyPid: proxy.envoyPid,
  });
  giveBackStartMemorySoon();
}

export function addEnvoyCommand(program: Command): void {
  addLogOptions(addEnvoyOptions(program.command('sidecar')))
    .description('an Envoy beside one workload, and the agent that it has everything from')
    .addHelpText('after', EXAMPLE)
    .action(run);
}
