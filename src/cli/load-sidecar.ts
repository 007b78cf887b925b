// Which of the commands called `weft sidecar` is meant: that of a mesh, with an Envoy or of gRPC without a proxy, or of a file of its own.
import type { Register } from './program.ts';

/** Loads what is needed: neither pays for the other at its start. */
export async function loadSidecarCommand(argv: readonly string[]): Promise<Register> {
  const end = argv.indexOf('--');
  const options = end === -1 ? argv : argv.slice(0, end);
  const isAlone = options.some((word) => word === '--config' || word.startsWith('--config='));
  if (isAlone) return (await import('./static/static-command.ts')).addStaticSidecarCommand;
  switch (proxyOf(options)) {
    case 'none':
      return (await import('./proxyless/proxyless-command.ts')).addProxylessCommand;
    case 'envoy':
      return (await import('./envoy/envoy-command.ts')).addEnvoyCommand;
    default:
  }
  return (await import('./commands/sidecar.ts')).addSidecarCommand;
}

/** `--proxy KIND` or `--proxy=KIND`. */
function proxyOf(options: readonly string[]): string | undefined {
  const at = options.lastIndexOf('--proxy');
  if (at !== -1) return options[at + 1];
  return options.findLast((word) => word.startsWith('--proxy='))?.slice('--proxy='.length);
}
