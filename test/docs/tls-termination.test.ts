// docs/tls-termination.md begins with an example that anybody can run: it is run here as it stands, in a folder and on ports of its own.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { missingTools } from '../support/tls-clients.ts';
import { weftScript } from '../support/weft-main.ts';

const PAGE = fileURLToPath(new URL('../../docs/tls-termination.md', import.meta.url));
const LIMIT_MS = 60_000;

function missing(): string | undefined {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return missingTools();
  } catch {
    return 'python3 is not installed';
  }
}

function firstExample(page: string): string {
  const begin = page.indexOf('```sh\n') + '```sh\n'.length;
  return page.slice(begin, page.indexOf('\n```', begin));
}

test('the example of docs/tls-termination.md serves by TLS with HSTS, and redirects plaintext', {
  skip: missing() ?? false,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    const [listen, app] = [await freeEndpoint(), await freeEndpoint()];
    const text = firstExample(readFileSync(PAGE, 'utf8'))
      .replaceAll('/tmp/weft-tls', folder)
      .replaceAll('8443', String(listen.port))
      .replaceAll('3000', String(app.port))
      // In a script jobs have no numbers unless they are asked for.
      .replace('kill %1 %2', '');
    const script = join(folder, 'example.sh');
    await writeFile(script, `set -e\n${text}\n`);
    await writeFile(join(folder, 'weft'), weftScript(), { mode: 0o755 });
    const env = { ...process.env, NODE_TEST_CONTEXT: '', PATH: `${folder}:${process.env['PATH']}` };
    const shell = spawn('sh', [script], { env, detached: true });
    const { pid } = shell;
    assert.ok(pid !== undefined);
    const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
    let output = '';
    for (const stream of [shell.stdout, shell.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [code] = (await once(shell, 'exit')) as [number | null];
    clearTimeout(limit);
    // What it started is still there, in the group that began with it.
    process.kill(-pid, 'SIGTERM');
    assert.equal(code, 0, output);
    assert.match(output, /HTTP\/1\.1 200/, output);
    assert.match(output, /strict-transport-security: max-age=31536000/i);
    assert.ok(output.includes('HTTP/1.1 308'), output);
    assert.ok(output.includes(`location: https://localhost:${listen.port}/a`), output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
