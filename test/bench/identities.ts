// Issues certificates from the CA that the measured control plane will open: peers are given the same trust as Weft's own.
import { openAuthority } from '@weft/ca/authority';
import { toPem } from '@weft/ca/sign';
import { openFileStore } from '@weft/ca/store/file';
import { createKeyAndRequest } from '@weft/dataplane/enrol/csr';
import { parseTrustDomain } from '@weft/model/identity';

export const TRUST_DOMAIN = 'cluster.local';
/** A whole run, and whatever is looked at by hand after it. */
const LIFE_MS = 6 * 3_600_000;

export interface Credential {
  readonly spiffeId: string;
  readonly keyPem: string;
  readonly chainPem: string;
}

export interface Identities {
  readonly bundlePem: string;
  readonly byAccount: ReadonlyMap<string, Credential>;
}

/** @param options.accounts service accounts. The state directory must not be in use: call it before the control plane starts. */
export async function issueIdentities(options: {
  readonly stateDir: string;
  readonly namespace: string;
  readonly accounts: readonly string[];
}): Promise<Identities> {
  const { stateDir, namespace, accounts } = options;
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  await using store = await openFileStore({ stateDir });
  await using authority = await openAuthority({ store, trustDomain, svidTtlMs: LIFE_MS });
  const byAccount = new Map<string, Credential>();
  for (const serviceAccount of accounts) {
    const { csrDer, keyPem } = await createKeyAndRequest();
    const issued = authority.issue(csrDer, { namespace, serviceAccount }, 'benchmark', 'local');
    if (!issued.ok) throw new Error(`Cannot give ${serviceAccount} a name: ${issued.reason}`);
    const chainPem = issued.svid.chainDer.map(toPem).join('');
    byAccount.set(serviceAccount, { spiffeId: issued.svid.spiffeId, keyPem, chainPem });
  }
  return { bundlePem: authority.bundle().pem, byAccount };
}

export function credentialOf(identities: Identities, account: string): Credential {
  const found = identities.byAccount.get(account);
  if (found === undefined) throw new RangeError(`Cannot find the certificate of ${account}`);
  return found;
}
