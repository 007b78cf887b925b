// What a `when` key means, and whether it is asked of the request's target or of its source.
import { CLIENT_CERTIFICATE } from '../tls/client-facts.ts';
import { LOGIN_FILTER } from '../login/types.ts';
import { cidrOf, orPermissions, type CompiledTest, type CompileOptions } from './compile-parts.ts';
import { polar, sourcePrincipals } from './compile-source.ts';
import { claimMatcher, headerMatcher, textClaim, wildcardMatcher } from './compile-strings.ts';
import { JWT_FILTER, type Permission, type Principal, type ValueMatcher } from './rbac.ts';
import type { Condition, ConditionKey, SourceField } from './types.ts';

export type CompiledCondition =
  | { readonly on: 'permission'; readonly compiled: CompiledTest<Permission> }
  | { readonly on: 'principal'; readonly compiled: CompiledTest<Principal> };

/** Keys that say what a field of `from.source` says. */
const SOURCE_FIELD_BY_KEY: ReadonlyMap<ConditionKey['kind'], SourceField> = new Map([
  ['source.ip', 'ipBlocks'],
  ['remote.ip', 'remoteIpBlocks'],
  ['source.namespace', 'namespaces'],
  ['source.serviceAccount', 'serviceAccounts'],
  ['source.trustDomain', 'trustDomains'],
  ['source.principal', 'principals'],
  ['request.auth.principal', 'requestPrincipals'],
]);

const HTTP_ONLY: ReadonlySet<ConditionKey['kind']> = new Set([
  'header',
  'claim',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.basic.user',
]);

export function compileCondition(
  condition: Condition,
  namespace: string,
  options: CompileOptions,
): CompiledCondition {
  const { key, values, notValues } = condition;
  if (options.protocol === 'tcp' && HTTP_ONLY.has(key.kind)) {
    return { on: 'principal', compiled: { kind: 'http-only' } };
  }
  if (isOnTarget(key)) {
    const of = (value: string): Permission => targetPermission(key, value);
    return { on: 'permission', compiled: bothPolarities(values, notValues, of) };
  }
  const field = SOURCE_FIELD_BY_KEY.get(key.kind);
  const of = (value: string): readonly Principal[] =>
    field === undefined
      ? [requestPrincipalOf(key, value)]
      : sourcePrincipals(field, value, namespace, options);
  const tests = polar(values, notValues, of).flatMap((item) =>
    item.kind === 'test' ? [item.test] : [],
  );
  const [only, ...more] = tests;
  const test: Principal =
    only !== undefined && more.length === 0 ? only : { kind: 'and', ids: tests };
  return { on: 'principal', compiled: { kind: 'test', test } };
}

type TargetKey = Extract<ConditionKey, { readonly kind: unknown }> & {
  readonly kind: 'destination.ip' | 'destination.port' | 'connection.sni' | 'metadata';
};

const isOnTarget = (key: ConditionKey): key is TargetKey =>
  key.kind === 'destination.ip' ||
  key.kind === 'destination.port' ||
  key.kind === 'connection.sni' ||
  key.kind === 'metadata';

function targetPermission(key: TargetKey, value: string): Permission {
  switch (key.kind) {
    case 'destination.ip':
      return { kind: 'destinationIp', cidr: cidrOf(value) };
    case 'destination.port':
      return { kind: 'destinationPort', port: Number(value) };
    case 'connection.sni':
      return { kind: 'requestedServerName', name: wildcardMatcher(value) };
    case 'metadata':
      return {
        kind: 'metadata',
        metadata: {
          filter: key.filter,
          path: [key.key],
          value: key.filter === CLIENT_CERTIFICATE ? claimMatcher(value) : metadataValue(value),
          invert: false,
        },
      };
    default:
      return key satisfies never;
  }
}

/** `[value]` asks whether a list has it, anything else compares the text. */
function metadataValue(value: string): ValueMatcher {
  if (!value.startsWith('[') || !value.endsWith(']')) return textClaim(value);
  return { kind: 'list', oneOf: textClaim(value.slice(1, -1)) };
}

function bothPolarities(
  values: readonly string[],
  notValues: readonly string[],
  of: (value: string) => Permission,
): CompiledTest<Permission> {
  const rules: Permission[] = [];
  if (values.length > 0) rules.push(orPermissions(values.map(of)));
  if (notValues.length > 0) rules.push({ kind: 'not', rule: orPermissions(notValues.map(of)) });
  const [only, ...more] = rules;
  const test: Permission = only !== undefined && more.length === 0 ? only : { kind: 'and', rules };
  return { kind: 'test', test };
}

function requestPrincipalOf(key: ConditionKey, value: string): Principal {
  if (key.kind === 'header') return { kind: 'header', header: headerMatcher(key.name, value) };
  if (key.kind === 'request.auth.basic.user') {
    const user = { filter: LOGIN_FILTER, path: ['user'], value: textClaim(value), invert: false };
    return { kind: 'metadata', metadata: user };
  }
  return {
    kind: 'metadata',
    metadata: {
      filter: JWT_FILTER,
      path: ['payload', ...claimPath(key)],
      value: claimMatcher(value),
      invert: false,
    },
  };
}

function claimPath(key: ConditionKey): readonly string[] {
  if (key.kind === 'claim') return key.path;
  return [key.kind === 'request.auth.audiences' ? 'aud' : 'azp'];
}
