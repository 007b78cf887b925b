// RBAC rules on the wire: what a proxy enforces, read so strictly that nothing it would not enforce gets past.
import type { Permission, Principal, RbacPolicy, RbacRules } from '@weft/model/policy/rbac';
import type { PlainMessage } from '../registry.ts';
import {
  type Fields,
  flag,
  integer,
  message,
  messageMap,
  messages,
  missing,
  oneOf,
  type Read,
  report,
  requiredMessage,
  choose,
} from './fields.ts';
import {
  encodeCidr,
  encodeHeaderMatcher,
  encodeMetadataMatcher,
  MAX_PORT,
  readCidr,
  readHeaderMatcher,
  readMetadataMatcher,
} from './request-match.ts';
import { encodeStringMatcher, readStringMatcher } from './string-match.ts';
import { encodeUriTemplate, readUriTemplate } from './uri-template.ts';

/** Levels of and, or and not: far beyond what any policy compiles to, and safe for every recursion over it. */
export const MAX_RBAC_DEPTH = 32;

/** `tcp` rules may not ask for anything of a request: Envoy refuses them, and a TCP proxy could never match them. */
export type RbacLayer = 'http' | 'tcp';

/** @throws {TypeError} when two policies share a name: on the wire one would replace the other. */
export function encodeRbac(rules: RbacRules): PlainMessage {
  const sorted = [...rules.policies].sort((a, b) => (a.name < b.name ? -1 : 1));
  const policies: Record<string, PlainMessage> = Object.create(null);
  for (const policy of sorted) {
    if (policy.name === '' || policies[policy.name] !== undefined)
      throw new TypeError(
        `Cannot encode RBAC rules: the policy name "${policy.name}" is not unique`,
      );
    policies[policy.name] = encodePolicy(policy);
  }
  return { action: rules.action, policies };
}

function encodePolicy({ name, permissions, principals }: RbacPolicy): PlainMessage {
  if (permissions.length === 0 || principals.length === 0)
    throw new TypeError(
      `Cannot encode RBAC policy ${name}: it has no permissions or no principals`,
    );
  return {
    permissions: permissions.map((permission) => encodePermission(permission, 1)),
    principals: principals.map((principal) => encodePrincipal(principal, 1)),
  };
}

function checkDepth(depth: number): void {
  if (depth > MAX_RBAC_DEPTH)
    throw new RangeError(`Cannot encode RBAC rules: they are nested deeper than ${MAX_RBAC_DEPTH}`);
}

function checkSet(set: readonly unknown[]): void {
  if (set.length === 0) throw new TypeError('Cannot encode RBAC rules: an and or or of nothing');
}

function encodePermission(permission: Permission, depth: number): PlainMessage {
  checkDepth(depth);
  switch (permission.kind) {
    case 'any':
      return { any: true };
    case 'and':
    case 'or':
      checkSet(permission.rules);
      return {
        [`${permission.kind}_rules`]: {
          rules: permission.rules.map((rule) => encodePermission(rule, depth + 1)),
        },
      };
    case 'not':
      return { not_rule: encodePermission(permission.rule, depth + 1) };
    case 'header':
      return { header: encodeHeaderMatcher(permission.header) };
    case 'urlPath':
      return { url_path: { path: encodeStringMatcher(permission.path) } };
    case 'uriTemplate':
      return { uri_template: encodeUriTemplate(permission.template) };
    case 'destinationIp':
      return { destination_ip: encodeCidr(permission.cidr) };
    case 'destinationPort':
      return { destination_port: permission.port };
    case 'requestedServerName':
      return { requested_server_name: encodeStringMatcher(permission.name) };
    case 'metadata':
      return { metadata: encodeMetadataMatcher(permission.metadata) };
    default:
      return permission satisfies never;
  }
}

function encodePrincipal(principal: Principal, depth: number): PlainMessage {
  checkDepth(depth);
  switch (principal.kind) {
    case 'any':
      return { any: true };
    case 'and':
    case 'or':
      checkSet(principal.ids);
      return {
        [`${principal.kind}_ids`]: {
          ids: principal.ids.map((id) => encodePrincipal(id, depth + 1)),
        },
      };
    case 'not':
      return { not_id: encodePrincipal(principal.id, depth + 1) };
    case 'authenticated':
      return {
        authenticated:
          principal.name === undefined
            ? {}
            : { principal_name: encodeStringMatcher(principal.name) },
      };
    case 'directRemoteIp':
      return { direct_remote_ip: encodeCidr(principal.cidr) };
    case 'remoteIp':
      return { remote_ip: encodeCidr(principal.cidr) };
    case 'header':
      return { header: encodeHeaderMatcher(principal.header) };
    case 'urlPath':
      return { url_path: { path: encodeStringMatcher(principal.path) } };
    case 'metadata':
      return { metadata: encodeMetadataMatcher(principal.metadata) };
    default:
      return principal satisfies never;
  }
}

