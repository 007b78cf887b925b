import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  link,
  mkdir,
  mkdtemp,
  rename,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '@weft/model/clock';
import { untilState } from '../../../../test/support/source-suite.ts';
import type { Source, SourceState } from '../source.ts';
import { openFileSource } from './file-source.ts';
import { MAX_FILE_BYTES } from './read-manifest.ts';

const DEADLINE_MS = 5_000;

async function folder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-registry-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function open(
  t: TestContext,
  directory: string,
  clock: Clock = systemClock,
): Promise<Source> {
  const source = await openFileSource({ directory, clock });
  t.after(() => source[Symbol.asyncDispose]());
  return source;
}

interface QuickClock extends Clock {
  /** Waits until that many more timers have gone off. */
  turns(count: number): Promise<void>;
  skipMs: number;
}

/** Runs at once what would wait for seconds, and can leave time out. */
function quickClock(): QuickClock {
  let isWaiting: { left: number; readonly resolve: () => void } | undefined;
  return {
    skipMs: 0,
    now() {
      return systemClock.now() + this.skipMs;
    },
    setTimeout: (run, delayMs) =>
      systemClock.setTimeout(
        () => {
          run();
          if (isWaiting !== undefined && --isWaiting.left === 0) isWaiting.resolve();
        },
        Math.min(delayMs, 20),
      ),
    turns(count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      isWaiting = { left: count, resolve };
      return promise;
    },
  };
}

const until = (source: Source, holds: (state: SourceState) => boolean): Promise<SourceState> =>
  untilState(source, holds, DEADLINE_MS);

const keys = ({ snapshot }: SourceState): readonly string[] => [...snapshot.objects.keys()];
const untilKeys = (source: Source, ...expected: readonly string[]): Promise<SourceState> =>
  until(source, (state) => keys(state).join() === expected.join());
const codes = ({ problems }: SourceState): readonly string[] => problems.map(({ code }) => code);
const untilCode = (source: Source, code: string): Promise<SourceState> =>
  until(source, (state) => codes(state).includes(code));

const namespace = (name: string): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`;
const A = 'Namespace//a';
const B = 'Namespace//b';

test('openFileSource() has read the folder and the folders in it when it resolves', async (t) => {
  const directory = await folder(t);
  await mkdir(join(directory, 'd'));
  await writeFile(join(directory, 'd', 'b.yml'), namespace('b'));
  await writeFile(
    join(directory, 'a.json'),
    '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}',
  );
  await writeFile(join(directory, '.hidden.yaml'), namespace('hidden'));
  await writeFile(join(directory, 'notes.txt'), namespace('text'));
  const { state } = await open(t, directory);
  assert.deepEqual(keys(state), [A, B]);
  assert.deepEqual(state.problems, []);
  assert.equal(state.snapshot.revision, 1);
});

test('openFileSource() refuses a directory that does not exist, or is none', async (t) => {
  const directory = await folder(t);
  await assert.rejects(
    openFileSource({ directory: join(directory, 'x') }),
    /Cannot read manifests from .*x: it does not exist/,
  );
  await writeFile(join(directory, 'a.yaml'), '');
  await assert.rejects(
    openFileSource({ directory: join(directory, 'a.yaml') }),
    /it is no directory/,
  );
});

test('a file source takes what is added, changed, moved and removed', async (t) => {
  const directory = await folder(t);
  const source = await open(t, directory);
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  await untilKeys(source, A);
  await writeFile(join(directory, 'a.yaml'), namespace('b'));
  await untilKeys(source, B);
  await mkdir(join(directory, 'd', 'e'), { recursive: true });
  await writeFile(join(directory, 'd', 'e', 'a.yaml'), namespace('a'));
  await untilKeys(source, A, B);
  await rename(join(directory, 'd'), join(directory, 'f'));
  await unlink(join(directory, 'a.yaml'));
  await untilKeys(source, A);
  await rm(join(directory, 'f'), { recursive: true });
  await untilKeys(source);
});

test('a file source has what is saved in force within 30 ms, as a rule', async (t) => {
  const directory = await folder(t);
  const source = await open(t, directory);
  await writeFile(join(directory, 'a.yaml'), namespace('first'));
  await untilKeys(source, 'Namespace//first');
  const times: number[] = [];
  for (let round = 0; round < 9; round++) {
    const name = `Namespace//n${round}`;
    const next = join(directory, '.a.tmp');
    await writeFile(next, `${namespace('first')}---\n${namespace(`n${round}`)}`);
    const before = performance.now();
    await rename(next, join(directory, `${round}.yaml`));
    await until(source, (state) => state.snapshot.objects.has(name));
    times.push(performance.now() - before);
  }
  const median = times.sort((a, b) => a - b)[4] ?? Infinity;
  t.diagnostic(`median ${median.toFixed(1)} ms, worst ${times.at(-1)?.toFixed(1)} ms`);
  // Without its events it would be found after two seconds; the diagnostic says what it took.
  assert.ok(median < 1_000, `${median} ms`);
});

