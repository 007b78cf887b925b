// docs/envoy.md begins with an example that anybody can run as root: it is run here as it stands, in a network of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { exampleOf } from '../support/doc-examples.ts';
import { envoyLab } from '../support/envoy-lab.ts';
import { weftScript } from '../support/weft-main.ts';

const LIMIT_MS = 60_000;
/** Names of networks are files: these are the example's own. */
const PRELUDE = 'mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip link set lo up';

test('the example of docs/envoy.md serves, refuses by policy, and says who it is', {
  skip: envoyLab.skip,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-doc-envoy-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'weft'), weftScript(), { mode: 0o755 });
  /** In a script jobs have no numbers. */
  const example = exampleOf('docs/envoy.md', '--proxy envoy')
    .split('\n')
    .map((line) => (line.endsWith(' &') ? `${line}\nJOBS="$JOBS $!"` : line))
    .join('\n')
    .replace('kill %1 %2 %3', 'kill $JOBS');
  const shell = spawn('unshare', ['-nm', 'sh', '-c', `${PRELUDE}\n${example}`], {
    cwd: folder,
    detached: true,
    env: {
      ...process.env,
      NODE_TEST_CONTEXT: '',
      ENVOY: envoyLab.envoy,
      PATH: `${folder}:${process.env['PATH']}`,
    },
  });
  const { pid } = shell;
  assert.ok(pid !== undefined);
  let said = '';
  shell.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  let errors = '';
  shell.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-8_000)));
  const limit = setTimeout(() => process.kill(-pid, 'SIGKILL'), LIMIT_MS);
  const closed = once(shell, 'close');
  await once(shell, 'exit');
  clearTimeout(limit);
  /** What runs behind a function of the shell has its number no more. */
  process.kill(-pid, 'SIGKILL');
  await closed;
  assert.match(said, /^HTTP\/1\.[01] 200 OK/m, `${said}\n${errors}`);
  assert.match(said, /^HTTP\/1\.[01] 403 Forbidden/m, said);
  assert.match(said, /no-admin.*1\/1/, said);
  assert.match(said, /"spiffeId": "spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web"/, said);
});
