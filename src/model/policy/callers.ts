// Lists who may come as a caller: the identities of the mesh, those that policies name, anybody else, and plaintext.
import { parseSpiffeId } from '../identity.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { ANY_OTHER } from './representatives.ts';
import type { AuthorizationPolicy } from './types.ts';

export interface Caller {
  /** `shop/web`, `any other of shop`, `plaintext`. */
  readonly shown: string;
  /** `TD/ns/NS/sa/SA`; null for plaintext. */
  readonly principal: string | null;
}

/** More identities are not tried against each other. */
export const MAX_CALLERS = 500;

const PLAINTEXT: Caller = { shown: 'plaintext', principal: null };

/** In the order of their names; the general ones last. */
export function listCallers(
  meshes: readonly Mesh[],
  policies: readonly AuthorizationPolicy[],
): readonly Caller[] {
  const [mesh] = meshes;
  if (mesh === undefined) return [PLAINTEXT];
  const { trustDomain } = mesh.settings;
  const found = new Map<string, Caller>();
  const add = (namespace: string, account: string, domain: string = trustDomain): void => {
    const principal = `${domain}/ns/${namespace}/sa/${account}`;
    if (parseSpiffeId(`spiffe://${principal}`) === undefined) return;
    const name = account === ANY_OTHER ? `any other of ${namespace}` : `${namespace}/${account}`;
    const own = domain === trustDomain ? name : principal;
    found.set(principal, { principal, shown: own });
  };
  for (const { workloads } of meshes) {
    for (const { identity, isInMesh, namespace, serviceAccount } of workloads.values()) {
      if (identity !== undefined && isInMesh) add(namespace, serviceAccount);
    }
  }
  for (const { policy, field, value } of namedCallers(policies)) {
    const parts = value.split('/');
    const [first = '', second] = parts;
    if (field === 'namespaces') add(value, ANY_OTHER);
    else if (field === 'serviceAccounts')
      add(second === undefined ? policy.namespace : first, second ?? first);
    else if (parts.length === 5) {
      const [domain = '', , namespace = '', , account = ''] = parts;
      const isOwn = domain === '*' || domain === 'cluster.local';
      add(namespace, account.includes('*') ? ANY_OTHER : account, isOwn ? trustDomain : domain);
    }
  }
  const sorted = [...found.values()].sort((a, b) => (a.shown < b.shown ? -1 : 1));
  const other = `${trustDomain}/ns/${ANY_OTHER}/sa/${ANY_OTHER}`;
  return [
    ...sorted.slice(0, MAX_CALLERS),
    { shown: 'any other identity', principal: other },
    PLAINTEXT,
  ];
}

type CallerField = 'principals' | 'namespaces' | 'serviceAccounts';

const FIELDS: ReadonlyMap<string, CallerField> = new Map([
  ['principals', 'principals'],
  ['namespaces', 'namespaces'],
  ['serviceAccounts', 'serviceAccounts'],
  ['source.principal', 'principals'],
  ['source.namespace', 'namespaces'],
  ['source.serviceAccount', 'serviceAccounts'],
]);

function* namedCallers(policies: readonly AuthorizationPolicy[]): Iterable<{
  readonly policy: AuthorizationPolicy;
  readonly field: CallerField;
  readonly value: string;
}> {
  for (const policy of policies) {
    for (const rule of policy.rules ?? []) {
      const conditions = rule.when.map((one) => ({ ...one, field: one.key.kind }));
      for (const { field, values, notValues } of [...(rule.from ?? []).flat(), ...conditions]) {
        const known = FIELDS.get(field);
        if (known === undefined) continue;
        for (const value of [...values, ...notValues]) yield { policy, field: known, value };
      }
    }
  }
}
