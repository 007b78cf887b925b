// What the fields of `from.source` mean: peers by identity, by token and by address.
import { cidrOf, orPrincipals, type CompiledTest, type CompileOptions } from './compile-parts.ts';
import {
  namespaceMatcher,
  principalMatcher,
  serviceAccountMatchers,
  textClaim,
  trustDomainMatcher,
} from './compile-strings.ts';
import { JWT_FILTER, type Principal, type StringMatcher } from './rbac.ts';
import { expandPrincipal, expandTrustDomain } from './trust-domain.ts';
import type { Source, SourceField } from './types.ts';

export function compileSource(
  source: Source,
  namespace: string,
  options: CompileOptions,
): readonly CompiledTest<Principal>[] {
  return source.flatMap(({ field, values, notValues }) => {
    if (field === 'requestPrincipals' && options.protocol === 'tcp')
      return [{ kind: 'http-only' as const }];
    const of = (value: string): readonly Principal[] =>
      sourcePrincipals(field, value, namespace, options);
    return polar(values, notValues, of);
  });
}

/** The tests of a list of values and of its negative twin; both must hold. */
export function polar(
  values: readonly string[],
  notValues: readonly string[],
  of: (value: string) => readonly Principal[],
): readonly CompiledTest<Principal>[] {
  const tests: CompiledTest<Principal>[] = [];
  if (values.length > 0) tests.push({ kind: 'test', test: orPrincipals(values.flatMap(of)) });
  if (notValues.length > 0) {
    tests.push({ kind: 'test', test: { kind: 'not', id: orPrincipals(notValues.flatMap(of)) } });
  }
  return tests;
}

const authenticated = (name: StringMatcher): Principal => ({ kind: 'authenticated', name });

/**
 * Where other trust domains are believed, a namespace or an account is the mesh's own: theirs of the same name is
 * somebody else. Without any the pattern is enough, as nobody else gets as far as the rules.
 */
function ofMesh(id: Principal, options: CompileOptions): Principal {
  const { trustDomain, trustDomainAliases, federatedTrustDomains = [] } = options;
  if (federatedTrustDomains.length === 0) return id;
  const own = [trustDomain, ...trustDomainAliases].map((name) =>
    authenticated(trustDomainMatcher(name)),
  );
  return { kind: 'and', ids: [id, orPrincipals(own)] };
}

export function sourcePrincipals(
  field: SourceField,
  value: string,
  namespace: string,
  options: CompileOptions,
): readonly Principal[] {
  switch (field) {
    case 'principals':
      return expandPrincipal(value, options).map((item) => authenticated(principalMatcher(item)));
    case 'namespaces':
      return [ofMesh(authenticated(namespaceMatcher(value)), options)];
    case 'serviceAccounts':
      return serviceAccountMatchers(value, namespace).map((name) =>
        ofMesh(authenticated(name), options),
      );
    case 'trustDomains':
      return expandTrustDomain(value, options).map((item) =>
        authenticated(trustDomainMatcher(item)),
      );
    case 'ipBlocks':
      return [{ kind: 'directRemoteIp', cidr: cidrOf(value) }];
    case 'remoteIpBlocks':
      return [{ kind: 'remoteIp', cidr: cidrOf(value) }];
    case 'requestPrincipals':
      return [requestPrincipal(value)];
    default:
      return field satisfies never;
  }
}

/** `ISSUER/SUBJECT`, split at the last slash; a star at either end belongs to the part it stands in. */
export function requestPrincipal(value: string): Principal {
  if (value === '*') return claims('*', '*');
  const slash = value.lastIndexOf('/');
  if (slash === -1) {
    if (value.startsWith('*')) return claims('*', value);
    return value.endsWith('*') ? claims(value, '*') : claims(value, '');
  }
  return claims(value.slice(0, slash), value.slice(slash + 1));
}

function claims(issuer: string, subject: string): Principal {
  const claim = (name: string, text: string): Principal => ({
    kind: 'metadata',
    metadata: {
      filter: JWT_FILTER,
      path: ['payload', name],
      value: textClaim(text),
      invert: false,
    },
  });
  return { kind: 'and', ids: [claim('iss', issuer), claim('sub', subject)] };
}
