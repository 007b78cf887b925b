// Says the rules of a workload in what a gRPC server understands of RBAC; what it does not understand closes what it restricts.
import { LOGIN_FILTER } from '@weft/model/login/types';
import {
  type HeaderMatcher,
  type GlobPart,
  JWT_FILTER,
  type MetadataMatcher,
  type Permission,
  type Principal,
  type RbacPolicy,
  type RbacRules,
} from '@weft/model/policy/rbac';
import { CLIENT_CERTIFICATE } from '@weft/model/tls/client-facts';
import { isSeen, matchersOf } from './grpc-headers.ts';

export interface GrpcRuleOptions {
  /** What is read of a request besides what all libraries show to their rules. */
  readonly seesContentType: boolean;
  /** X-Forwarded-For is believed of so many proxies; gRPC knows the peer's address alone. */
  readonly trustedHops: number;
}

/** A rule that says what gRPC cannot judge: it allows less, or denies more, than it says. */
export interface ClosedRule {
  readonly name: string;
  /** What of it, each once: `the header te is not seen`. */
  readonly why: readonly string[];
}

export interface GrpcRules {
  readonly rules: RbacRules;
  readonly closed: readonly ClosedRule[];
}

/** What stands for a condition that cannot be judged: one that matches never in what allows, always in what denies. */
type Doubt = 'never' | 'always';

interface Reading extends GrpcRuleOptions {
  readonly doubt: Doubt;
  /** Called for each condition that cannot be judged. */
  readonly onDoubt: (why: string) => void;
}

const ALWAYS = { kind: 'any' } as const;
const NEVER_PERMISSION: Permission = { kind: 'not', rule: ALWAYS };
const NEVER_PRINCIPAL: Principal = { kind: 'not', id: ALWAYS };

/** Sources: gRFC A41, and what the libraries do where it leaves a choice. */
export function grpcRules(rules: RbacRules, options: GrpcRuleOptions): GrpcRules {
  const closed: ClosedRule[] = [];
  const doubt: Doubt = rules.action === 'DENY' ? 'always' : 'never';
  const policies = rules.policies.map((policy): RbacPolicy => {
    const doubts = new Set<string>();
    const reading = { ...options, doubt, onDoubt: (why) => void doubts.add(why) } satisfies Reading;
    const { name, permissions, principals } = policy;
    const read = {
      name,
      permissions: permissions.map((one) => permissionOf(one, reading)),
      principals: principals.map((one) => principalOf(one, reading)),
    };
    if (doubts.size > 0) closed.push({ name, why: [...doubts] });
    return read;
  });
  return { rules: { ...rules, policies }, closed };
}

/** Below a negation what may not match too often may not match too seldom. */
const negated = (reading: Reading): Reading => ({
  ...reading,
  doubt: reading.doubt === 'never' ? 'always' : 'never',
});

function doubtfulPermission({ doubt, onDoubt }: Reading, why: string): Permission {
  onDoubt(why);
  return doubt === 'always' ? ALWAYS : NEVER_PERMISSION;
}

function doubtfulPrincipal({ doubt, onDoubt }: Reading, why: string): Principal {
  onDoubt(why);
  return doubt === 'always' ? ALWAYS : NEVER_PRINCIPAL;
}

const PROXIED = 'clients behind proxies are not seen, for X-Forwarded-For is not read';

const unseen = ({ name }: HeaderMatcher): string => `the header ${name} is not seen`;

/** Nothing is written there by anybody. */
function unknownMetadata({ filter }: MetadataMatcher): string {
  switch (filter) {
    case JWT_FILTER:
      return 'tokens are not checked, and no claim is seen';
    case LOGIN_FILTER:
      return 'nobody logs in, and no user is seen';
    case CLIENT_CERTIFICATE:
      return 'the fields of client certificates are not seen';
    default:
      return 'metadata of filters is not seen';
  }
}

