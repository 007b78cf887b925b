// `weft sidecar --proxy none`: the agent beside gRPC programs that take their configuration from the mesh themselves.
import type { Owner } from '@weft/dataplane/credentials/options';
import type { GrpcDiscovery, ProxylessOptions } from '@weft/dataplane/proxyless/options';
import { ProxylessAgent } from '@weft/dataplane/proxyless/proxyless-agent';
import { type Command, Option } from 'commander';
import { type AllowedId, allowedOf, parseAllowed, parseOwner } from '../credentials-options.ts';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { collect, parseAbsolutePath } from '../parse.ts';
import { dropPrivileges } from '../run-as.ts';
import { addSidecarOptions, sidecarOptionsOf, type SidecarFlags } from '../sidecar-options.ts';
import { giveBackStartMemorySoon } from '../start-memory.ts';
import type { Logger } from 'pino';

interface ProxylessFlags extends SidecarFlags, LogFlags {
  readonly grpcBootstrap: string;
  readonly grpcDiscovery: 'agent' | 'direct';
  readonly grpcAllow?: readonly AllowedId[];
  readonly grpcOwner?: Owner;
}

const EXAMPLE = `
Example:
  weft sidecar --proxy none --pod web-0 --namespace shop --pod-ip 10.0.0.2 --bundle ./state/bundle.pem \\
    --token-file web.token --grpc-bootstrap /run/weft/grpc.json
  GRPC_XDS_BOOTSTRAP=/run/weft/grpc.json ./web    # calls xds:///prices.shop.svc.cluster.local:80
`;

const addProxylessOptions = (command: Command): Command =>
  addSidecarOptions(command)
    .addOption(new Option('--proxy <kind>', 'none: there is no proxy').choices(['none']))
    .addOption(
      new Option(
        '--grpc-bootstrap <file>',
        'where the bootstrap is written; certificates, key and socket are beside it in FILE.d',
      )
        .argParser(parseAbsolutePath)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option(
        '--grpc-discovery <way>',
        'agent: programs get their configuration by its socket; direct: from the control plane, with their certificate',
      )
        .choices(['agent', 'direct'])
        .default('agent'),
    )
    .option(
      '--grpc-allow <uid=N|gid=N|pid=N>',
      'whom the socket answers (again for more; user, group and process must all fit); default: the owner, or the own user',
      collect(parseAllowed),
    )
    .addOption(
      new Option('--grpc-owner <uid:gid>', 'owner of the files and the socket').argParser(
        parseOwner,
      ),
    );

/** @throws Error that names an option of proxies. */
function refuseOptionsOfProxies(flags: ProxylessFlags): void {
  for (const [key, option] of Object.entries(NAMES)) {
    if (Reflect.get(flags, key) !== undefined)
      throw new Error(`${option} is of proxies, and --proxy none is none; leave it out`);
  }
}

const NAMES = {
  inbound: '--inbound',
  outbound: '--outbound',
  outboundHttp: '--outbound-http',
  transparent: '--transparent',
  appProbes: '--app-probes',
  workloadApi: '--workload-api',
  credentialsSocket: '--credentials-socket',
  credentialsListen: '--credentials-listen',
  credentialsDir: '--credentials-dir',
} as const satisfies Partial<Record<keyof ProxylessFlags, string>>;

async function optionsOf(flags: ProxylessFlags, log: Logger): Promise<ProxylessOptions> {
  refuseOptionsOfProxies(flags);
  const { grpcBootstrap: bootstrapFile, grpcOwner: owner, grpcAllow, grpcDiscovery } = flags;
  const ownerOnly = owner === undefined ? undefined : [{ kind: 'uid', id: owner.uid } as const];
  const discovery: GrpcDiscovery =
    grpcDiscovery === 'direct'
      ? { kind: 'direct' }
      : { kind: 'agent', allowed: allowedOf(grpcAllow ?? ownerOnly) };
  return { ...(await sidecarOptionsOf(flags, log)), grpc: { bootstrapFile, discovery, owner } };
}

async function run(flags: ProxylessFlags): Promise<void> {
  const log = await createLogger('weft-agent', flags);
  failLoudly(log);
  const agent = new ProxylessAgent(await optionsOf(flags, log));
  onStop(log, async () => {
    await agent.drain();
    await agent[Symbol.asyncDispose]();
    return 0;
  });
  const addresses = await agent.start({ onListening: () => dropPrivileges(flags.runAs) });
  if (addresses === undefined) return;
  const proxy = `${flags.pod}.${flags.namespace}`;
  printReady({ role: 'agent', proxy, spiffeId: agent.spiffeId, ...addresses });
  giveBackStartMemorySoon();
}

export function addProxylessCommand(program: Command): void {
  addLogOptions(addProxylessOptions(program.command('sidecar')))
    .description('the agent beside gRPC programs without a proxy')
    .addHelpText('after', EXAMPLE)
    .action(run);
}
