// Which of the two commands called `weft sidecar` is meant: that of a mesh, or that of a file of its own.
import type { Register } from './program.ts';

/** Loads what is needed: neither pays for the other at its start. */
export async function loadSidecarCommand(argv: readonly string[]): Promise<Register> {
  const end = argv.indexOf('--');
  const options = end === -1 ? argv : argv.slice(0, end);
  const isAlone = options.some((word) => word === '--config' || word.startsWith('--config='));
  return isAlone
    ? (await import('./static/static-command.ts')).addStaticSidecarCommand
    : (await import('./commands/sidecar.ts')).addSidecarCommand;
}
