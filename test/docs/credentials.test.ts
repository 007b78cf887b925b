// docs/credentials.md begins with an example that anybody can run: it is run here as it stands, in a folder of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { weftScript } from '../support/weft-main.ts';

const MEMORY = '/dev/shm';
const PAGE = fileURLToPath(new URL('../../docs/credentials.md', import.meta.url));
const LIMIT_MS = 60_000;

function firstExample(page: string): string {
  const begin = page.indexOf('```sh\n') + '```sh\n'.length;
  return page.slice(begin, page.indexOf('\n```', begin));
}

interface Said {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

/** In a group of its own, which ends with it. */
async function run(script: string, path: string): Promise<Said> {
  const env = { ...process.env, NODE_TEST_CONTEXT: '', PATH: `${path}:${process.env['PATH']}` };
  const shell = spawn('sh', [script], { env, detached: true });
  let stdout = '';
  let stderr = '';
  shell.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  shell.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const { pid } = shell;
  assert.ok(pid !== undefined);
  const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
  const [code] = (await once(shell, 'close')) as [number | null];
  clearTimeout(limit);
  return { stdout, stderr, code };
}

test('the example of docs/credentials.md prints the credential from URL, file and environment', {
  skip: existsSync(MEMORY) ? false : `${MEMORY} is not there`,
}, async () => {
  const folder = await mkdtemp(join(MEMORY, 'weft-doc-'));
  try {
    const example = firstExample(readFileSync(PAGE, 'utf8'));
    assert.match(example, /weft-demo/);
    /** In a script jobs have no numbers unless they are asked for. */
    const text = example.replaceAll('/dev/shm/weft-demo', folder).replace('kill %1', 'kill $!');
    const script = join(folder, 'example.sh');
    await writeFile(script, `set -e\n${text}\nwait\n`);
    await writeFile(join(folder, 'weft'), weftScript(), { mode: 0o755 });
    const { stdout, stderr, code } = await run(script, folder);
    assert.equal(stdout.split('correct horse').length - 1, 3, `${stdout}\n${stderr}`);
    assert.ok(!stderr.includes('correct horse'));
    assert.equal(code, 0, stderr);
    assert.equal(existsSync(join(folder, 'files', 'db')), false, 'nothing is left');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