test('a file source keeps what was good when its file breaks, and says so', async (t) => {
  const directory = await folder(t);
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  await writeFile(join(directory, 'b.yaml'), namespace('b'));
  const source = await open(t, directory);
  for (const [text, code] of [
    ['kind: [', 'bad-yaml'],
    ['kind: \0\0', 'null-byte'],
    [Buffer.from([0xff, 0xfe, 0x41, 0x00]), 'unreadable-file'],
    [`# ${'x'.repeat(MAX_FILE_BYTES)}`, 'unreadable-file'],
  ] as const) {
    await writeFile(join(directory, 'a.yaml'), text);
    const state = await untilCode(source, code);
    assert.deepEqual(keys(state), [A, B]);
    await writeFile(join(directory, 'a.yaml'), namespace('a'));
    await until(source, ({ problems }) => problems.length === 0);
  }
});

test('a file source reads the rest when something in the folder cannot be read', async (t) => {
  const directory = await folder(t);
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  await mkdir(join(directory, 'folder.yaml'));
  await symlink('nowhere', join(directory, 'link.yaml'));
  await symlink('self.yaml', join(directory, 'self.yaml'));
  await symlink('.', join(directory, 'circle'));
  execFileSync('mkfifo', [join(directory, 'pipe.yaml')]);
  await writeFile(join(directory, 'large.yaml'), 'x'.repeat(MAX_FILE_BYTES + 1));
  const source = await open(t, directory);
  assert.deepEqual(keys(source.state), [A]);
  const unreadable = source.state.problems.map(({ code, source: at }) => `${code} ${at?.file}`);
  assert.deepEqual(
    unreadable,
    ['folder', 'large', 'link', 'pipe', 'self'].map((name) => `unreadable-file ${name}.yaml`),
  );
  await writeFile(join(directory, 'b.yaml'), namespace('b'));
  await untilKeys(source, A, B);
  await writeFile(join(directory, 'nowhere'), namespace('c'));
  await untilKeys(source, A, B, 'Namespace//c');
});

test('a file source keeps the objects of a file that turns into a folder, a pipe or a link to nothing', async (t) => {
  const directory = await folder(t);
  const path = join(directory, 'a.yaml');
  const turns: readonly (() => Promise<unknown>)[] = [
    () => mkdir(path),
    async () => execFileSync('mkfifo', [path]),
    () => symlink('nowhere', path),
  ];
  await writeFile(path, namespace('a'));
  const source = await open(t, directory);
  for (const turn of turns) {
    await rm(path, { recursive: true });
    await turn();
    assert.deepEqual(keys(await untilCode(source, 'unreadable-file')), [A]);
    await rm(path, { recursive: true });
    await writeFile(path, namespace('a'));
    assert.deepEqual(keys(await until(source, ({ problems }) => problems.length === 0)), [A]);
  }
});

