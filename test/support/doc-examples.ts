// Runs the examples that pages of the documentation begin with, as they stand but for ports, each in a folder of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';
import { weftScript } from './weft-main.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const LIMIT_MS = 60_000;

export const pageOf = (file: string): string => readFileSync(join(root, file), 'utf8');

/** The first block of commands of a page in which a word stands. */
export function exampleOf(file: string, word: string): string {
  const page = pageOf(file);
  const found = page.split('```sh\n').find((block) => block.split('\n```', 1)[0]?.includes(word));
  assert.ok(found !== undefined, `no example has ${word}`);
  return found.split('\n```', 1)[0] ?? '';
}

/** Ports that were free a moment ago; somebody else may have taken one since, and then the example says so. */
async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
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

/** @returns the status lines that curl showed, and what the application said. */
export async function answersOf(example: string): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    await writeFile(join(folder, 'weft'), weftScript(), { mode: 0o755 });
    const [port = 0, app = 0, admin = 0] = await freePorts(3);
    const text = example
      .replaceAll('bin/weft', 'weft')
      .replaceAll('8080', String(port))
      .replaceAll('3000', String(app))
      .replace('\nEND', `\nadmin: ${admin}\nEND`);
    const said = await run(folder, text);
    const lines = said.split('\n').map((line) => line.trim());
    return lines.filter((line) => line.startsWith('HTTP/') || line === 'hello');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
