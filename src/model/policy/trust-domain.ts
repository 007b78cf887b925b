// Trust-domain aliases: a principal or trust domain written with one name of the mesh means all of its names.

interface TrustDomains {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
}

/** Istio's former default: principals written with it mean the mesh's own, whatever that is called. */
const LEGACY = 'cluster.local';

const namesOf = (options: TrustDomains): readonly string[] => [
  ...new Set([options.trustDomain, ...options.trustDomainAliases]),
];

/**
 * Expands `TD/ns/NS/sa/SA`. Other forms and `*` alone as the trust domain stay as they are. With a star at an end of
 * the trust domain it stays for the names that it matches and is replaced for the others.
 * Source: Istio's `trustdomain/bundle.go`.
 */
export function expandPrincipal(value: string, options: TrustDomains): readonly string[] {
  const parts = value.split('/');
  const [trustDomain = ''] = parts;
  if (parts.length !== 5 || trustDomain === '*') return [value];
  const names = namesOf(options);
  const rest = value.slice(trustDomain.length);
  if (trustDomain.includes('*')) {
    if (!names.some((name) => matches(trustDomain, name))) return [value];
    return [...new Set(names.map((name) => (matches(trustDomain, name) ? value : name + rest)))];
  }
  if (trustDomain !== LEGACY && !names.includes(trustDomain)) return [value];
  return names.map((name) => name + rest);
}

/** A `trustDomains` value that is one of the mesh's names means them all. */
export function expandTrustDomain(value: string, options: TrustDomains): readonly string[] {
  const names = namesOf(options);
  return names.includes(value) ? names : [value];
}

function matches(pattern: string, name: string): boolean {
  if (pattern.startsWith('*')) return name.endsWith(pattern.slice(1));
  if (pattern.endsWith('*')) return name.startsWith(pattern.slice(0, -1));
  return pattern === name;
}