test('a file source never shows a file as it is between being emptied and being written', async (t) => {
  const directory = await folder(t);
  const path = join(directory, 'a.yaml');
  const whole = `${namespace('a')}---\n${namespace('b')}`;
  await writeFile(path, whole);
  // Time that stands still: however slow the machine, no change in doubt is ever confirmed.
  let isStill = true;
  const start = systemClock.now();
  const now = (): number => (isStill ? start : systemClock.now());
  const source = await open(t, directory, { ...systemClock, now });
  const seen = new Set<string>();
  using _ = source.subscribe(() => seen.add(keys(source.state).slice(0, 2).join()));
  const steps = ['', whole, namespace('a'), whole, whole.slice(0, 30), whole];
  for (const [index, text] of steps.entries()) {
    await writeFile(path, text);
    // A file beside it that is taken at once shows that the folder was read in between.
    await writeFile(join(directory, `s${index}.yaml`), namespace(`s${index}`));
    await until(source, ({ snapshot }) => snapshot.objects.has(`Namespace//s${index}`));
  }
  assert.deepEqual([...seen], [`${A},${B}`]);
  isStill = false;
  await writeFile(path, namespace('a'));
  await until(source, ({ snapshot }) => !snapshot.objects.has(B));
});

test('a file source follows the swap by which Kubernetes changes a mounted folder', async (t) => {
  const directory = await folder(t);
  const version = async (name: string, text: string): Promise<void> => {
    await mkdir(join(directory, name));
    await writeFile(join(directory, name, 'a.yaml'), text);
    await symlink(name, join(directory, '..data_tmp'));
    await rename(join(directory, '..data_tmp'), join(directory, '..data'));
  };
  await version('..1', namespace('a'));
  await symlink('..data/a.yaml', join(directory, 'a.yaml'));
  const source = await open(t, directory);
  assert.deepEqual(keys(source.state), [A]);
  await version('..2', namespace('b'));
  await untilKeys(source, B);
});

test('a file source keeps everything when its folder vanishes, and goes on when it is back', async (t) => {
  const parent = await folder(t);
  const directory = join(parent, 'manifests');
  await mkdir(directory);
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  const clock = quickClock();
  const source = await open(t, directory, clock);
  await rename(directory, join(parent, 'away'));
  await untilCode(source, 'unreadable-folder');
  clock.skipMs = 60_000;
  await clock.turns(4);
  assert.deepEqual(keys(source.state), [A]);
  await rename(join(parent, 'away'), directory);
  await writeFile(join(directory, 'b.yaml'), namespace('b'));
  const state = await untilKeys(source, A, B);
  assert.deepEqual(codes(state), []);
});

test('a file source tells of a change once, and of nothing that changes nothing', async (t) => {
  const directory = await folder(t);
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  const source = await open(t, directory);
  const revisions: number[] = [];
  using _ = source.subscribe(() => revisions.push(source.state.snapshot.revision));
  await writeFile(join(directory, 'a.yaml'), `# a comment\n${namespace('a')}`);
  await Promise.all(
    Array.from({ length: 50 }, (__, at) =>
      writeFile(join(directory, `n${at}.yaml`), namespace(`n${at}`)),
    ),
  );
  const state = await until(source, ({ snapshot }) => snapshot.objects.size === 51);
  assert.ok(revisions.length <= 10, `told ${revisions.length} times`);
  assert.deepEqual(revisions, [...new Set(revisions)]);
  assert.equal(state.snapshot.revision, revisions.at(-1));
});

test('a file source is silent once it is disposed', async (t) => {
  const directory = await folder(t);
  const source = await openFileSource({ directory });
  let told = 0;
  source.subscribe(() => told++);
  const writing = writeFile(join(directory, 'a.yaml'), namespace('a'));
  await source[Symbol.asyncDispose]();
  await writing;
  assert.equal(told, 0);
});

test('a file source finds a change of which no event tells', async (t) => {
  const directory = await folder(t);
  const elsewhere = join(await folder(t), 'other-name');
  await writeFile(elsewhere, namespace('a'));
  await link(elsewhere, join(directory, 'a.yaml'));
  // Long ago, or it would be looked at again for the coarseness of its stamp.
  await utimes(elsewhere, 1, 1);
  const clock = quickClock();
  const source = await open(t, directory, clock);
  await clock.turns(5);
  await writeFile(elsewhere, `${namespace('a')}---\n${namespace('b')}`);
  await untilKeys(source, A, B);
});

test('a file source goes on telling others when one listener throws', async (t) => {
  const directory = await folder(t);
  const source = await open(t, directory);
  using _ = source.subscribe(() => {
    throw new Error('a flaw');
  });
  await writeFile(join(directory, 'a.yaml'), namespace('a'));
  await untilKeys(source, A);
});
