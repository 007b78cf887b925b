// Says in which fields an object is changed, for an operator who looks before an upgrade.
import type { KubeObject } from '@weft/kube/kube-api';
import { isPlainObject } from '@weft/model/policy/reader';

/** Written by the API server with every change. */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  'metadata.managedFields',
  'metadata.resourceVersion',
  'metadata.generation',
]);
const MAX_VALUE = 60;

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
};

/** Lists of named things (containers, ports, webhooks) are compared by name: one that is put first changes no other. */
function keyed(list: readonly unknown[]): Readonly<Record<string, unknown>> {
  const names = list.map((item) =>
    isPlainObject(item) && typeof item['name'] === 'string' ? item['name'] : undefined,
  );
  const isNamed = !names.includes(undefined) && new Set(names).size === list.length;
  return Object.fromEntries(list.map((item, index) => [(isNamed && names[index]) || index, item]));
}

/** `spec.replicas: 1 -> 3`, one line a field. */
export function changedFields(before: KubeObject, after: KubeObject): readonly string[] {
  const lines: string[] = [];
  const compare = (was: unknown, is: unknown, path: string): void => {
    if (BOOKKEEPING.has(path)) return;
    if (isPlainObject(was) && isPlainObject(is)) {
      for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
        compare(was[key], is[key], path === '' ? key : `${path}.${key}`);
      }
    } else if (Array.isArray(was) && Array.isArray(is)) {
      const isPlain = [...was, ...is].every((item) => !isPlainObject(item));
      if (!isPlain) compare(keyed(was), keyed(is), path);
      else if (JSON.stringify(was) !== JSON.stringify(is)) {
        lines.push(...changedItems(was, is, path));
      }
    } else if (was !== is) {
      lines.push(`${path}: ${shown(was)} -> ${shown(is)}`);
    }
  };
  compare(before, after, '');
  return lines;
}

/** Of arguments, verbs, names: what comes and what goes. */
function changedItems(
  was: readonly unknown[],
  is: readonly unknown[],
  path: string,
): readonly string[] {
  const gone = was.filter((item) => !is.includes(item)).map((item) => `- ${shown(item)}`);
  const come = is.filter((item) => !was.includes(item)).map((item) => `+ ${shown(item)}`);
  const lines = [...gone, ...come].map((line) => `${path}: ${line}`);
  return lines.length === 0 ? [`${path}: another order`] : lines;
}
