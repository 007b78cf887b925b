// `weft control-plane`: the control plane beside a folder of manifests, until it is told to stop.
import { openControlPlane } from '@weft/controlplane/control-plane';
import { parseTrustDomain } from '@weft/model/identity';
import { Option, type Command } from 'commander';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { type HostPort, parseDuration, parseHostPort, parseIp } from '../parse.ts';
import { VERSION } from '../version.ts';

interface Flags extends LogFlags {
  readonly manifests: string;
  readonly stateDir: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly xds: HostPort;
  readonly enrolment: HostPort;
  readonly admin: HostPort;
  readonly svidTtl: number;
  readonly rotationGrace: number;
  readonly reportInterval: number;
  readonly dnsName?: readonly string[];
  readonly ipAddress?: readonly string[];
}

const LOOPBACK = '127.0.0.1';
const listenOption = (flags: string, description: string, port: number): Option =>
  new Option(flags, description)
    .argParser((text: string) => parseHostPort(text, LOOPBACK))
    .default({ host: LOOPBACK, port }, `${LOOPBACK}:${port}`);

const EXAMPLE = `
Example:
  weft control-plane --manifests deploy/examples/shop --state-dir ./state --log-pretty

When it is ready it prints one line of JSON with its addresses. Workloads join with \`weft token create\`.
`;

async function controlPlane(flags: Flags): Promise<void> {
  const log = await createLogger('weft-control-plane', flags);
  failLoudly(log);
  const trustDomain = parseTrustDomain(flags.trustDomain);
  if (trustDomain === undefined)
    throw new Error(
      `--trust-domain "${flags.trustDomain}" is no trust domain; write a DNS name: cluster.local`,
    );
  const opened = await openControlPlane({
    manifests: flags.manifests,
    stateDir: flags.stateDir,
    trustDomain,
    rootNamespace: flags.rootNamespace,
    xds: flags.xds,
    enrolment: flags.enrolment,
    admin: flags.admin,
    svidTtlMs: flags.svidTtl,
    rotationGraceMs: flags.rotationGrace,
    reportIntervalMs: flags.reportInterval,
    dnsNames: ['weft-control-plane', 'localhost', ...(flags.dnsName ?? [])],
    ipAddresses: flags.ipAddress ?? [LOOPBACK],
    version: VERSION,
    log,
  });
  onStop(log, async () => {
    await opened[Symbol.asyncDispose]();
    return 0;
  });
  printReady({
    role: 'control-plane',
    trustDomain,
    ...opened.addresses,
    bundle: `${flags.stateDir}/bundle.pem`,
  });
}

export function addControlPlaneCommand(program: Command): void {
  addLogOptions(program.command('control-plane'))
    .description('watches manifests, issues identities, and tells every sidecar what to enforce')
    .requiredOption('--manifests <dir>', 'folder of Kubernetes manifests, watched')
    .requiredOption(
      '--state-dir <dir>',
      'for the CA, join tokens and the bundle; keep it private and backed up',
    )
    .option('--trust-domain <name>', 'of every identity', 'cluster.local')
    .option('--root-namespace <name>', 'whose policies hold for the whole mesh', 'weft-system')
    .addOption(listenOption('--xds <host:port>', 'discovery and renewal, mutual TLS', 15_012))
    .addOption(listenOption('--enrolment <host:port>', 'enrolment, TLS', 15_013))
    .addOption(listenOption('--admin <host:port>', 'health, metrics and status', 15_014))
    .addOption(
      new Option('--svid-ttl <duration>', 'life of the certificates of workloads')
        .argParser(parseDuration)
        .default(3_600_000, '1h'),
    )
    .addOption(
      new Option(
        '--rotation-grace <duration>',
        'how long requests on older connections may take before a previous root is retired',
      )
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option('--report-interval <duration>', 'how often sidecars report who called whom')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .option('--dns-name <name...>', 'further names at which sidecars reach it')
    .addOption(
      new Option('--ip-address <ip...>', 'addresses at which sidecars reach it').argParser(
        (text: string, previous: readonly string[] | undefined) => [
          ...(previous ?? []),
          parseIp(text),
        ],
      ),
    )
    .addHelpText('after', EXAMPLE)
    .action(controlPlane);
}
