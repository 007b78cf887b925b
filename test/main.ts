// Runs the tests: all of them, or the kinds named on the command line (unit, integration, conformance, kubernetes, fuzz).
import { spawn } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { differences, readShown, withTable } from './data-planes/table.ts';
import { writeBatches } from './support/batches.ts';
import { buildKubelab } from './support/go-tools.ts';
import { BUNDLES, openBundles } from './support/weft-main.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const PATTERNS = {
  unit: [
    'src/**/*.test.ts',
    'test/*.test.ts',
    'test/data-planes/*.test.ts',
    'test/golden/**/*.test.ts',
    'test/bench/**/*.test.ts',
  ],
  conformance: ['test/conformance/**/*.test.ts'],
  /** Examples of pages are run as they stand, with all the processes that they start. */
  integration: ['test/integration/**/*.test.ts', 'test/docs/*.test.ts'],
  kubernetes: ['test/kubernetes/**/*.test.ts'],
  fuzz: ['test/fuzz/**/*.fuzz.ts'],
} as const;
type Kind = keyof typeof PATTERNS;

/** For a whole file: one of `kubernetes` may stop its API server for a minute, and fuzzing takes as long as it is told. */
const TIMEOUT_MS: Readonly<Record<Kind, number>> = {
  unit: 180_000,
  conformance: 180_000,
  integration: 180_000,
  kubernetes: 480_000,
  fuzz: 3_600_000,
};

const isKind = (name: string): name is Kind => Object.hasOwn(PATTERNS, name);
const named = process.argv.slice(2).filter(isKind);
const filters = process.argv.slice(2).filter((name) => !isKind(name));
/** Fuzzing runs only when it is asked for: its length is its caller's choice. */
const DEFAULT_KINDS: readonly Kind[] = ['unit', 'conformance', 'integration', 'kubernetes'];
const kinds: readonly Kind[] = named.length > 0 ? named : DEFAULT_KINDS;

const filesOf = (kind: Kind): readonly string[] =>
  globSync([...PATTERNS[kind]], { cwd: root }).filter(
    (file) => filters.length === 0 || filters.some((filter) => file.includes(filter)),
  );
const unitFiles = kinds.includes('unit') ? filesOf('unit') : [];
const otherFiles = kinds.filter((kind) => kind !== 'unit').flatMap(filesOf);
const files = [...unitFiles, ...otherFiles];
if (files.length === 0) {
  process.stderr.write(
    `Cannot run tests: no file of kind ${kinds.join(', ')} matches ${filters.join(' ')}\n`,
  );
  process.exit(1);
}

/** Where Go's installer puts it, for machines whose PATH does not name it. */
const GO = '/usr/local/go/bin';
if (existsSync(join(GO, 'go'))) {
  process.env['PATH'] = `${process.env['PATH'] ?? ''}${delimiter}${GO}`;
}

// Before all tests, not beside them: a compiler on every core makes tests with deadlines fail.
if (files.some((file) => file.startsWith(join('test', 'kubernetes')))) {
  await buildKubelab((line) => process.stderr.write(`${line}\n`));
}

const toldFolder = mkdtempSync(join(tmpdir(), 'weft-told-'));
/** What tests show of data planes, and the names of those that were skipped. */
const shownFile = join(toldFolder, 'shown.txt');
const skippedFile = join(toldFolder, 'skipped.txt');
writeFileSync(shownFile, '');
const batchFolder = join(toldFolder, 'batches');
mkdirSync(batchFolder);

/** docs/data-planes.md says what all tests together show: a run of some cannot tell. */
function compareTable(): number {
  if (named.length > 0 || filters.length > 0) return 0;
  const file = join(root, 'docs/data-planes.md');
  const document = readFileSync(file, 'utf8');
  const shown = readShown(readFileSync(shownFile, 'utf8'));
  const skipped = readFileSync(skippedFile, 'utf8').split('\n').length - 1;
  const found = differences(document, shown);
  if (skipped > 0) {
    const what = `${skipped} tests were skipped, so docs/data-planes.md is not compared`;
    process.stderr.write(`${what}${found.map((line) => `\n  ${line}`).join('')}\n`);
    return 0;
  }
  if (process.env['UPDATE_GOLDEN'] === '1') {
    writeFileSync(file, withTable(document, shown));
    return 0;
  }
  for (const line of found) process.stderr.write(`docs/data-planes.md: ${line}\n`);
  return found.length === 0 ? 0 : 1;
}

// Once for all: what is in the images is what tests of processes run.
const bundles = otherFiles.length > 0 ? await openBundles() : undefined;
if (bundles !== undefined) process.env[BUNDLES] = bundles.folder;

/** Unit tests alone wait now and then, and start little that has deadlines. */
const concurrency = otherFiles.length === 0 ? 4 : 2;

const child = spawn(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${Math.max(...kinds.map((kind) => TIMEOUT_MS[kind]))}`,
    `--test-reporter=${process.env['WEFT_TEST_REPORTER'] ?? 'spec'}`,
    '--test-reporter-destination=stdout',
    `--test-reporter=${fileURLToPath(new URL('support/skipped-reporter.ts', import.meta.url))}`,
    `--test-reporter-destination=${skippedFile}`,
    ...writeBatches(root, unitFiles, batchFolder),
    ...otherFiles,
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, WEFT_SHOWN_FILE: shownFile } },
);
// Whoever ends this ends the tests; by a terminal they are told themselves.
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  const outcome = signal === null ? (code ?? 1) : 1;
  // What failed shows nothing: the table of such a run would be wrong.
  process.exitCode = outcome === 0 ? compareTable() : outcome;
  rmSync(toldFolder, { recursive: true, force: true });
  void bundles?.[Symbol.asyncDispose]();
});
