// `weft policy`: judges recorded requests and checks manifests, with the code that the sidecar decides with.
import { readFile } from 'node:fs/promises';
import { evaluateGroup, type CaseGroup, type CaseResult } from '@weft/model/policy/eval-cases';
import {
  parseAuthorizationPolicy,
  unsupportedFeatures,
} from '@weft/model/policy/parse-authorization-policy';
import { parsePeerAuthentication } from '@weft/model/policy/parse-peer-authentication';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { formatProblem, type Problem } from '@weft/model/problem';
import type { Command } from 'commander';
import { LineCounter, parseAllDocuments } from 'yaml';
import { complain, print, printJson } from '../output.ts';

const POLICY_GROUPS: readonly string[] = ['security.weft.dev', 'security.istio.io'];

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
  const groups = JSON.parse(await readFile(file, 'utf8')) as readonly (CaseGroup & {
    readonly policies: string;
  })[];
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

function checkObject(object: PlainObject): readonly Problem[] | undefined {
  const [group] = String(object['apiVersion']).split('/');
  if (!POLICY_GROUPS.includes(group ?? '')) return undefined;
  if (object['kind'] === 'PeerAuthentication') return parsePeerAuthentication(object).problems;
  if (object['kind'] !== 'AuthorizationPolicy') return undefined;
  const parsed = parseAuthorizationPolicy(object);
  return parsed.ok ? unsupportedFeatures(parsed.value) : parsed.problems;
}

async function check(files: readonly string[]): Promise<void> {
  const problems: Problem[] = [];
  let checked = 0;
  for (const file of files) {
    for (const { object, line } of readObjects(await readFile(file, 'utf8'), file, problems)) {
      const found = checkObject(object);
      if (found === undefined) continue;
      checked++;
      const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
      const namespace =
        typeof metadata['namespace'] === 'string' ? metadata['namespace'] : 'default';
      const ref = { kind: String(object['kind']), namespace, name: String(metadata['name']) };
      problems.push(
        ...found.map((problem) => ({ ...problem, object: ref, source: { file, line } })),
      );
    }
  }
  for (const problem of problems) print(formatProblem(problem));
  if (checked === 0) complain('no policy was found in these files');
  else print(`${checked} policies checked, ${problems.length} problems`);
  if (problems.some(({ severity }) => severity === 'error')) process.exitCode = 1;
}

export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('check policies and ask what they decide');
  policy
    .command('eval')
    .description('judge recorded requests; exits 1 when a decision is not the expected one')
    .requiredOption('--cases <file>', 'groups of policies and requests, as JSON')
    .option('--json', 'every decision, as JSON')
    .action(async (options: { readonly cases: string; readonly json?: boolean }) =>
      evaluate(options.cases, options),
    );
  policy
    .command('check')
    .description('say what is wrong with the policies in these manifests; exits 1 on errors')
    .argument('<file...>', 'YAML files')
    .action(check);
}
