// Decides which credentials a workload is granted: by its own namespace's bindings, its service account and its labels. Pure.
import { matchesLabels } from '../policy/select.ts';
import { type CredentialBinding, type CredentialSpec, MAX_CREDENTIALS } from './types.ts';

/** What of a workload bindings look at. */
export interface GrantedWorkload {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: ReadonlyMap<string, string>;
}

/** One credential of one workload. */
export interface Grant {
  readonly binding: CredentialBinding;
  readonly credential: CredentialSpec;
}

export interface Grants {
  /** By the credential's name. */
  readonly byName: ReadonlyMap<string, Grant>;
  /** Those that are not granted by this binding, for the name is taken, or too many are. */
  readonly refused: readonly (Grant & { readonly reason: 'name-taken' | 'too-many' })[];
}

export const selectsWorkload = (
  { namespace, serviceAccounts, selector }: CredentialBinding,
  workload: GrantedWorkload,
): boolean =>
  namespace === workload.namespace &&
  serviceAccounts.includes(workload.serviceAccount) &&
  matchesLabels(selector, workload.labels);

/** The same for equal ones: the parser writes their fields in one order. */
export const credentialText = (credential: CredentialSpec): string => JSON.stringify(credential);

/**
 * Of several that give one name the oldest holds, then the first by name: whoever comes later takes nothing away from a
 * workload that counts on it. Equal ones do not clash.
 */
export function grantsOf(
  bindings: readonly CredentialBinding[],
  workload: GrantedWorkload,
): Grants {
  const byName = new Map<string, Grant>();
  const refused: Grants['refused'][number][] = [];
  for (const binding of bindings.toSorted(byAge)) {
    if (!selectsWorkload(binding, workload)) continue;
    for (const credential of binding.credentials) {
      const holder = byName.get(credential.name);
      if (holder === undefined && byName.size >= MAX_CREDENTIALS) {
        refused.push({ binding, credential, reason: 'too-many' });
      } else if (holder === undefined) byName.set(credential.name, { binding, credential });
      else if (credentialText(holder.credential) !== credentialText(credential)) {
        refused.push({ binding, credential, reason: 'name-taken' });
      }
    }
  }
  return { byName, refused };
}

const byAge = (a: CredentialBinding, b: CredentialBinding): number =>
  a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
