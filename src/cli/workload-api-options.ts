// The options by which a sidecar serves SPIFFE's Workload API: where its socket is, and whom it answers.
import { isAbsolute } from 'node:path';
import type { Owner } from '@weft/dataplane/credentials/options';
import type { WorkloadApiOptions } from '@weft/dataplane/workload-api/options';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type AllowedId, allowedOf, parseAllowed, parseOwner } from './credentials-options.ts';
import { collect } from './parse.ts';

export interface WorkloadApiFlags {
  readonly workloadApi?: string;
  readonly workloadApiAllow?: readonly AllowedId[];
  readonly workloadApiMode: number;
  readonly workloadApiOwner?: Owner;
}

const SCHEME = 'unix:';
const DEFAULT_MODE = 0o660;
/** Of `sun_path` in `struct sockaddr_un`, with its end. */
const MAX_PATH_BYTES = 107;

export const addWorkloadApiOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--workload-api <unix:path>',
        "serve SPIFFE's Workload API to the application at this Unix socket",
      )
        .env('WEFT_WORKLOAD_API')
        .argParser(parseWorkloadApi),
    )
    .option(
      '--workload-api-allow <uid=N|gid=N|pid=N>',
      'whom it answers (again for more; user, group and process must all fit); default: the own user',
      collect(parseAllowed),
    )
    .addOption(
      new Option('--workload-api-mode <octal>', 'mode of the socket')
        .argParser(parseSocketMode)
        .default(DEFAULT_MODE, '0660'),
    )
    .addOption(
      new Option('--workload-api-owner <uid:gid>', 'owner of the socket').argParser(parseOwner),
    );

/** @returns `undefined` when it is not served. @throws Error that names the option and what to write. */
export function workloadApiOptionsOf(flags: WorkloadApiFlags): WorkloadApiOptions | undefined {
  const { workloadApi: path, workloadApiMode: mode, workloadApiOwner: owner } = flags;
  if (path !== undefined) {
    return { path, mode, owner, allowed: allowedOf(flags.workloadApiAllow) };
  }
  if (flags.workloadApiAllow === undefined && owner === undefined) return undefined;
  throw new Error(
    'there are options of the Workload API, but no place for it: give --workload-api',
  );
}

/** As clients have it in SPIFFE_ENDPOINT_SOCKET: `unix:/path` or `unix:///path`. */
export function parseWorkloadApi(text: string): string {
  const rest = text.startsWith(SCHEME) ? text.slice(SCHEME.length) : '';
  const path = rest.startsWith('//') ? rest.slice(2) : rest;
  if (isAbsolute(path) && Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  throw new InvalidArgumentError(
    `"${text}" is no place for a socket; write unix:/run/..., at most ${MAX_PATH_BYTES} bytes`,
  );
}

function parseSocketMode(text: string): number {
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
  if (mode !== undefined && (mode & 0o111) === 0 && (mode & 0o600) === 0o600) return mode;
  throw new InvalidArgumentError(`"${text}" is no mode of a socket; write 0600, 0660 or 0666`);
}
