// `weft control-plane`: the control plane of a cluster, or beside a folder of manifests, until it is told to stop.
import { hostname } from 'node:os';
import { type ControlPlane, openControlPlane } from '@weft/controlplane/control-plane';
import type { CoreOptions } from '@weft/controlplane/core/open-core';
import { WEBHOOK_NAMES, type WebhookName } from '@weft/controlplane/kubernetes/kubernetes-options';
import { parseTrustDomain } from '@weft/model/identity';
import { Option, type Command } from 'commander';
import type { Logger } from 'pino';
import {
  addFederationOptions,
  bundleEndpointOf,
  type FederationFlags,
} from '../federation-options.ts';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import {
  addInjectionOptions,
  type InjectionFlags,
  injectionSettingsOf,
} from '../inject/injection-options.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { type HostPort, parseDuration, parseHostPort, parseIp, parseIssuer } from '../parse.ts';
import { VERSION } from '../version.ts';

interface Flags extends LogFlags, InjectionFlags, FederationFlags {
  readonly manifests?: string;
  readonly kubernetes?: boolean;
  readonly kubeconfig?: string;
  readonly watchNamespace?: readonly string[];
  readonly caSecret?: string;
  readonly credentialSources?: string;
  readonly registries?: string;
  readonly podName?: string;
  readonly webhook?: HostPort;
  readonly webhooks?: readonly WebhookName[];
  readonly stateDir: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly xds: HostPort;
  readonly enrolment: HostPort;
  readonly admin: HostPort;
  readonly health?: HostPort;
  readonly svidTtl: number;
  readonly rotationGrace: number;
  readonly reportInterval: number;
  readonly tokenIssuer?: string;
  readonly dnsName?: readonly string[];
  readonly ipAddress?: readonly string[];
}

const LOOPBACK = '127.0.0.1';
const listenOption = (flags: string, description: string, port: number): Option =>
  new Option(flags, description)
    .argParser((text: string) => parseHostPort(text, LOOPBACK))
    .default({ host: LOOPBACK, port }, `${LOOPBACK}:${port}`);

const EXAMPLE = `
Examples:
  weft control-plane --manifests deploy/examples/shop --state-dir ./state --log-pretty
  weft control-plane --kubernetes --kubeconfig ~/.kube/config --state-dir ./state

When it is ready it prints one line of JSON with its addresses. Workloads join with \`weft token create\`, Pods of a
cluster by the token of their service account.
`;

async function controlPlane(flags: Flags): Promise<void> {
  const log = await createLogger('weft-control-plane', flags);
  failLoudly(log);
  const stopping = new AbortController();
  let opened: ControlPlane | undefined;
  onStop(log, async () => {
    stopping.abort();
    await opened?.[Symbol.asyncDispose]();
    return 0;
  });
  const options = await withSources(flags, coreOptionsOf(flags, log));
  const { stateDir, manifests } = flags;
  if ((manifests === undefined) === (flags.kubernetes !== true)) {
    throw new Error('say where the mesh is described: either --manifests DIR or --kubernetes');
  }
  opened =
    manifests === undefined
      ? await openInCluster(flags, options, stopping.signal)
      : await openControlPlane({ ...options, manifests, stateDir });
  printReady({
    role: 'control-plane',
    trustDomain: options.trustDomain,
    ...opened.addresses,
    ...(manifests !== undefined && { bundle: `${stateDir}/bundle.pem` }),
  });
}

/** @throws Error that names the option and what to write. */
function coreOptionsOf(flags: Flags, log: Logger): CoreOptions {
  const trustDomain = parseTrustDomain(flags.trustDomain);
  if (trustDomain === undefined)
    throw new Error(
      `--trust-domain "${flags.trustDomain}" is no trust domain; write a DNS name: cluster.local`,
    );
  return {
    trustDomain,
    rootNamespace: flags.rootNamespace,
    xds: flags.xds,
    enrolment: flags.enrolment,
    admin: flags.admin,
    ...(flags.health && { health: flags.health }),
    svidTtlMs: flags.svidTtl,
    rotationGraceMs: flags.rotationGrace,
    reportIntervalMs: flags.reportInterval,
    ...(flags.tokenIssuer !== undefined && { tokenIssuer: flags.tokenIssuer }),
    ...bundleEndpointOf(flags),
    dnsNames: ['weft-control-plane', 'localhost', ...(flags.dnsName ?? [])],
    ipAddresses: flags.ipAddress ?? [LOOPBACK],
    version: VERSION,
    log,
  };
}

