import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

test('countReceivedBytesWithHeap() sets a flag that this V8 knows: an unknown one would be complained of on stderr', () => {
  const module = new URL('memory-accounting.ts', import.meta.url).href;
  const code = `import { countReceivedBytesWithHeap } from '${module}'; countReceivedBytesWithHeap(); console.log('done');`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, '--eval', code], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(stdout, 'done\n');
  assert.equal(stderr, '');
});
