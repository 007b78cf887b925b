// Decides which FederatedTrustDomains hold: of the root namespace, of nobody's name but their own, and one for each trust domain.
import type { TrustDomain } from '@weft/model/identity';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import type { Problem } from '@weft/model/problem';
import { compareTexts } from './compare-texts.ts';

/** Every proxy is sent the roots of all of them. */
export const MAX_FEDERATIONS = 32;
/** Policies that name it mean the mesh's own trust domain, whatever that is called. */
const OWN_BY_TRADITION = 'cluster.local';

interface Mesh {
  readonly trustDomain: TrustDomain;
  readonly aliases: readonly TrustDomain[];
  readonly rootNamespace: string;
}

export interface CompiledFederations {
  /** By trust domain. */
  readonly federations: readonly FederatedTrustDomain[];
  readonly problems: readonly Problem[];
}

type Flaw = readonly [code: string, message: string, cure: string];

/** Whatever is doubtful holds for nobody: a federation lets somebody in. */
export function compileFederations(
  objects: Iterable<FederatedTrustDomain>,
  mesh: Mesh,
): CompiledFederations {
  const all = [...objects].sort(
    (a, b) =>
      compareTexts(a.trustDomain, b.trustDomain) ||
      compareTexts(`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`),
  );
  const problems: Problem[] = [];
  const refuse = ({ namespace, name }: FederatedTrustDomain, flaw: Flaw): void => {
    const [code, message, cure] = flaw;
    const object = { kind: 'FederatedTrustDomain', namespace, name };
    problems.push({ severity: 'error', code, message, cure, object });
  };
  const sound = all.filter((one) => {
    const flaw = flawOf(one, mesh);
    if (flaw !== undefined) refuse(one, flaw);
    return flaw === undefined;
  });
  const counts = Map.groupBy(sound, ({ trustDomain }) => trustDomain);
  const single = sound.filter((one) => {
    const others = counts.get(one.trustDomain)?.length ?? 0;
    const message = `is one of ${others} for ${one.trustDomain}; none of them holds`;
    if (others > 1) refuse(one, ['several-federations', message, 'keep one of them']);
    return others === 1;
  });
  for (const one of single.slice(MAX_FEDERATIONS)) {
    const message = `is beyond the ${MAX_FEDERATIONS} that a mesh may have`;
    refuse(one, ['too-many-federations', message, 'federate with fewer trust domains']);
  }
  return { federations: single.slice(0, MAX_FEDERATIONS), problems };
}

function flawOf({ namespace, trustDomain }: FederatedTrustDomain, mesh: Mesh): Flaw | undefined {
  if (namespace !== mesh.rootNamespace) {
    const message = `is in the namespace ${namespace}, and holds in ${mesh.rootNamespace} alone`;
    return ['not-in-root-namespace', message, `move it to ${mesh.rootNamespace}`];
  }
  if (trustDomain === mesh.trustDomain) {
    const message = `${trustDomain} is the mesh's own trust domain: nobody else vouches for it`;
    return ['own-trust-domain', message, 'name the trust domain of the other mesh'];
  }
  if (mesh.aliases.includes(trustDomain)) {
    const message = `${trustDomain} is an alias of the mesh: its identities would pass for our own`;
    return ['own-trust-domain', message, 'remove it from trustDomainAliases of the MeshConfig'];
  }
  if (trustDomain === OWN_BY_TRADITION) {
    const message = `policies that name ${trustDomain} mean this mesh: nobody could tell them apart`;
    return ['own-trust-domain', message, 'give the other mesh a trust domain of its own'];
  }
  return undefined;
}
