import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = new URL('../../src/cli/memory-accounting.ts', import.meta.url).href;

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

/** 1 GB of received buffers pass, of which 64 MB are queued at any time; prints how often all garbage was collected. */
const RELAY = `
  import { PerformanceObserver, constants } from 'node:perf_hooks';
  import { setImmediate as turn } from 'node:timers/promises';
  let majors = 0;
  const observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries()) {
      if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) majors++;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const queued = new Array(1_024);
  for (let n = 0; n < 16_384; n++) {
    queued[n % queued.length] = new ArrayBuffer(65_536);
    if (n % 16 === 0) await turn();
  }
  await turn();
  console.log(majors);`;

test('after countReceivedBytesWithHeap() all garbage is collected less often for bytes that pass through', {
  skip: isOlderNode && 'an older V8 is left as it is',
}, () => {
  const [before, after] = [Number(run(RELAY)), Number(run(`${CALL} ${RELAY}`))];
  assert.ok(after <= before * 0.6, `with it: ${after} times, without: ${before}`);
});
