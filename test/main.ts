// Runs the tests: all of them, or the kinds named on the command line (unit, integration, conformance, kubernetes, fuzz).
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildKubelab } from './support/go-tools.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const PATTERNS = {
  unit: [
    'src/**/*.test.ts',
    'test/*.test.ts',
    'test/docs/*.test.ts',
    'test/golden/**/*.test.ts',
    'test/bench/**/*.test.ts',
  ],
  conformance: ['test/conformance/**/*.test.ts'],
  integration: ['test/integration/**/*.test.ts'],
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

const files = kinds
  .flatMap((kind) => globSync([...PATTERNS[kind]], { cwd: root }))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
if (files.length === 0) {
  process.stderr.write(
    `Cannot run tests: no file of kind ${kinds.join(', ')} matches ${filters.join(' ')}\n`,
  );
  process.exit(1);
}

// Before all tests, not beside them: a compiler on every core makes tests with deadlines fail.
if (files.some((file) => file.startsWith(join('test', 'kubernetes')))) {
  await buildKubelab((line) => process.stderr.write(`${line}\n`));
}

const child = spawn(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-concurrency=2',
    `--test-timeout=${Math.max(...kinds.map((kind) => TIMEOUT_MS[kind]))}`,
    `--test-reporter=${process.env['WEFT_TEST_REPORTER'] ?? 'spec'}`,
    '--test-reporter-destination=stdout',
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
);
child.on('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 1;
});