/** Loaded where there are any. */
async function withSources(flags: Flags, options: CoreOptions): Promise<CoreOptions> {
  if (flags.credentialSources === undefined) return options;
  const { readCredentialSources } = await import('../credential-sources.ts');
  return { ...options, credentialSources: await readCredentialSources(flags.credentialSources) };
}

/** The client library of Kubernetes is large: whoever runs beside a folder does not load it. */
async function openInCluster(
  flags: Flags,
  options: CoreOptions,
  signal: AbortSignal,
): Promise<ControlPlane> {
  const [{ connect }, { createKubeClient }, { openKubernetesControlPlane }] = await Promise.all([
    import('@weft/kube/connect'),
    import('@weft/kube/https-client'),
    import('@weft/controlplane/kubernetes/open-kubernetes-control-plane'),
  ]);
  const { kubeconfig, watchNamespace, stateDir } = flags;
  const registries =
    flags.registries === undefined
      ? undefined
      : await (await import('../registries.ts')).readRegistries(flags.registries);
  const client = createKubeClient(connect({ ...(kubeconfig !== undefined && { kubeconfig }) }));
  return openKubernetesControlPlane({
    ...options,
    client,
    ...(watchNamespace && { namespaces: watchNamespace }),
    ...(flags.caSecret !== undefined && { caSecret: flags.caSecret }),
    stateDir,
    podName: flags.podName ?? hostname(),
    ...(flags.webhook && { webhook: flags.webhook }),
    ...(flags.webhooks && { webhooks: flags.webhooks }),
    injection: injectionSettingsOf(flags, options),
    ...(registries && { registries }),
    signal,
  });
}

export function addControlPlaneCommand(program: Command): void {
  addFederationOptions(addInjectionOptions(addLogOptions(program.command('control-plane'))))
    .description(
      'watches a cluster or a folder of manifests, issues identities, and tells every sidecar what to enforce',
    )
    .option('--manifests <dir>', 'folder of Kubernetes manifests, watched')
    .option('--kubernetes', 'watch a cluster; its CA is the Secret weft-ca')
    .option('--kubeconfig <file>', "instead of kubectl's own, or inside a Pod its service account")
    .option('--watch-namespace <name...>', 'of the mesh, where it is not the whole cluster')
    .option(
      '--ca-secret <name>',
      'issue from the CA in this Secret of the root namespace (tls.crt, tls.key, ca.crt)',
    )
    .option(
      '--credential-sources <file>',
      'where credentials of bindings are, besides Secrets: folders, Vault or OpenBao',
    )
    .option(
      '--registries <file>',
      'how registries of images are reached: logins, roots, private networks',
    )
    .addOption(
      new Option('--pod-name <name>', 'its name among replicas; default: the host name').env(
        'WEFT_POD',
      ),
    )
    .addOption(
      new Option(
        '--webhook <host:port>',
        'injection and review of policies, for the API server',
      ).argParser((text: string) => parseHostPort(text)),
    )
    .addOption(
      new Option('--webhooks <name...>', 'which of them are installed; default: all').choices([
        ...WEBHOOK_NAMES,
      ]),
    )
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
      new Option('--health <host:port>', 'health and metrics alone, for other machines').argParser(
        (text: string) => parseHostPort(text),
      ),
    )
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
    .addOption(
      new Option(
        '--token-issuer <url>',
        'where others reach the keys of JWT SVIDs: https://..., which leads to the health port',
      ).argParser(parseIssuer),
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
