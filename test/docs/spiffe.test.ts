// docs/spiffe.md begins with an example that anybody can run: it is run here as it stands, on an address and in a folder of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pySpiffe } from '../support/spiffe-programs.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/spiffe.md', import.meta.url));
const LIMIT_MS = 60_000;
/** Everything of the example is at one address of loopback: nobody else's ports are there. */
const ADDRESS = `127.${200 + (process.pid % 50)}.${(process.pid >> 8) & 255}.7`;

function firstExample(page: string): string {
  const begin = page.indexOf('```sh\n') + '```sh\n'.length;
  return page.slice(begin, page.indexOf('\n```', begin));
}

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

test('the example of docs/spiffe.md prints the identity, from a certificate and from a token', async (t) => {
  const python = await pySpiffe();
  if ('missing' in python) return t.skip(python.missing);
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    const lines = firstExample(readFileSync(PAGE, 'utf8')).split('\n');
    assert.ok(lines.some((line) => line.includes('pip install -q spiffe')));
    /** In a script jobs have no numbers unless they are asked for. */
    const text = lines
      .filter((line) => !line.includes('pip install'))
      .map((line) => (line.endsWith(' &') ? `${line}\nJOBS="$JOBS $!"` : line))
      .join('\n')
      .replaceAll('127.0.0.1', ADDRESS)
      .replace('weft-spiffe/python/bin/python3', python.argv[0] ?? '')
      .replace('kill %1 %2', 'kill $JOBS');
    const script = join(folder, 'example.sh');
    await writeFile(script, `set -e\n${text}\nwait\n`);
    const weft = `exec "${process.execPath}" --disable-warning=ExperimentalWarning "${MAIN}"`;
    const ports = `--xds ${ADDRESS}:15012 --enrolment ${ADDRESS}:15013`;
    const wrapper = [
      '#!/bin/sh',
      'case "$1" in',
      `control-plane) ${weft} "$@" ${ports} --admin ${ADDRESS}:15014;;`,
      `sidecar) ${weft} "$@" ${ports} --admin ${ADDRESS}:15000;;`,
      `*) ${weft} "$@";;`,
      'esac',
    ];
    await writeFile(join(folder, 'weft'), wrapper.join('\n'), { mode: 0o755 });
    const said = await run(script, folder);
    assert.match(said, /^I am spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m, said);
    assert.match(said, /^and so says spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m);
    assert.equal(existsSync(join(folder, 'weft-spiffe', 'api.sock')), false, 'it has ended');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
