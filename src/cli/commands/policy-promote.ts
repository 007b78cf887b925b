// `weft policy promote`: puts a policy on trial in force, once the sidecars say that it would refuse nobody who is let in today.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DRY_RUN_ANNOTATIONS } from '@weft/model/policy/parse-authorization-policy';
import { isPlainObject } from '@weft/model/policy/reader';
import { ruleNamePrefix } from '@weft/model/policy/rule-name';
import { InvalidArgumentError, type Command } from 'commander';
import { type Document, parseAllDocuments } from 'yaml';
import { askAdminJson, describeTarget } from '../admin-client.ts';
import { examples, print, table } from '../output.ts';
import { collect, type HostPort, parseHostPort } from '../parse.ts';

interface PromoteOptions {
  readonly file: string;
  readonly namespace: string;
  readonly admin: readonly HostPort[];
  readonly maxDenials: number;
  readonly minRequests: number;
}

interface Change {
  readonly source: string;
  readonly candidate: string;
  readonly reason: string;
  readonly rule: string | undefined;
  readonly count: number;
}

interface Trial {
  readonly rules: readonly { readonly action: string; readonly name: string }[];
  readonly judged: number;
  readonly changes: readonly Change[];
}

function parseCount(text: string): number {
  const count = Number(text);
  if (text === '' || !Number.isSafeInteger(count) || count < 0) {
    throw new InvalidArgumentError(`"${text}" is no count; write a whole number from 0`);
  }
  return count;
}

async function promote(name: string, options: PromoteOptions): Promise<void> {
  const { file, namespace, maxDenials, minRequests } = options;
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`Cannot promote ${name}: ${file} cannot be read`, { cause });
  });
  const promoted = withoutDryRun(text, { name, namespace, file });
  const prefix = ruleNamePrefix({ namespace, name });
  let judged = 0;
  const denials: Change[] = [];
  for (const target of options.admin) {
    const trial = readTrial(await askAdminJson(target, '/dry-run'), describeTarget(target));
    const own = trial.rules.filter((rule) => rule.name.startsWith(prefix));
    if (own.length === 0) {
      throw new Error(
        `Cannot promote ${name}: the sidecar at ${describeTarget(target)} does not try it; ask one that it selects`,
      );
    }
    judged += trial.judged;
    const isAllow = own.some(({ action }) => action === 'ALLOW');
    denials.push(...trial.changes.filter((change) => isDueTo(change, prefix, isAllow)));
  }
  const count = denials.reduce((sum, denial) => sum + denial.count, 0);
  if (count > maxDenials) {
    print(
      table([
        ['CALLER', 'REQUESTS', 'WOULD BE DENIED BY'],
        ...denials.map((one) => [one.source, String(one.count), one.rule ?? 'no ALLOW rule']),
      ]),
    );
    throw new Error(
      `Cannot promote ${name}: ${count} of ${judged} requests that are allowed today would be denied, more than ${maxDenials}`,
    );
  }
  if (judged < minRequests) {
    throw new Error(
      `Cannot promote ${name}: only ${judged} requests were judged by it, fewer than ${minRequests}; wait for traffic or lower --min-requests`,
    );
  }
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}`);
  await writeFile(draft, promoted);
  await rename(draft, file);
  print(`${name} is in force from now on: ${judged} requests judged, ${count} newly denied`);
}

/** Of a refusal that no rule decides, every ALLOW on trial is a cause. */
const isDueTo = (change: Change, prefix: string, isAllow: boolean): boolean =>
  change.candidate === 'deny' &&
  (change.reason === 'no-allow-match'
    ? isAllow
    : change.rule === undefined || change.rule.startsWith(prefix) || change.rule === 'other');

/** @throws when it is no answer of a sidecar. */
function readTrial(value: unknown, where: string): Trial {
  const isTrial = (trial: unknown): trial is Trial =>
    isPlainObject(trial) &&
    Array.isArray(trial['rules']) &&
    typeof trial['judged'] === 'number' &&
    Array.isArray(trial['changes']);
  if (isTrial(value)) return value;
  throw new Error(`Cannot promote: ${where} is not the admin address of a sidecar`);
}

/**
 * The text without the annotation; everything else of the file stays as it is.
 * @throws when the policy is not there, or not on trial.
 */
function withoutDryRun(
  text: string,
  at: { readonly name: string; readonly namespace: string; readonly file: string },
): string {
  const documents = parseAllDocuments(text);
  const found = documents.filter((document) => isPolicy(document, at));
  const [document] = found;
  const what = `AuthorizationPolicy ${at.namespace}/${at.name}`;
  if (document === undefined || found.length > 1) {
    throw new Error(
      `Cannot promote ${at.name}: ${at.file} has ${document === undefined ? 'no' : `${found.length} times`} ${what}`,
    );
  }
  const path = ['metadata', 'annotations'];
  const keys = DRY_RUN_ANNOTATIONS.filter((key) => document.hasIn([...path, key]));
  if (keys.length === 0) {
    throw new Error(`Cannot promote ${at.name}: ${what} in ${at.file} is not on trial`);
  }
  for (const key of keys) document.deleteIn([...path, key]);
  const left: unknown = document.toJS();
  const metadata = isPlainObject(left) && isPlainObject(left['metadata']) ? left['metadata'] : {};
  const annotations = metadata['annotations'];
  if (!isPlainObject(annotations) || Object.keys(annotations).length === 0) document.deleteIn(path);
  const [start, , end] = document.range;
  // Its own separator stands before its range, unless it is the first.
  const own = document.toString({ directives: false });
  return `${text.slice(0, start)}${own}${text.slice(end)}`;
}

function isPolicy(
  document: Document.Parsed,
  { name, namespace }: { readonly name: string; readonly namespace: string },
): boolean {
  const value: unknown = document.errors.length > 0 ? undefined : document.toJS();
  if (!isPlainObject(value) || value['kind'] !== 'AuthorizationPolicy') return false;
  const metadata = isPlainObject(value['metadata']) ? value['metadata'] : {};
  return metadata['name'] === name && (metadata['namespace'] ?? 'default') === namespace;
}

const EXAMPLE =
  'weft policy promote web-callers -n shop -f policies.yaml --admin 127.0.1.1:15000 --admin 127.0.1.2:15000';

export function addPromoteCommand(policy: Command): void {
  policy
    .command('promote')
    .description('put a policy on trial in force, unless it would refuse who is let in today')
    .argument('<name>', 'the AuthorizationPolicy')
    .requiredOption('-f, --file <file>', 'the file it stands in; its dry-run annotation is removed')
    .requiredOption(
      '--admin <host:port>',
      'admin address of a sidecar that tries it; can be given many times',
      collect((text) => parseHostPort(text)),
    )
    .option('-n, --namespace <namespace>', 'of the policy', 'default')
    .option('--max-denials <count>', 'requests that it may newly refuse', parseCount, 0)
    .option('--min-requests <count>', 'requests that it must have judged', parseCount, 1)
    .addHelpText('after', examples(EXAMPLE))
    .action(promote);
}
