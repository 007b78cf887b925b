// The options that `weft sidecar` and `weft run` share, and what a sidecar is made of from them.
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { systemClock } from '@weft/model/clock';
import { formatHostPort } from '@weft/model/host-port';
import { isDnsLabel, isDnsSubdomain, parseTrustDomain } from '@weft/model/identity';
import type { MeshSidecarOptions } from '@weft/dataplane/options';
import { type AppProbes, parseAppProbes } from '@weft/dataplane/probe/app-probe';
import { splitPem } from '@weft/dataplane/tls/credentials';
import { serviceHostOf } from '@weft/dataplane/serve/service-host';
import type { AccessLogMode } from '@weft/dataplane/telemetry/access-log';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Logger } from 'pino';
import {
  addCredentialsOptions,
  type CredentialsFlags,
  credentialsOptionsOf,
} from './credentials-options.ts';
import {
  collect,
  type HostPort,
  type InboundMapping,
  type OutboundMapping,
  parseDnsServer,
  parseDuration,
  parseHostPort,
  parseInbound,
  parseOutbound,
  parseRunAs,
} from './parse.ts';
import { VERSION } from './version.ts';
import {
  addWorkloadApiOptions,
  type WorkloadApiFlags,
  workloadApiOptionsOf,
} from './workload-api-options.ts';

export interface SidecarFlags extends CredentialsFlags, WorkloadApiFlags {
  /** Absent: this sidecar's own. */
  readonly proxy?: string;
  readonly pod: string;
  readonly namespace: string;
  readonly podIp: string;
  readonly region?: string;
  readonly zone?: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly enrolment: HostPort;
  readonly xds: HostPort;
  readonly bundle: string;
  readonly tokenFile?: string;
  readonly serviceAccountTokenFile?: string;
  readonly inbound?: readonly InboundMapping[];
  readonly outbound?: readonly OutboundMapping[];
  readonly outboundHttp?: HostPort;
  readonly dnsServer?: readonly string[];
  readonly transparent?: boolean;
  readonly interceptionCheck: boolean;
  readonly interceptionPeriod: number;
  readonly inboundListen: HostPort;
  readonly outboundListen: HostPort;
  readonly admin: HostPort;
  readonly probes?: HostPort;
  readonly metrics?: HostPort;
  readonly appProbes?: AppProbes;
  readonly accessLog: AccessLogMode;
  readonly drainLimit: number;
  readonly drainOutbound?: boolean;
  readonly runAs?: { readonly uid: number; readonly gid: number };
}

const LOOPBACK = '127.0.0.1';
const address = (flags: string, description: string, fallback?: HostPort): Option => {
  const option = new Option(flags, description).argParser((text: string) =>
    parseHostPort(text, LOOPBACK),
  );
  return fallback === undefined ? option : option.default(fallback, formatHostPort(fallback));
};

function readAppProbes(text: string): AppProbes {
  const parsed = parseAppProbes(text);
  if (parsed.ok) return parsed.value;
  throw new InvalidArgumentError(parsed.problems.join('; '));
}

/** The downward API gives it in the environment. */
const fromPod = (flags: string, description: string, variable: string): Option =>
  new Option(flags, description).env(variable).makeOptionMandatory();

