// Decides which BasicAuthentication holds for a workload, and closes it where two would contradict each other.
import type { BrokenPolicy } from '../policy/compile.ts';
import { selects, type WorkloadRef } from '../policy/select.ts';
import type { Problem } from '../problem.ts';
import type { UserList } from './htpasswd.ts';
import type { BasicAuthentication, UserSource, WorkloadLogin } from './types.ts';

/** By {@link placeOfUsers}; what is not in it is not known. */
export type FetchedUsers = ReadonlyMap<string, UserList>;

export const NO_USERS: FetchedUsers = new Map();

/** `NAMESPACE/SECRET/KEY`. */
export const placeOfUsers = (namespace: string, { secret, key }: UserSource): string =>
  `${namespace}/${secret}/${key}`;

export interface ComposedLogin {
  readonly login: WorkloadLogin | undefined;
  /** What closes the workload in its place. */
  readonly broken: readonly BrokenPolicy[];
  readonly problems: readonly Problem[];
}

const NOTHING: ComposedLogin = { login: undefined, broken: [], problems: [] };

/**
 * The nearest holds: one with a selector, then one of the namespace, then one of the root namespace. Two at the same
 * distance close the workload: each would let in whom the other does not.
 */
export function composeLogin(
  policies: readonly BasicAuthentication[],
  workload: WorkloadRef,
  options: { readonly rootNamespace: string; readonly users: FetchedUsers },
): ComposedLogin {
  const { rootNamespace, users } = options;
  const selected = policies.filter((policy) => selects(policy, workload, rootNamespace));
  if (selected.length === 0) return NOTHING;
  const nearest = Math.min(...selected.map((policy) => distanceOf(policy, workload)));
  const [policy, ...rivals] = selected.filter((one) => distanceOf(one, workload) === nearest);
  if (policy === undefined) return NOTHING;
  if (rivals.length > 0) {
    const all = [policy, ...rivals];
    const broken = all.map(({ namespace, name }) => ({ namespace, name, action: undefined }));
    return { login: undefined, broken, problems: all.map(contradicts) };
  }
  const list = users.get(placeOfUsers(policy.namespace, policy.users));
  const object = objectOf(policy);
  const problems = (list?.problems ?? [notThere(policy)]).map((problem) => ({
    ...problem,
    field: 'spec.users',
    object,
  }));
  const { realm, exemptPaths, keepsCredential, userHeader, allowsPlaintext } = policy;
  const login: WorkloadLogin = {
    source: `${policy.namespace}/${policy.name}`,
    users: list?.users ?? [],
    realm,
    exemptPaths,
    keepsCredential,
    ...(userHeader !== undefined && { userHeader }),
    allowsPlaintext,
  };
  return { login, broken: [], problems };
}

const objectOf = ({ namespace, name }: BasicAuthentication) =>
  ({ kind: 'BasicAuthentication', namespace, name }) as const;

function distanceOf({ namespace, selector }: BasicAuthentication, workload: WorkloadRef): number {
  const isOwn = namespace === workload.namespace;
  return (isOwn ? 0 : 2) + (selector === undefined ? 1 : 0);
}

const contradicts = (policy: BasicAuthentication): Problem => ({
  severity: 'error',
  code: 'several-logins',
  message: 'is one of several of the same scope: the workloads that they select are closed',
  cure: 'keep one of them, or give them selectors that select different workloads',
  object: objectOf(policy),
});

const notThere = ({ users }: BasicAuthentication): Problem => ({
  severity: 'error',
  code: 'no-users',
  message: `has no users: the Secret ${users.secret} with the key ${users.key} is not there or cannot be read`,
  cure: 'make it: kubectl create secret generic NAME --from-file=auth=USERS-FILE',
});
