// docs/external-services.md begins with an example that anybody can run: it is run here as it stands but for its folder and ports.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { exampleOf } from '../support/doc-examples.ts';
import { missingTools } from '../support/tls-clients.ts';
import { weftScript } from '../support/weft-main.ts';

const LIMIT_MS = 60_000;

test('the example of docs/external-services.md: curl speaks plain HTTP, and the server saw whose certificate it was', {
  skip: missingTools() ?? false,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-'));
  try {
    const [server, local] = [await freeEndpoint(), await freeEndpoint()];
    const text = exampleOf('docs/external-services.md', 'outbound')
      .replaceAll('/tmp/weft-outside', folder)
      .replaceAll('8443', String(server.port))
      .replaceAll('9001', String(local.port));
    await writeFile(join(folder, 'weft'), weftScript(), { mode: 0o755 });
    const path = `${folder}:${join(process.execPath, '..')}:${process.env['PATH']}`;
    const env = { ...process.env, NODE_TEST_CONTEXT: '', PATH: path };
    /** In a group of its own, which ends with it. */
    const shell = spawn('sh', ['-c', text], { cwd: folder, env, detached: true });
    const { pid } = shell;
    assert.ok(pid !== undefined);
    let said = '';
    shell.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    shell.stderr.resume();
    const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
    await once(shell, 'exit');
    clearTimeout(limit);
    const closed = once(shell, 'close');
    process.kill(-pid, 'SIGKILL');
    await closed;
    assert.match(said, new RegExp(`^api\\.pay\\.example:${server.port} was called by shop$`, 'm'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