/** Policies come back sorted by name, as they are written. */
export function readRbac(fields: Fields, layer: RbacLayer): RbacRules | undefined {
  const action = choose(fields, 'action', {
    '': 'ALLOW',
    ALLOW: 'ALLOW',
    DENY: 'DENY',
    LOG: 'LOG',
  } as const);
  const policies = messageMap(fields, 'policies', (policy) => readPolicy(policy, layer));
  if (policies.has('')) report(fields, 'policies', 'missing', 'has a policy without a name');
  if (action === undefined) return undefined;
  const named = [...policies].map(([name, policy]): RbacPolicy => ({ name, ...policy }));
  return { action, policies: named.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

function readPolicy(fields: Fields, layer: RbacLayer): Omit<RbacPolicy, 'name'> {
  const permissions = nonEmptyList(fields, 'permissions', (permission) =>
    readPermission(permission, layer, 1),
  );
  const principals = nonEmptyList(fields, 'principals', (principal) =>
    readPrincipal(principal, layer, 1),
  );
  return { permissions, principals };
}

function nonEmptyList<T>(fields: Fields, name: string, read: Read<T>): readonly T[] {
  if (!fields.byName.has(name)) missing(fields, name);
  return messages(fields, name, read);
}

/** The kinds of rule that look at a request, and so mean nothing on a TCP connection. */
const REQUEST_RULES: ReadonlySet<string> = new Set(['header', 'url_path', 'uri_template']);

/** Which kind of rule is set, unless it must not be there. */
function ruleKind(
  fields: Fields,
  oneof: string,
  at: { readonly layer: RbacLayer; readonly depth: number },
): string | undefined {
  if (at.depth > MAX_RBAC_DEPTH) {
    fields.byName.clear();
    return report(fields, '', 'too-deep', `is nested deeper than ${MAX_RBAC_DEPTH}`);
  }
  const kind = oneOf(fields, oneof);
  if (kind !== undefined && at.layer === 'tcp' && REQUEST_RULES.has(kind))
    report(fields, kind, 'not-supported', 'matches requests, in a filter for TCP connections');
  return kind;
}

/** `any: false` is no rule that Envoy takes; it must not be read as `true`, nor as absent. */
function readAnyRule(fields: Fields): { readonly kind: 'any' } | undefined {
  return flag(fields, 'any') ? { kind: 'any' } : report(fields, 'any', 'out-of-range', 'is false');
}

function readPermission(fields: Fields, layer: RbacLayer, depth: number): Permission | undefined {
  const kind = ruleKind(fields, 'rule', { layer, depth });
  const below: Read<Permission> = (rule) => readPermission(rule, layer, depth + 1);
  switch (kind) {
    case 'any':
      return readAnyRule(fields);
    case 'and_rules':
    case 'or_rules':
      return map(
        message(fields, kind, (set) => nonEmptyList(set, 'rules', below)),
        (rules) => ({ kind: kind === 'and_rules' ? 'and' : 'or', rules }),
      );
    case 'not_rule':
      return map(message(fields, kind, below), (rule) => ({ kind: 'not', rule }));
    case 'header':
      return map(message(fields, kind, readHeaderMatcher), (header) => ({ kind, header }));
    case 'url_path':
      return map(message(fields, kind, readPath), (path) => ({ kind: 'urlPath', path }));
    case 'uri_template':
      return map(message(fields, kind, readUriTemplate), (template) => ({
        kind: 'uriTemplate',
        template,
      }));
    case 'destination_ip':
      return map(message(fields, kind, readCidr), (cidr) => ({ kind: 'destinationIp', cidr }));
    case 'destination_port':
      return { kind: 'destinationPort', port: integer(fields, kind, MAX_PORT) };
    case 'requested_server_name':
      return map(message(fields, kind, readStringMatcher), (name) => ({
        kind: 'requestedServerName',
        name,
      }));
    case 'metadata':
      return map(message(fields, kind, readMetadataMatcher), (metadata) => ({ kind, metadata }));
    default:
      return undefined;
  }
}

function readPrincipal(fields: Fields, layer: RbacLayer, depth: number): Principal | undefined {
  const kind = ruleKind(fields, 'identifier', { layer, depth });
  const below: Read<Principal> = (id) => readPrincipal(id, layer, depth + 1);
  switch (kind) {
    case 'any':
      return readAnyRule(fields);
    case 'and_ids':
    case 'or_ids':
      return map(
        message(fields, kind, (set) => nonEmptyList(set, 'ids', below)),
        (ids) => ({ kind: kind === 'and_ids' ? 'and' : 'or', ids }),
      );
    case 'not_id':
      return map(message(fields, kind, below), (id) => ({ kind: 'not', id }));
    case 'authenticated':
      return message(fields, kind, readAuthenticated);
    case 'direct_remote_ip':
      return map(message(fields, kind, readCidr), (cidr) => ({ kind: 'directRemoteIp', cidr }));
    case 'remote_ip':
      return map(message(fields, kind, readCidr), (cidr) => ({ kind: 'remoteIp', cidr }));
    case 'header':
      return map(message(fields, kind, readHeaderMatcher), (header) => ({ kind, header }));
    case 'url_path':
      return map(message(fields, kind, readPath), (path) => ({ kind: 'urlPath', path }));
    case 'metadata':
      return map(message(fields, kind, readMetadataMatcher), (metadata) => ({ kind, metadata }));
    default:
      return undefined;
  }
}

/** The one shape in which no value has been reported already. */
function map<T, U>(value: T | undefined, then: (value: T) => U): U | undefined {
  return value === undefined ? undefined : then(value);
}

const readPath: Read<Extract<Permission, { kind: 'urlPath' }>['path']> = (fields) =>
  requiredMessage(fields, 'path', readStringMatcher);

const readAuthenticated: Read<Principal> = (fields) => {
  if (!fields.byName.has('principal_name')) return { kind: 'authenticated' };
  const name = message(fields, 'principal_name', readStringMatcher);
  return map(name, () => ({ kind: 'authenticated', ...(name && { name }) }));
};
