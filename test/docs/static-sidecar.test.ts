// docs/static-sidecar.md begins with an example that anybody can run, and README.md has its five lines: both are run here as they stand.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SECTIONS } from '../../src/cli/static/sections.ts';
import { PORT_KEYS } from '../../src/cli/static/read-ports.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const MAIN = join(root, 'src/cli/main.ts');
const PAGE = readFileSync(join(root, 'docs/static-sidecar.md'), 'utf8');
const README = readFileSync(join(root, 'README.md'), 'utf8');
const LIMIT_MS = 60_000;

function exampleWith(page: string, word: string): string {
  const found = page.split('```sh\n').find((block) => block.split('\n```', 1)[0]?.includes(word));
  assert.ok(found !== undefined, `no example has ${word}`);
  return found.split('\n```', 1)[0] ?? '';
}

/** Ports that were free a moment ago; somebody else may have taken one since, and then the example says so. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => {
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    return address.port;
  });
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** In a group of its own, which ends with it. */
async function run(folder: string, script: string): Promise<string> {
  const path = `${folder}:${join(process.execPath, '..')}:${process.env['PATH']}`;
  const env = { ...process.env, NODE_TEST_CONTEXT: '', PATH: path };
  const shell = spawn('sh', ['-c', script], { cwd: folder, env, detached: true });
  const { pid } = shell;
  assert.ok(pid !== undefined);
  let said = '';
  let errors = '';
  shell.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  shell.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
  await once(shell, 'exit');
  clearTimeout(limit);
  const closed = once(shell, 'close');
  process.kill(-pid, 'SIGKILL');
  await closed;
  assert.ok(said.includes('HTTP/1.1'), `${said}\n${errors}`);
  return said;
}

async function answersOf(example: string): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    const weft = `exec "${process.execPath}" --disable-warning=ExperimentalWarning "${MAIN}" "$@"`;
    await writeFile(join(folder, 'weft'), `#!/bin/sh\n${weft}\n`, { mode: 0o755 });
    const [port = 0, app = 0, admin = 0] = await freePorts(3);
    const text = example
      .replaceAll('bin/weft', 'weft')
      .replaceAll('8080', String(port))
      .replaceAll('3000', String(app))
      .replace('\nEND', `\nadmin: ${admin}\nEND`);
    const said = await run(folder, text);
    return said.split('\n').filter((line) => line.startsWith('HTTP/') || line === 'hello');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test('the example of docs/static-sidecar.md asks for a login, lets in whom it knows and nobody else', async () => {
  const answers = await answersOf(exampleWith(PAGE, 'basicAuthentication'));
  assert.deepEqual(
    answers.map((line) => line.trim()),
    ['HTTP/1.1 401 Unauthorized', 'HTTP/1.1 200 OK', 'hello', 'HTTP/1.1 401 Unauthorized'],
  );
});

test('the example of the README shows 401 and 200', async () => {
  const answers = await answersOf(exampleWith(README, 'basicAuthentication'));
  assert.deepEqual(
    answers.map((line) => line.trim()),
    ['HTTP/1.1 401 Unauthorized', 'HTTP/1.1 200 OK', 'hello'],
  );
});

test('every field that the file may have is in the table of docs/static-sidecar.md', () => {
  const rows = PAGE.split('\n').filter((line) => line.startsWith('| `'));
  for (const key of [...PORT_KEYS, ...SECTIONS.map((section) => section.key)]) {
    assert.ok(
      rows.some((row) => row.split('|')[1]?.includes(`\`${key}\``)),
      `${key} has no row`,
    );
  }
});
