// Runs the tests: all of them, or the kinds named on the command line (unit, integration, conformance, fuzz).
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const PATTERNS = {
  unit: ['src/**/*.test.ts', 'test/*.test.ts', 'test/golden/**/*.test.ts'],
  conformance: ['test/conformance/**/*.test.ts'],
  integration: ['test/integration/**/*.test.ts'],
  fuzz: ['test/fuzz/**/*.fuzz.ts'],
} as const;
type Kind = keyof typeof PATTERNS;

const isKind = (name: string): name is Kind => Object.hasOwn(PATTERNS, name);
const named = process.argv.slice(2).filter(isKind);
const filters = process.argv.slice(2).filter((name) => !isKind(name));
/** Fuzzing runs only when it is asked for: its length is its caller's choice. */
const kinds: readonly Kind[] = named.length > 0 ? named : ['unit', 'conformance', 'integration'];

const files = kinds
  .flatMap((kind) => globSync([...PATTERNS[kind]], { cwd: root }))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
if (files.length === 0) {
  process.stderr.write(
    `Cannot run tests: no file of kind ${kinds.join(', ')} matches ${filters.join(' ')}\n`,
  );
  process.exit(1);
}

const child = spawn(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-concurrency=2',
    `--test-timeout=${kinds.includes('fuzz') ? 3_600_000 : 180_000}`,
    `--test-reporter=${process.env['WEFT_TEST_REPORTER'] ?? 'spec'}`,
    '--test-reporter-destination=stdout',
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
);
child.on('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 1;
});
