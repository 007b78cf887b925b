// `weft policy`: judges recorded requests and checks manifests, with the code that the sidecar decides with.
import { addPolicyLearnCommands } from './policy-learn.ts';
import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { readObjects as readManifests } from '@weft/controlplane/registry/read-objects';
import { evaluateGroup, type CaseGroup, type CaseResult } from '@weft/model/policy/eval-cases';
import { POLICY_KINDS } from '@weft/model/policy/policy-kinds';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { formatProblem, type Problem } from '@weft/model/problem';
import type { Command } from 'commander';
import { LineCounter, parseAllDocuments } from 'yaml';
import { complain, examples, print, printJson } from '../output.ts';
import { addCompareCommands } from './policy-compare.ts';
import { addExplainCommand } from './policy-explain.ts';
import { addLintCommand } from './policy-lint.ts';
import { addStatusCommands } from './policy-status.ts';
import { addTestCommand } from './policy-test.ts';
import { addPromoteCommand } from './policy-promote.ts';
import { addRefusedEgressCommand } from './policy-refused-egress.ts';

interface Located {
  readonly object: PlainObject;
  readonly line: number;
}

/** The mappings of a YAML stream with the lines they begin at; what cannot be read is a problem. */
function readObjects(text: string, file: string, problems: Problem[]): readonly Located[] {
  const lineCounter = new LineCounter();
  return parseAllDocuments(text, { lineCounter, uniqueKeys: true }).flatMap((document) => {
    const line = lineCounter.linePos(document.contents?.range?.[0] ?? document.range[0]).line;
    for (const error of document.errors) {
      const at = error.linePos?.[0]?.line ?? line;
      problems.push({
        severity: 'error',
        code: 'bad-yaml',
        message: error.message.split('\n', 1)[0] ?? 'cannot be read',
        source: { file, line: at },
      });
    }
    const value: unknown =
      document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 100 });
    return isPlainObject(value) ? [{ object: value, line }] : [];
  });
}

async function evaluate(file: string, options: { readonly json?: boolean }): Promise<void> {
  const groups = readCases(await readText(file), file);
  const problems: Problem[] = [];
  const results: CaseResult[] = [];
  for (const group of groups) {
    const objects = readObjects(group.policies, group.name, problems).map(({ object }) => object);
    const evaluated = evaluateGroup(group, objects);
    results.push(...evaluated.results);
    problems.push(
      ...evaluated.problems.map((problem) => ({ source: { file: group.name }, ...problem })),
    );
  }
  const differences = results.filter((result) => result.actual !== result.expect);
  if (options.json === true) {
    printJson({ decisions: results.length, differences, problems, results });
  } else {
    for (const { group, case: name, expect, actual, reason, decidedBy } of differences) {
      print(
        `${group} / ${name}: expected ${expect}, decided ${actual} (${reason} ${decidedBy ?? ''})`.trimEnd(),
      );
    }
    for (const problem of problems) print(formatProblem(problem));
    print(`${results.length} decisions, ${differences.length} differ from what was expected`);
  }
  if (differences.length + problems.length > 0) process.exitCode = 1;
}

/** Reads manifests with the control plane's own reader, so that what is said here is what it would say. */
async function check(paths: readonly string[]): Promise<void> {
  const problems: Problem[] = [];
  let checked = 0;
  for (const path of paths) {
    for (const file of await filesOf(path)) {
      const read = readManifests(await readText(file), file);
      problems.push(...read.problems);
      for (const { ref, problems: found } of read.objects) {
        if (!CHECKED_KINDS.has(ref.kind)) continue;
        checked++;
        problems.push(...found);
      }
    }
  }
  for (const problem of problems) print(formatProblem(problem));
  if (checked === 0) complain('no policy was found in these files');
  else print(`${checked} policies checked, ${problems.length} problems`);
  if (problems.some(({ severity }) => severity === 'error')) process.exitCode = 1;
}

const CHECKED_KINDS: ReadonlySet<string> = new Set(POLICY_KINDS);

/** A folder means its manifests. */
async function filesOf(path: string): Promise<readonly string[]> {
  const entry = await stat(path).catch((cause: unknown) => {
    throw new Error(`Cannot read ${path}: there is no such file or folder`, { cause });
  });
  if (!entry.isDirectory()) return [path];
  const names = await readdir(path, { recursive: true });
  return names
    .filter((name) => ['.yaml', '.yml', '.json'].includes(extname(name)))
    .sort()
    .map((name) => join(path, name));
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(
      `Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

function readCases(
  text: string,
  file: string,
): readonly (CaseGroup & { readonly policies: string })[] {
  let groups: unknown;
  try {
    groups = JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot read ${file}: it is no JSON (${String(error)})`, { cause: error });
  }
  const isGroup = (group: unknown): group is CaseGroup & { readonly policies: string } =>
    isPlainObject(group) &&
    typeof group['policies'] === 'string' &&
    typeof group['name'] === 'string' &&
    isPlainObject(group['workload']) &&
    Array.isArray(group['cases']);
  if (!Array.isArray(groups) || !groups.every(isGroup)) {
    throw new Error(
      `Cannot read ${file}: it must be a list of groups, each with name, workload, policies (YAML text) and cases`,
    );
  }
  return groups;
}

export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('check policies and ask what they decide');
  policy
    .command('eval')
    .description('judge recorded requests; exits 1 when a decision is not the expected one')
    .requiredOption('--cases <file>', 'groups of policies and requests, as JSON')
    .option('--json', 'every decision, as JSON')
    .addHelpText('after', examples('weft policy eval --cases cases.json'))
    .action(async (options: { readonly cases: string; readonly json?: boolean }) =>
      evaluate(options.cases, options),
    );
  policy
    .command('check')
    .description('say what is wrong with the policies in these manifests; exits 1 on errors')
    .argument('<path...>', 'files or folders of manifests')
    .addHelpText('after', examples('weft policy check manifests/policies.yaml'))
    .action(check);
  addExplainCommand(policy);
  addCompareCommands(policy);
  addTestCommand(policy);
  addLintCommand(policy);
  addStatusCommands(policy);
  addPromoteCommand(policy);
  addRefusedEgressCommand(policy);
  addPolicyLearnCommands(policy);
}
