// `weft sidecar`: the proxy beside one workload, until it is told to stop.
import { Sidecar } from '@weft/dataplane/sidecar';
import { type Command, Option } from 'commander';
import { failLoudly, onStop, printReady } from '../daemon.ts';
import { addLogOptions, createLogger, type LogFlags } from '../logger.ts';
import { countReceivedBytesWithHeap } from '../memory-accounting.ts';
import { dropPrivileges } from '../run-as.ts';
import { giveBackStartMemorySoon } from '../start-memory.ts';
import { addSidecarOptions, sidecarOptionsOf, type SidecarFlags } from '../sidecar-options.ts';

const EXAMPLE = `
Example:
  weft sidecar --pod web-0 --namespace shop --pod-ip 127.10.0.2 --bundle ./state/bundle.pem \\
    --token-file web.token --inbound 8080=127.0.0.1:3000 --outbound 9001=prices.shop:80

When it is ready it prints one line of JSON with its addresses.

Without a mesh, before one application, from a file (docs/static-sidecar.md):
  weft sidecar --config sidecar.yaml
  weft sidecar --config sidecar.yaml --check

With an Envoy in its place, or for gRPC without a proxy (docs/envoy.md, docs/grpc.md):
  weft sidecar --proxy envoy --help
  weft sidecar --proxy none --help
`;

async function sidecar(flags: SidecarFlags & LogFlags): Promise<void> {
  countReceivedBytesWithHeap();
  const log = await createLogger('weft-sidecar', flags);
  failLoudly(log);
  const proxy = new Sidecar(await sidecarOptionsOf(flags, log));
  const stop = async (): Promise<number> => {
    await proxy.drain();
    await proxy[Symbol.asyncDispose]();
    return 0;
  };
  onStop(log, stop);
  const addresses = await proxy.start({ onListening: () => dropPrivileges(flags.runAs) });
  if (addresses === undefined) return;
  printReady({
    role: 'sidecar',
    proxy: `${flags.pod}.${flags.namespace}`,
    spiffeId: proxy.spiffeId,
    ...addresses,
  });
  giveBackStartMemorySoon();
}

export function addSidecarCommand(program: Command): void {
  addLogOptions(addSidecarOptions(program.command('sidecar')))
    .addOption(
      new Option('--proxy <kind>', 'weft: this one; envoy and none have options of their own')
        .choices(['weft', 'envoy', 'none'])
        .default('weft'),
    )
    .description('the proxy beside one workload')
    .addHelpText('after', EXAMPLE)
    .action(sidecar);
}
