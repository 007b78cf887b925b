// `weft policy matrix` and `weft policy diff`: who may call what, and what a change of policies changes about it.
import { diffMeshes, type CallChange, type PolicyDiff } from '@weft/model/policy/diff';
import { compileMatrix, type MatrixCell, type MatrixRow } from '@weft/model/policy/matrix';
import type { Problem } from '@weft/model/problem';
import { Option, type Command } from 'commander';
import { complain, examples, print, printJson, table } from '../output.ts';
import {
  addMeshOptions,
  compileManifests,
  loadManifests,
  type Manifests,
  type MeshFlags,
} from '../policy/load-manifests.ts';

interface MatrixFlags extends MeshFlags {
  readonly files: readonly string[];
  readonly json?: boolean;
}

const CHANGED = 2;
/** Calls of one line that are shown; JSON has all. */
const MAX_CALLS = 6;
const CUT = 'there are more combinations than were tried: what is shown is true, and not all';

export const someOf = (texts: readonly string[], max = MAX_CALLS): string =>
  texts.length > max
    ? `${texts.slice(0, max).join('; ')} and ${texts.length - max} more`
    : texts.join('; ');

/** @param what is not sure because of them. */
export function warnOfErrors(problems: readonly Problem[], where: string): void {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (errors === 0) return;
  complain(
    `${where}: ${errors} errors (weft policy lint shows them); what is broken is judged as closed`,
  );
}

async function matrix(flags: MatrixFlags): Promise<void> {
  const manifests = await loadManifests(flags.files);
  warnOfErrors(manifests.problems, flags.files.join(', '));
  const { mesh } = compileManifests(manifests.snapshot, flags, { isSupposing: true });
  const { rows, isCut } = compileMatrix(mesh);
  if (flags.json === true) {
    printJson({ rows, isCut });
    return;
  }
  if (rows.length === 0)
    throw new Error(`Cannot judge: no workload with a port is in ${flags.files.join(', ')}`);
  print(table([['TO', 'PORT', 'FROM', 'MAY CALL'], ...rows.flatMap(rowsOf)]));
  if (isCut) complain(CUT);
}

/** Callers that may do the same are one line. */
function rowsOf({
  workloads,
  port,
  protocol,
  mode,
  cells,
}: MatrixRow): readonly (readonly string[])[] {
  const byAnswer = new Map<string, string[]>();
  for (const cell of cells) {
    const text = cellText(cell);
    const known = byAnswer.get(text);
    if (known === undefined) byAnswer.set(text, [cell.from]);
    else known.push(cell.from);
  }
  const to = someOf(workloads, 3);
  return [...byAnswer].map(([text, callers], index) => [
    index === 0 ? to : '',
    index === 0 ? `${port} ${protocol} ${mode}` : '',
    someOf(callers),
    text,
  ]);
}

function cellText({ may, allowed }: MatrixCell): string {
  switch (may) {
    case 'all':
      return 'everything';
    case 'none':
      return '-';
    case 'some':
      return someOf(allowed);
    default:
      return may satisfies never;
  }
}

interface DiffFlags extends MeshFlags {
  readonly files?: readonly string[];
  readonly json?: boolean;
}

async function diff(before: string, after: string, flags: DiffFlags): Promise<void> {
  const load = async (path: string): Promise<Manifests> => {
    const manifests = await loadManifests([path, ...(flags.files ?? [])]);
    warnOfErrors(manifests.problems, path);
    return manifests;
  };
  const [old, now] = [await load(before), await load(after)];
  const compile = (one: Manifests, other: Manifests) =>
    compileManifests(one.snapshot, flags, { isSupposing: true, other: other.snapshot }).mesh;
  const found = diffMeshes(compile(old, now), compile(now, old));
  if (flags.json === true) printJson(found);
  else printDiff(found);
  if (found.changes.length > 0) process.exitCode = CHANGED;
}

/** Callers of whom the same is true are one line. */
function linesOf(changes: readonly CallChange[]): readonly (readonly string[])[] {
  const lines = new Map<string, { readonly change: CallChange; readonly callers: string[] }>();
  for (const change of changes) {
    const { from, ...rest } = change;
    const key = JSON.stringify(rest);
    const line = lines.get(key);
    if (line === undefined) lines.set(key, { change, callers: [from] });
    else line.callers.push(from);
  }
  return [...lines.values()].map(({ change: { becomes, workloads, port, calls }, callers }) => [
    becomes === 'allowed' ? '+ allowed' : '- denied',
    someOf(callers),
    '→',
    `${someOf(workloads, 3)} port ${port}`,
    someOf(calls),
  ]);
}

function printDiff(found: PolicyDiff): void {
  const { changes, onlyOld, onlyNew, compared, isCut } = found;
  const count = (becomes: CallChange['becomes']): number =>
    changes.filter((change) => change.becomes === becomes).length;
  if (changes.length > 0) print(table(linesOf(changes)));
  if (onlyOld.length > 0) print(`gone, and not compared: ${someOf(onlyOld)}`);
  if (onlyNew.length > 0) print(`new, and not compared: ${someOf(onlyNew)}`);
  const outcome =
    changes.length === 0
      ? 'no call changes'
      : `${count('allowed')} become allowed, ${count('denied')} become denied`;
  print(`${outcome} (${compared} decisions compared)`);
  if (isCut) complain(CUT);
}

export function addCompareCommands(policy: Command): void {
  addMeshOptions(policy.command('matrix'))
    .description('who may call what: every caller against every port')
    .addOption(
      new Option('-f, --files <path...>', 'files or folders of manifests').makeOptionMandatory(),
    )
    .option('--json', 'as JSON')
    .addHelpText('after', examples('weft policy matrix -f ./manifests'))
    .action(matrix);
  addMeshOptions(policy.command('diff'))
    .description('which calls become allowed or denied; exits 2 when some do')
    .argument('<old>', 'file or folder of manifests')
    .argument('<new>', 'another version of it')
    .option('-f, --files <path...>', 'manifests that belong to both: Pods, Services')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples(
        'weft policy diff ./manifests ./manifests-new',
        'weft policy diff old.yaml new.yaml -f ./cluster     # policies alone; Pods are in ./cluster',
      ),
    )
    .action(diff);
}
