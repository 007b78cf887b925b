// Kinds of a cluster that are being deleted: that they are gone, also where the API server itself would never let them.
import assert from 'node:assert/strict';
import type { KubectlEnd } from './kubelab.ts';
import { eventually } from './lab-wait.ts';

type Kubectl = (...args: readonly string[]) => Promise<KubectlEnd>;

const COLUMNS =
  'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[*].message}{"\\n"}{end}';
const LET_GO = ['--type=merge', '-p', '{"metadata":{"finalizers":null}}'];

/**
 * Sometimes the API server's own storage of a kind never begins anew once the kind is being deleted, and the kind then
 * waits for good to be emptied. Such ones are let go.
 */
export async function areGone(
  kubectl: Kubectl,
  isMeant: (name: string) => boolean,
): Promise<boolean> {
  const { stdout } = await kubectl('get', 'crd', '-o', COLUMNS);
  const left = stdout
    .split('\n')
    .map((line) => ({ line, name: line.split(' ', 1)[0] ?? '' }))
    .filter(({ name }) => isMeant(name));
  for (const { line, name } of left) {
    if (line.includes('storage is (re)initializing'))
      await kubectl('patch', 'crd', name, ...LET_GO);
  }
  return left.length === 0;
}

/** Deletes a kind with all its objects, and waits until it is gone. */
export async function deleteKind(kubectl: Kubectl, name: string): Promise<void> {
  const { code, stderr } = await kubectl('delete', 'crd', name, '--wait=false');
  assert.equal(code, 0, stderr);
  await eventually(() => areGone(kubectl, (one) => one === name), {
    what: `${name} gone`,
    withinMs: 60_000,
    everyMs: 200,
  });
}
