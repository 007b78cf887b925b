import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = new URL('../../src/cli/start-memory.ts', import.meta.url).href;
const isOlderNode = Number.parseInt(process.versions.node, 10) < 26;
const skip = isOlderNode && 'an older V8 is left as it is';

/** What a process of its own says as JSON. */
function run(code: string, more: readonly string[] = []): unknown {
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval'];
  const { stdout, stderr } = spawnSync(process.execPath, [...more, ...flags, code], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(stderr, '', 'an unknown flag is complained of');
  return JSON.parse(stdout);
}

const readPair = (value: unknown): readonly [number, number] => {
  assert.ok(Array.isArray(value) && value.length === 2);
  return [Number(value[0]), Number(value[1])];
};

test('giveBackStartMemory() gives pages of garbage back to the system', { skip }, () => {
  const [before, after] = readPair(
    run(`
      import v8 from 'node:v8';
      import { giveBackStartMemory } from '${module}';
      let kept = Array.from({ length: 200_000 }, (_, i) => ({ i, text: [i] }));
      const mb = () => v8.getHeapStatistics().total_physical_size / 1024 / 1024;
      const before = mb();
      kept = kept.length;
      giveBackStartMemory();
      console.log(JSON.stringify([before, mb()]));`),
  );
  assert.ok(after < before - 10, `${before} MB, then ${after}`);
});

test('giveBackStartMemory() drops compiled code that is not running, and such functions still work', {
  skip,
}, () => {
  const [dropped, sum] = readPair(
    run(`
      import v8 from 'node:v8';
      import { giveBackStartMemory } from '${module}';
      const texts = Array.from({ length: 500 }, (_, n) => 'a => { ' + 'a = a * 3 + 1;'.repeat(40) + ' return ' + n + ' }');
      const functions = texts.map((text) => (0, eval)(text));
      for (const each of functions) each(1);
      const bytes = () => v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'trusted_space').space_used_size;
      const before = bytes();
      giveBackStartMemory();
      const after = bytes();
      console.log(JSON.stringify([before - after, functions.reduce((sum, each) => sum + each(1), 0)]));`),
  );
  assert.ok(dropped > 100_000, `${dropped} bytes`);
  assert.equal(sum, (499 * 500) / 2);
});

test('startWithoutBaselineCode() keeps machine code from being made, until giveBackStartMemory()', {
  skip,
}, () => {
  const flags = ['--allow-natives-syntax', '--no-opt', '--no-maglev', '--always-sparkplug'];
  const [before, after] = readPair(
    run(
      `
      import { giveBackStartMemory, startWithoutBaselineCode } from '${module}';
      const isCompiled = () => {
        const f = (0, eval)('(n) => { let sum = 0; for (let i = 0; i < n; i++) sum += i; return sum; }');
        for (let turn = 0; turn < 100; turn++) f(100_000);
        return Number(%ActiveTierIsSparkplug(f));
      };
      startWithoutBaselineCode();
      const before = isCompiled();
      giveBackStartMemory();
      console.log(JSON.stringify([before, isCompiled()]));`,
      flags,
    ),
  );
  assert.deepEqual([before, after], [0, 1]);
});
