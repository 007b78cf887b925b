// Runs an example of the documentation that starts a control plane and a sidecar by their default ports: as it stands, at an address and in a folder of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { weftWords } from './weft-main.ts';

const LIMIT_MS = 60_000;
/** Everything of the example is at one address of loopback: nobody else's ports are there. */
const NETWORK = `127.${200 + (process.pid % 50)}.${(process.pid >> 8) & 255}`;
const ADDRESS = `${NETWORK}.7`;
/** Of examples with a second mesh. */
const OTHER_ADDRESS = `${NETWORK}.8`;

/** In a group of its own, which ends with it. */
async function run(script: string, folder: string): Promise<string> {
  const env = { ...process.env, NODE_TEST_CONTEXT: '', PATH: `${folder}:${process.env['PATH']}` };
  const shell = spawn('sh', [script], { cwd: folder, env, detached: true });
  let said = '';
  shell.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  shell.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const { pid } = shell;
  assert.ok(pid !== undefined);
  const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
  await once(shell, 'close');
  clearTimeout(limit);
  return said;
}

/** `weft`, which listens and asks at this address. */
function wrapper(): string {
  const weft = `exec ${weftWords()}`;
  const ports = `--xds ${ADDRESS}:15012 --enrolment ${ADDRESS}:15013`;
  return [
    '#!/bin/sh',
    `export WEFT_ADMIN=${ADDRESS}:15014`,
    'case "$1" in',
    `control-plane) ${weft} "$@" ${ports} --admin ${ADDRESS}:15014;;`,
    'sidecar) case "$*" in',
    `*" --admin "*) ${weft} "$@" ${ports};;`,
    `*) ${weft} "$@" ${ports} --admin ${ADDRESS}:15000;;`,
    'esac;;',
    `*) ${weft} "$@";;`,
    'esac',
  ].join('\n');
}

/**
 * @param example ends with `kill %1 …`: in a script jobs have no numbers unless they are asked for
 * @returns what it said; `inspect` is called with its folder before that goes.
 */
export async function runMeshExample(
  example: string,
  inspect: (folder: string) => void = () => undefined,
  weft: string = wrapper(),
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    const text = example
      .split('\n')
      .map((line) => (line.endsWith(' &') ? `${line}\nJOBS="$JOBS $!"` : line))
      .map((line) => (line.startsWith('kill %1') ? 'kill $JOBS' : line))
      .join('\n')
      .replaceAll('127.0.0.1', ADDRESS)
      .replaceAll('127.0.0.2', OTHER_ADDRESS);
    const script = join(folder, 'example.sh');
    await writeFile(script, `set -e\n${text}\nwait\n`);
    await writeFile(join(folder, 'weft'), weft, { mode: 0o755 });
    const said = await run(script, folder);
    inspect(folder);
    return said;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
