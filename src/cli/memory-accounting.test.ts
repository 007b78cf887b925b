import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = new URL('memory-accounting.ts', import.meta.url).href;

/** What a process of its own prints: the flags hold for a whole process. */
function run(code: string): string {
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval'];
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, code], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(stderr, '');
  return stdout;
}

const CALL = `import { countReceivedBytesWithHeap } from '${module}'; countReceivedBytesWithHeap();`;

test('countReceivedBytesWithHeap() sets flags that this V8 knows: an unknown one would be complained of on stderr', () => {
  assert.equal(run(`${CALL} console.log('done');`), 'done\n');
});

/** Keeps a window of live objects, which makes V8 grow the young generation, and prints how far it grew, in MB. */
const FILL = `
  import v8 from 'node:v8';
  const kept = new Array(50_000);
  for (let i = 0; i < 3_000_000; i++) kept[i % kept.length] = { i, text: [i] };
  const space = v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
  console.log(space.space_size / 1024 / 1024);`;

const isOlderNode = Number.parseInt(process.versions.node, 10) < 26;

test('after countReceivedBytesWithHeap() the young generation does not grow: what TLS reads leave behind goes early', {
  skip: isOlderNode && 'an older V8 is left as it is',
}, () => {
  const [grown, kept] = [Number(run(FILL)), Number(run(`${CALL} ${FILL}`))];
  assert.ok(grown >= 8, `without it: ${grown} MB`);
  assert.ok(kept <= grown / 2, `with it: ${kept} MB, without: ${grown} MB`);
});
