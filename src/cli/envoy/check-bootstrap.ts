// Lets an Envoy itself judge the bootstrap that it would be started with.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bootstrapOf } from '@weft/dataplane/agent/envoy/bootstrap';
import { socketPathsIn } from '@weft/dataplane/agent/envoy/local-sockets';
import type { EnvoySidecarOptions } from '@weft/dataplane/agent/envoy/options';

const run = promisify(execFile);
const CHECK_MS = 30_000;

/** @returns what Envoy said. @throws Error with what it said when it refuses it. */
export async function checkBootstrap(options: EnvoySidecarOptions): Promise<string> {
  const { pod, namespace, podIp, locality, accessLog, envoy } = options;
  const node = { id: `${pod}.${namespace}`, cluster: namespace };
  const sockets = socketPathsIn(envoy.folder);
  const file = join(envoy.folder, 'bootstrap.json');
  const bootstrap = bootstrapOf({ node, podIp, locality, accessLog, sockets });
  await writeFile(file, JSON.stringify(bootstrap), { mode: 0o600 });
  const args = ['-c', file, '--mode', 'validate', '--log-level', 'warning'];
  try {
    const { stdout, stderr } = await run(envoy.binary, args, {
      cwd: envoy.folder,
      timeout: CHECK_MS,
    });
    return `${stdout}${stderr}`.trim();
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    throw new Error(`Cannot use the bootstrap: ${said}`, { cause });
  }
}
