// The example at the head of docs/credentials.md does what it says there, as it stands there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(join(root, 'docs/credentials.md'), 'utf8');
const curl = spawnSync('curl', ['--version']);
const skip = curl.status === 0 ? false : 'there is no curl';
const WITHIN_MS = 60_000;

test('the example gets a credential by curl, and its change', { skip }, () => {
  const [, block = ''] = page.split('```sh\n');
  const [example = ''] = block.split('```');
  assert.ok(example.includes('weft sidecar --config'), 'there is no example');
  // Other tests use those ports.
  const ends = `trap 'kill $! 2> /dev/null' EXIT; trap 'exit 1' TERM\n`;
  const script = `${ends}${example}`
    .replace('127.0.0.1:8080', '127.0.0.1:0')
    .replace('kind: Sidecar', 'kind: Sidecar\nadmin: 127.0.0.1:0');
  const directory = mkdtempSync(join(tmpdir(), 'weft-docs-'));
  try {
    const env = { ...process.env, PATH: `${join(root, 'bin')}:${process.env['PATH']}` };
    const options = { cwd: directory, env, encoding: 'utf8', timeout: WITHIN_MS } as const;
    const { status, stdout, stderr } = spawnSync('sh', ['-euc', script], options);
    assert.equal(status, 0, stderr);
    const told = stdout.split('\n').filter((line) => !line.startsWith('{'));
    assert.deepEqual(told.join(' ').trim(), 'firstsecond');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
