// `weft policy test`: checks expectations about calls against the policies beside them, for people and for CI.
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  checkExpectation,
  describeCall,
  parseExpectations,
  type ExpectationFile,
  type ExpectationResult,
} from '@weft/model/policy/expectations';
import { formatExplanation } from '@weft/model/policy/format-explanation';
import { isPlainObject } from '@weft/model/policy/reader';
import { formatProblem } from '@weft/model/problem';
import type { Command } from 'commander';
import { parseDocument } from 'yaml';
import { examples, print, printJson } from '../output.ts';
import { formatJUnit, type JUnitSuite } from '../policy/junit.ts';
import {
  addMeshOptions,
  compileManifests,
  loadManifests,
  type MeshFlags,
} from '../policy/load-manifests.ts';
import { warnOfErrors } from './policy-compare.ts';

interface Flags extends MeshFlags {
  readonly files?: readonly string[];
  readonly junit?: string;
  readonly json?: boolean;
}

interface FileResult {
  readonly file: string;
  readonly results: readonly ExpectationResult[];
}

const HELP = `
A file of expectations:
  apiVersion: test.weft.dev/v1
  kind: PolicyTest
  policies: [.]                # files and folders, relative to this file; this is the default
  tests:
    - name: web reads prices
      from: shop/web           # NAMESPACE/SERVICE-ACCOUNT, spiffe://…, or plaintext; or a list
      to: shop/prices          # Pod, Service or app
      port: 80
      method: [GET, HEAD]
      path: /prices
      headers: { x-team: blue }
      expect: allow            # or deny
      by: shop/prices-read     # optional: the policy that has to decide
${examples('weft policy test policies/*.test.yaml', 'weft policy test shop.test.yaml --junit report.xml')}`;

async function test(files: readonly string[], flags: Flags): Promise<void> {
  const outcomes: FileResult[] = [];
  for (const file of files) outcomes.push(await testFile(file, { flags, all: files }));
  const results = outcomes.flatMap((one) => one.results);
  const failed = results.filter(({ isMet }) => !isMet);
  if (flags.junit !== undefined) {
    await writeFile(flags.junit, formatJUnit(outcomes.map(suiteOf)));
  }
  if (flags.json === true)
    printJson({ tests: results.length, failed: failed.length, files: outcomes });
  else {
    for (const outcome of outcomes) printFile(outcome);
    print(`${results.length} expectations, ${failed.length} not met`);
  }
  if (failed.length > 0) process.exitCode = 1;
}

async function testFile(
  file: string,
  { flags, all }: { readonly flags: Flags; readonly all: readonly string[] },
): Promise<FileResult> {
  const expectations = await readExpectations(file);
  const paths = flags.files ?? expectations.policies.map((path) => resolve(dirname(file), path));
  const manifests = await loadManifests(paths, { without: [...all].map((path) => resolve(path)) });
  warnOfErrors(manifests.problems, paths.join(', '));
  const registry = compileManifests(manifests.snapshot, flags, { isSupposing: true });
  return { file, results: expectations.tests.map((one) => checkExpectation(registry, one)) };
}

/** @throws Error with every problem of the file. */
async function readExpectations(file: string): Promise<ExpectationFile> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`Cannot read ${file}: there is no such file`, { cause });
  });
  const document = parseDocument(text, { uniqueKeys: true });
  const [wrong, ...more] = document.errors;
  if ([wrong, ...more].some((error) => error?.code === 'MULTIPLE_DOCS')) {
    throw new Error(
      `Cannot read ${file}: it holds several documents; expectations are one of kind PolicyTest (see weft policy test --help)`,
    );
  }
  if (wrong !== undefined) throw new Error(`Cannot read ${file}: ${wrong.message}`);
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  if (!isPlainObject(value)) {
    throw new Error(`Cannot read ${file}: it holds no mapping; see weft policy test --help`);
  }
  const parsed = parseExpectations(value);
  if (parsed.ok) return parsed.value;
  const lines = parsed.problems.map((problem) => formatProblem({ ...problem, source: { file } }));
  throw new Error(`Cannot read ${file}:\n${lines.join('\n')}`);
}

function printFile({ file, results }: FileResult): void {
  const failed = results.filter(({ isMet }) => !isMet);
  if (failed.length === 0) return;
  print(`${file}:`);
  for (const result of failed) print(`${failureText(result)}\n`);
}

function failureText({ expectation, actual, why, answers }: ExpectationResult): string {
  const { name, question, expect } = expectation;
  const call = describeCall(question);
  const lines = [`  ✗ ${name}${name === call ? '' : `   (${call})`}`];
  if (actual === 'unknown') lines.push(`    ${why}`);
  else if (actual === expect) lines.push(`    ${why}`);
  else lines.push(`    - expected  ${expect}`, `    + decided   ${actual}`);
  for (const answer of answers) {
    const text = formatExplanation(question, answer);
    lines.push(...text.split('\n').map((line) => `      ${line}`));
  }
  return lines.join('\n');
}

const suiteOf = ({ file, results }: FileResult): JUnitSuite => ({
  name: file,
  cases: results.map((result) => ({
    name: result.expectation.name,
    ...(!result.isMet && { failure: { message: result.why, details: failureText(result) } }),
  })),
});

export function addTestCommand(policy: Command): void {
  addMeshOptions(policy.command('test'))
    .description(
      'check expectations about calls against the policies beside them; exits 1 when one is not met',
    )
    .argument('<file...>', 'files of expectations')
    .option('-f, --files <path...>', 'judge these manifests instead of those that the files name')
    .option('--junit <file>', 'write the results as JUnit XML, too')
    .option('--json', 'as JSON')
    .addHelpText('after', HELP)
    .action(test);
}
