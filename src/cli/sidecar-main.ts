// The `weft` command of the sidecar's and the capture step's images: only what runs in a Pod.
import { loadSidecarCommand } from './load-sidecar.ts';
import { type Register, runProgram } from './program.ts';
import { startWithoutBaselineCode } from './start-memory.ts';

const COMMANDS: ReadonlyMap<string, () => Promise<Register>> = new Map([
  ['sidecar', () => loadSidecarCommand(process.argv)],
  ['guard', async () => (await import('./envoy/guard.ts')).addGuardCommand],
  ['htpasswd', async () => (await import('./commands/htpasswd.ts')).addHtpasswdCommand],
  ['capture', async () => (await import('./commands/capture.ts')).addCaptureCommands],
  ['ready', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['config-dump', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['certs', async () => (await import('./commands/inspect.ts')).addInspectCommands],
]);

const EXAMPLES = `
Examples, in the container of a sidecar:
  weft ready            whether it serves, and what is missing
  weft config-dump      what it runs with
  weft capture check    whether the rules of interception are in place

Every other command is in the image of the control plane and in a checkout of Weft.
`;

if (process.argv[2] === 'sidecar') startWithoutBaselineCode();
await runProgram(process.argv, { commands: COMMANDS, examples: EXAMPLES });