function permissionOf(permission: Permission, reading: Reading): Permission {
  switch (permission.kind) {
    case 'any':
    case 'urlPath':
    case 'destinationIp':
    case 'destinationPort':
      return permission;
    case 'and':
    case 'or':
      return { ...permission, rules: permission.rules.map((one) => permissionOf(one, reading)) };
    case 'not':
      return { kind: 'not', rule: permissionOf(permission.rule, negated(reading)) };
    case 'header': {
      const { header } = permission;
      if (header.invert) return { kind: 'not', rule: headerPermission(header, negated(reading)) };
      return headerPermission(header, reading);
    }
    case 'uriTemplate':
      return templateOf(permission.template, reading.doubt);
    // It is always empty there.
    case 'requestedServerName':
      return doubtfulPermission(reading, 'the server name of the handshake is not seen');
    case 'metadata':
      return doubtfulPermission(reading, unknownMetadata(permission.metadata));
    default:
      return permission satisfies never;
  }
}

function principalOf(principal: Principal, reading: Reading): Principal {
  switch (principal.kind) {
    case 'any':
    case 'authenticated':
    case 'directRemoteIp':
    case 'urlPath':
      return principal;
    case 'and':
    case 'or':
      return { ...principal, ids: principal.ids.map((one) => principalOf(one, reading)) };
    case 'not':
      return { kind: 'not', id: principalOf(principal.id, negated(reading)) };
    case 'remoteIp':
      return reading.trustedHops === 0 ? principal : doubtfulPrincipal(reading, PROXIED);
    case 'header': {
      const { header } = principal;
      if (header.invert) return { kind: 'not', id: headerPrincipal(header, negated(reading)) };
      return headerPrincipal(header, reading);
    }
    case 'metadata':
      return doubtfulPrincipal(reading, unknownMetadata(principal.metadata));
    default:
      return principal satisfies never;
  }
}

function headerPermission(header: HeaderMatcher, reading: Reading): Permission {
  if (!isSeen(header.name, reading)) return doubtfulPermission(reading, unseen(header));
  const rules = matchersOf(header, reading.doubt === 'always').map(
    (one): Permission => ({ kind: 'header', header: one }),
  );
  const [only] = rules;
  return rules.length === 1 && only !== undefined ? only : { kind: 'or', rules };
}

function headerPrincipal(header: HeaderMatcher, reading: Reading): Principal {
  if (!isSeen(header.name, reading)) return doubtfulPrincipal(reading, unseen(header));
  const ids = matchersOf(header, reading.doubt === 'always').map(
    (one): Principal => ({ kind: 'header', header: one }),
  );
  const [only] = ids;
  return ids.length === 1 && only !== undefined ? only : { kind: 'or', ids };
}

/** `{*}` is one segment of at least one byte: the wildcard for segments takes an empty one as well. */
function templateOf(template: string, doubt: Doubt): Permission {
  const glob: Permission = {
    kind: 'urlPath',
    path: { kind: 'glob', parts: partsOf(template) },
  };
  if (doubt === 'always' || !template.includes('{*}')) return glob;
  return {
    kind: 'and',
    rules: [
      glob,
      { kind: 'not', rule: { kind: 'urlPath', path: text('contains', '//') } },
      ...(template.endsWith('{*}')
        ? [{ kind: 'not', rule: { kind: 'urlPath', path: text('suffix', '/') } } as const]
        : []),
    ],
  };
}

const text = (kind: 'contains' | 'suffix', value: string) =>
  ({ kind, value, ignoreCase: false }) as const;

function partsOf(template: string): readonly GlobPart[] {
  const parts: GlobPart[] = [];
  let literal = '';
  const close = (): void => {
    if (literal !== '') parts.push({ kind: 'literal', text: literal });
    literal = '';
  };
  for (const [index, segment] of template.split('/').entries()) {
    if (index > 0) literal += '/';
    if (segment !== '{*}' && segment !== '{**}') {
      literal += segment;
      continue;
    }
    close();
    parts.push({ kind: segment === '{*}' ? 'segment' : 'any' });
  }
  close();
  return parts;
}
