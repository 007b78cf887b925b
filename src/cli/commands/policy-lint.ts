// `weft policy lint`: everything that is wrong or doubtful about policies before they are applied, each with a code, a place and a cure.
import { lintMesh } from '@weft/model/policy/lint';
import { POLICY_KINDS } from '@weft/model/policy/policy-kinds';
import type { Problem } from '@weft/model/problem';
import { Option, type Command } from 'commander';
import { complain, examples, print, printJson } from '../output.ts';
import {
  addMeshOptions,
  compileManifests,
  loadManifests,
  type MeshFlags,
} from '../policy/load-manifests.ts';
import { placeProblems } from '../policy/place-problems.ts';

interface Flags extends MeshFlags {
  readonly files?: readonly string[];
  readonly json?: boolean;
}

/** What a mesh's other objects have to say for themselves is no matter of policies. */
const KINDS: ReadonlySet<string> = new Set([...POLICY_KINDS, 'MeshConfig']);
/** Secrets are kept out of manifests, and are none of theirs. */
const IS_ELSEWHERE: ReadonlySet<string> = new Set(['missing-secret']);
const NEEDS_PODS: ReadonlySet<string> = new Set(['selects-nothing', 'unknown-namespace']);

async function lint(paths: readonly string[], flags: Flags): Promise<void> {
  const files = [...paths, ...(flags.files ?? [])];
  if (files.length === 0) {
    throw new Error(
      'Cannot lint: name files or folders, for example weft policy lint -f ./manifests',
    );
  }
  const manifests = await loadManifests(files);
  const { mesh } = compileManifests(manifests.snapshot, flags, { isSupposing: false });
  const hasPods = mesh.workloads.size > 0;
  const compiled = [...mesh.problems, ...lintMesh(mesh)].filter(
    ({ object, code }) =>
      object !== undefined &&
      KINDS.has(object.kind) &&
      !IS_ELSEWHERE.has(code) &&
      (hasPods || !NEEDS_PODS.has(code)),
  );
  const read = manifests.problems.filter(({ code }) => code !== 'ignored-kind');
  const problems = [...read, ...(await placeProblems(compiled, manifests))];
  const policies = manifests.files
    .flatMap(({ objects }) => objects)
    .filter(({ ref }) => KINDS.has(ref.kind)).length;
  report({ problems, policies, hasPods }, flags.json === true);
}

function report(
  {
    problems,
    policies,
    hasPods,
  }: {
    readonly problems: readonly Problem[];
    readonly policies: number;
    readonly hasPods: boolean;
  },
  isJson: boolean,
): void {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (isJson) printJson({ policies, errors, warnings: problems.length - errors, problems });
  else {
    for (const problem of problems) print(formatFinding(problem));
    if (policies === 0) complain('no policy was found in these files');
    else if (!hasPods) {
      complain(
        'no Pods are in these files: selectors, ports and callers were not checked (add -f with the workloads)',
      );
    }
    print(`${policies} policies, ${errors} errors, ${problems.length - errors} warnings`);
  }
  if (errors > 0) process.exitCode = 1;
}

/** Three lines: place and code, what is wrong, what to do. */
function formatFinding({ severity, code, object, source, field, message, cure }: Problem): string {
  const place = source === undefined ? '' : `${source.file}:${source.line ?? 1}: `;
  const name = object && [object.namespace, object.name].filter((part) => part !== undefined);
  const what = object === undefined ? '' : ` ${object.kind} ${name?.join('/')}`;
  const lines = [`${place}${severity} [${code}]${what}${field === undefined ? '' : ` ${field}`}`];
  lines.push(`    ${message}`);
  if (cure !== undefined) lines.push(`    → ${cure}`);
  return lines.join('\n');
}

export function addLintCommand(policy: Command): void {
  addMeshOptions(policy.command('lint'))
    .description('find what is wrong or doubtful about policies; exits 1 when one would be refused')
    .argument('[path...]', 'files or folders of manifests')
    .addOption(new Option('-f, --files <path...>', 'the same'))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples(
        'weft policy lint -f ./manifests',
        'weft policy lint new-policy.yaml -f ./cluster     # against the Pods of ./cluster',
      ),
    )
    .action(lint);
}