export function addSidecarOptions(command: Command): Command {
  return addWorkloadApiOptions(addCredentialsOptions(command))
    .addOption(fromPod('--pod <name>', 'name of the Pod (workload)', 'WEFT_POD'))
    .addOption(fromPod('--namespace <name>', 'its namespace', 'WEFT_NAMESPACE'))
    .addOption(
      fromPod('--pod-ip <ip>', 'the address at which others reach the workload', 'WEFT_POD_IP'),
    )
    .addOption(
      new Option('--region <name>', 'where it runs, for policies that prefer what is near').env(
        'WEFT_REGION',
      ),
    )
    .addOption(new Option('--zone <name>', 'the zone of that region').env('WEFT_ZONE'))
    .requiredOption(
      '--bundle <file>',
      'roots that the control plane must be issued under (STATE-DIR/bundle.pem; in a Pod the ConfigMap weft-trust-bundle)',
    )
    .option(
      '--token-file <file>',
      'holds the join token; read anew when it is needed (or set WEFT_JOIN_TOKEN)',
    )
    .addOption(
      new Option(
        '--service-account-token-file <file>',
        "in a Pod: holds its service account's token, which the kubelet replaces",
      ).conflicts('tokenFile'),
    )
    .addOption(
      address('--enrolment <host:port>', 'where to enrol', { host: LOOPBACK, port: 15_013 }),
    )
    .addOption(
      address('--xds <host:port>', 'where to get configuration', { host: LOOPBACK, port: 15_012 }),
    )
    .option('--trust-domain <name>', 'of the mesh', 'cluster.local')
    .option('--root-namespace <name>', 'where the control plane lives', 'weft-system')
    .option(
      '--inbound <port=host:port>',
      "serve the workload's port at --pod-ip and pass it to the application",
      collect(parseInbound),
    )
    .option(
      '--outbound <[host:]port=service.namespace:port>',
      'reach a service at a local port',
      collect(parseOutbound),
    )
    .addOption(
      address(
        '--outbound-http <[host:]port>',
        'an HTTP proxy: each request goes to the service its Host names',
      ),
    )
    .option(
      '--dns-server <ip[:port]>',
      "asked for hosts outside the mesh instead of the system's",
      collect(parseDnsServer),
    )
    .option('--transparent', 'take connections that netfilter redirected (see `weft capture`)')
    .option(
      '--no-interception-check',
      'be ready without the proof that --transparent really gets the traffic',
    )
    .addOption(
      new Option('--interception-period <duration>', 'how often that is proven again')
        .argParser(parseDuration)
        .default(30_000, '30s'),
    )
    .addOption(
      address('--inbound-listen <host:port>', 'for redirected inbound connections', {
        host: '::',
        port: 15_006,
      }),
    )
    .addOption(
      address('--outbound-listen <host:port>', 'for redirected outbound connections', {
        host: '::',
        port: 15_001,
      }),
    )
    .addOption(
      address('--admin <[host:]port>', 'admin endpoints', { host: LOOPBACK, port: 15_000 }),
    )
    .addOption(address('--probes <[host:]port>', 'readiness for probes from outside'))
    .addOption(address('--metrics <[host:]port>', 'metrics for scrapers from outside'))
    .addOption(
      new Option(
        '--app-probes <json>',
        "the application's probes, made for whoever asks the port of --probes",
      )
        .env('WEFT_APP_PROBES')
        .argParser(readAppProbes),
    )
    .addOption(
      new Option('--access-log <mode>', 'requests and connections that are logged')
        .choices(['off', 'errors', 'all'])
        .default('errors'),
    )
    .addOption(
      new Option('--drain-limit <duration>', 'how long what is in flight may take at the end')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .option(
      '--drain-outbound',
      'at the end wait for calls that the workload makes, too (in a Pod: always)',
    )
    .addOption(
      new Option(
        '--run-as <uid[:gid]>',
        'give up root for this user once the ports are open',
      ).argParser(parseRunAs),
    );
}

/** @throws Error that names the option and what to write. */
export async function sidecarOptionsOf(
  flags: SidecarFlags,
  log: Logger,
): Promise<MeshSidecarOptions> {
  const trustDomain = parseTrustDomain(flags.trustDomain);
  if (trustDomain === undefined)
    throw new Error(
      `--trust-domain "${flags.trustDomain}" is no trust domain; write a DNS name: cluster.local`,
    );
  if (!isDnsSubdomain(flags.pod))
    throw new Error(
      `--pod "${flags.pod}" is no name of a Pod; write it as in the manifests, lower case: web-0`,
    );
  if (!isDnsLabel(flags.namespace))
    throw new Error(
      `--namespace "${flags.namespace}" is no name of a namespace; write lower case letters, digits and dashes`,
    );
  if (isIP(flags.podIp) === 0)
    throw new Error(
      `--pod-ip "${flags.podIp}" is no IP address; write the one in the Pod's status.podIP`,
    );
  const isTransparent = flags.transparent === true;
  if (flags.proxy !== 'none' && !isTransparent && (flags.inbound ?? []).length === 0) {
    log.warn('no --inbound and no --transparent: nobody can call this workload');
  }
  const bundlePem = await readBundle(flags.bundle);
  const { region = '', zone = '' } = flags;
  const hasLocality = region !== '' || zone !== '';
  const domain = 'cluster.local';
  const hostOf = serviceHostOf({ namespace: flags.namespace, domain });
  return {
    pod: flags.pod,
    namespace: flags.namespace,
    podIp: flags.podIp,
    ...(hasLocality && { locality: { region, zone } }),
    trustDomain,
    rootNamespace: flags.rootNamespace,
    domain,
    enrolmentAddress: formatHostPort(flags.enrolment),
    xdsAddress: formatHostPort(flags.xds),
    bundlePem,
    ...enrolmentOf(flags),
    inbound: (flags.inbound ?? []).map(({ port, target }) => ({
      port,
      app: { address: target.host, port: target.port },
    })),
    outbound: (flags.outbound ?? []).map(({ listen, destination }) => {
      const host = hostOf(destination.host);
      if (host === undefined)
        throw new Error(
          `--outbound: "${destination.host}" is no service's name; write SERVICE.NAMESPACE`,
        );
      return { listen, host, port: destination.port };
    }),
    outboundHttp: flags.outboundHttp,
    ...(flags.dnsServer && { dnsServers: flags.dnsServer }),
    transparent: isTransparent
      ? {
          inbound: flags.inboundListen,
          outbound: flags.outboundListen,
          proofPeriodMs: flags.interceptionCheck ? flags.interceptionPeriod : undefined,
        }
      : undefined,
    admin: flags.admin,
    probes: flags.probes,
    metrics: flags.metrics,
    appProbes: flags.appProbes ?? new Map(),
    accessLog: flags.accessLog,
    credentials: credentialsOptionsOf(flags),
    workloadApi: workloadApiOptionsOf(flags),
    drainLimitMs: flags.drainLimit,
    drainsOutbound: flags.drainOutbound ?? flags.serviceAccountTokenFile !== undefined,
    version: VERSION,
    log,
    clock: systemClock,
    random: Math.random,
  };
}

async function readText(option: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(
      `${option}: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

async function readBundle(file: string): Promise<string> {
  const text = await readText('--bundle', file);
  const cure = "take bundle.pem from the control plane's state directory";
  let count: number;
  try {
    count = splitPem(text).map((pem) => new X509Certificate(pem)).length;
  } catch (cause) {
    throw new Error(`--bundle: ${file} is no list of PEM certificates; ${cure}`, { cause });
  }
  if (count === 0) throw new Error(`--bundle: ${file} is empty; ${cure}`);
  return text;
}

type Enrolment = Pick<MeshSidecarOptions, 'readBundle' | 'readEvidence' | 'afterRefusal'>;

/** In a Pod everything that enrolment needs is mounted, and what is wrong there is cured while the sidecar waits. */
function enrolmentOf(flags: SidecarFlags): Enrolment {
  const { pod, namespace, bundle, tokenFile, serviceAccountTokenFile } = flags;
  if (serviceAccountTokenFile === undefined) {
    return {
      readBundle: undefined,
      readEvidence: async () => ({ kind: 'join-token', token: await readToken(tokenFile) }),
      afterRefusal: 'end',
    };
  }
  return {
    readBundle: () => readBundle(bundle),
    readEvidence: async () => {
      const text = await readText('--service-account-token-file', serviceAccountTokenFile);
      return { kind: 'service-account-token', token: text.trim(), pod, namespace };
    },
    afterRefusal: 'retry',
  };
}

/** A token in the environment is seen by everybody who sees the process; a file is better. */
async function readToken(file: string | undefined): Promise<string> {
  if (file !== undefined) return (await readText('--token-file', file)).trim();
  const token = process.env['WEFT_JOIN_TOKEN'];
  if (token === undefined)
    throw new Error('there is no join token: give --token-file, or set WEFT_JOIN_TOKEN');
  return token.trim();
}
