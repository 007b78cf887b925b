// Files of unit tests that share a process: each runs once, and none is lost that cannot be imported.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { batchesOf, writeBatches } from './support/batches.ts';

test('every file is in one batch, and neighbours are together', () => {
  const files = Array.from(
    { length: 100 },
    (_, at) => `src/${String(at).padStart(3, '0')}.test.ts`,
  );
  const { alone, together } = batchesOf(files.toReversed(), () => 'test();');
  assert.deepEqual([alone, together.flat()], [[], files]);
  assert.ok(together.every((batch) => batch.length >= 20 && batch.length <= 32));
  assert.deepEqual(
    batchesOf([], () => ''),
    { alone: [], together: [] },
  );
});

const own: readonly (readonly [string, string])[] = [
  ['has hooks outside of a suite', "import { before } from 'node:test';\nbefore(() => 1);"],
  ['sets a variable of the environment', "process.env['HOME'] = folder;"],
  ['removes a variable of the environment', 'delete process.env[name];'],
  ['changes the mask of new files', 'process.umask(0o077);'],
  ['listens to what ends the process', "process.on('exit', () => 1);"],
  ['replaces what all use', "mock.method(Date, 'now', () => 0);"],
  ['measures memory', 'const { heapUsed } = process.memoryUsage();'],
];
for (const [what, text] of own) {
  test(`a file that ${what} has a process of its own`, () => {
    const { alone, together } = batchesOf(['a', 'b'], (file) => (file === 'a' ? text : 'test();'));
    assert.deepEqual([alone, together], [['a'], [['b']]]);
  });
}

test('a suite with hooks, and one that reads the environment, share a process', () => {
  const text =
    "describe('x', () => {\n  before(() => 1);\n});\nif (process.env['A'] === '1') run();";
  assert.deepEqual(batchesOf(['a'], () => text).alone, []);
});

test('a file that cannot be imported is a test that fails, and the others run', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'weft-batches-'));
  const good = "import { test } from 'node:test';\ntest('good', () => undefined);\n";
  writeFileSync(join(folder.path, 'a.test.mjs'), "import './nothing.mjs';\n");
  writeFileSync(join(folder.path, 'b.test.mjs'), good);
  const entries = writeBatches(folder.path, ['a.test.mjs', 'b.test.mjs'], folder.path);
  const { NODE_TEST_CONTEXT: _of, ...env } = process.env;
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--test', '--test-reporter=tap', ...entries],
    { env, encoding: 'utf8', timeout: 30_000 },
  );
  assert.equal(status, 1);
  assert.match(stdout, /^ok \d+ - good$/m);
  assert.match(stdout, /^not ok \d+ - .*a\.test\.mjs$/m);
  assert.match(stdout, /^# tests 2$/m);
});
