// Says why rules did not match: the rule that came nearest, and the fields of it that failed, with wanted and seen values.
import { formatIp, type IpAddress } from '../ip.ts';
import {
  compilePermission,
  compilePrincipal,
  type DecisionInput,
  type Evaluator,
} from './evaluate.ts';
import type {
  CidrRange,
  HeaderMatcher,
  MetadataMatcher,
  Permission,
  Principal,
  RbacPolicy,
  StringMatcher,
  ValueMatcher,
} from './rbac.ts';

/** One condition of a rule, in the words of the policy language. */
export interface Clause {
  /** `source.principal`, `path`, `method`, `host`, `port`, `request.headers[x]`, … */
  readonly field: string;
  /** What the rule asks for; one of them is enough. */
  readonly wanted: readonly string[];
  /** The rule asks for anything but these. */
  readonly isNegated: boolean;
  /** What was there; `undefined` when nothing was. */
  readonly seen: string | undefined;
}

/** A rule that did not match, and why. */
export interface NearMiss {
  /** `ns[NS]-policy[NAME]-rule[I]`. */
  readonly rule: string;
  /** What failed, in the rule's order; never empty. */
  readonly failed: readonly Clause[];
}

/** Rules that are looked at: a refusal must not cost more than a few requests, however many policies there are. */
const MAX_RULES = 256;
/** Values of one clause that are shown. */
const MAX_VALUES = 8;
const MAX_TEXT = 128;

/**
 * The rule of the ALLOW sets that came nearest: the fewest fields failed, of equals the first.
 * @returns `undefined` when there is no ALLOW rule at all.
 */
export function nearestAllow(
  evaluator: Pick<Evaluator, 'chain'>,
  input: DecisionInput,
): NearMiss | undefined {
  let best: NearMiss | undefined;
  let looked = 0;
  for (const { action, policies } of evaluator.chain) {
    if (action !== 'ALLOW') continue;
    for (const policy of policies) {
      if (++looked > MAX_RULES) return best;
      const failed = failuresOf(policy, input, false);
      if (failed.length === 0) continue;
      if (best === undefined || failed.length < best.failed.length) {
        best = { rule: policy.name, failed };
        if (failed.length === 1) return best;
      }
    }
  }
  return best;
}

/** What of one rule does not hold; empty when it matches. */
export function failuresOf(
  policy: RbacPolicy,
  input: DecisionInput,
  isDeny: boolean,
): readonly Clause[] {
  return [
    ...fewest(policy.principals.map((item) => principalFailures(item, input))),
    ...fewest(policy.permissions.map((item) => permissionFailures(item, input, isDeny))),
  ];
}

/** Of alternatives the one that came nearest. */
function fewest(alternatives: readonly (readonly Clause[])[]): readonly Clause[] {
  let best: readonly Clause[] | undefined;
  for (const failed of alternatives) {
    if (best === undefined || failed.length < best.length) best = failed;
  }
  return best ?? [];
}

function permissionFailures(
  permission: Permission,
  input: DecisionInput,
  isWide: boolean,
): readonly Clause[] {
  if (permission.kind === 'and') {
    return permission.rules.flatMap((rule) => permissionFailures(rule, input, isWide));
  }
  if (compilePermission(permission, isWide)(input)) return [];
  if (permission.kind === 'or') {
    return (
      oneField(permission.rules.map((rule) => permissionClause(rule, input))) ??
      fewest(permission.rules.map((rule) => permissionFailures(rule, input, isWide)))
    );
  }
  return [permissionClause(permission, input) ?? unknownClause(permission.kind)];
}

function principalFailures(principal: Principal, input: DecisionInput): readonly Clause[] {
  if (compilePrincipal(principal)(input)) return [];
  if (principal.kind === 'and') {
    const whole = requestPrincipalClause(principal.ids, input);
    if (whole !== undefined) return [whole];
    return principal.ids.flatMap((id) => principalFailures(id, input));
  }
  if (principal.kind === 'or') {
    return (
      oneField(principal.ids.map((id) => principalClause(id, input))) ??
      fewest(principal.ids.map((id) => principalFailures(id, input)))
    );
  }
  return [principalClause(principal, input) ?? unknownClause(principal.kind)];
}

const unknownClause = (kind: string): Clause => ({
  field: kind,
  wanted: [],
  isNegated: false,
  seen: undefined,
});

/** Alternatives that ask for values of one field are one clause. */
function oneField(clauses: readonly (Clause | undefined)[]): readonly Clause[] | undefined {
  const [first] = clauses;
  if (first === undefined) return undefined;
  const wanted: string[] = [];
  for (const clause of clauses) {
    if (clause === undefined || clause.field !== first.field || clause.isNegated) return undefined;
    wanted.push(...clause.wanted);
  }
  return [{ ...first, wanted: shorten([...new Set(wanted)]) }];
}

function shorten(values: readonly string[]): readonly string[] {
  if (values.length <= MAX_VALUES) return values;
  return [...values.slice(0, MAX_VALUES), `and ${values.length - MAX_VALUES} more`];
}

/** @returns `undefined` for what is no single condition. */
export function permissionClause(permission: Permission, input: DecisionInput): Clause | undefined {
  switch (permission.kind) {
    case 'any':
      return clause('any', [], undefined);
    case 'header':
      return headerClause(permission.header, input);
    case 'urlPath':
      return clause('path', [textOf(permission.path)], input.path);
    case 'uriTemplate':
      return clause('path', [permission.template], input.path);
    case 'destinationIp':
      return clause('destination.ip', [formatCidr(permission.cidr)], ipText(input.destinationIp));
    case 'destinationPort':
      return clause('port', [String(permission.port)], String(input.destinationPort));
    case 'requestedServerName':
      return clause('connection.sni', [textOf(permission.name)], input.serverName || undefined);
    case 'metadata':
      return metadataClause(permission.metadata, input);
    case 'not':
      return negated(permission.rule, (rule) => permissionClause(rule, input));
    case 'or':
      return oneField(permission.rules.map((rule) => permissionClause(rule, input)))?.[0];
    case 'and':
      return undefined;
    default:
      return permission satisfies never;
  }
}

export function principalClause(principal: Principal, input: DecisionInput): Clause | undefined {
  switch (principal.kind) {
    case 'any':
      return clause('any', [], undefined);
    case 'authenticated': {
      const wanted = principal.name === undefined ? ['any identity'] : [idText(principal.name)];
      return clause('source.principal', wanted, input.peerUri?.slice('spiffe://'.length));
    }
    case 'directRemoteIp':
      return clause('source.ip', [formatCidr(principal.cidr)], ipText(input.sourceIp));
    case 'remoteIp':
      return clause('remote.ip', [formatCidr(principal.cidr)], ipText(input.remoteIp));
    case 'header':
      return headerClause(principal.header, input);
    case 'urlPath':
      return clause('path', [textOf(principal.path)], input.path);
    case 'metadata':
      return metadataClause(principal.metadata, input);
    case 'not':
      return negated(principal.id, (id) => principalClause(id, input));
    case 'or':
      return oneField(principal.ids.map((id) => principalClause(id, input)))?.[0];
    case 'and':
      /** An issuer and a subject together are one request principal. */
      return requestPrincipalClause(principal.ids, input);
    default:
      return principal satisfies never;
  }
}

function negated<T>(inner: T, of: (inner: T) => Clause | undefined): Clause | undefined {
  const found = of(inner);
  return found && { ...found, isNegated: !found.isNegated };
}

export function requestPrincipalClause(
  ids: readonly Principal[],
  input: DecisionInput,
): Clause | undefined {
  const [issuer, subject, ...more] = ids.map((id) => principalClause(id, input));
  if (issuer?.field !== claimField(['iss']) || subject?.field !== claimField(['sub']))
    return undefined;
  if (more.length > 0) return undefined;
  const seen =
    issuer.seen === undefined && subject.seen === undefined
      ? undefined
      : `${issuer.seen ?? ''}/${subject.seen ?? ''}`;
  return clause(
    'request.auth.principal',
    [`${issuer.wanted[0] ?? ''}/${subject.wanted[0] ?? ''}`],
    seen,
  );
}

const clause = (field: string, wanted: readonly string[], seen: string | undefined): Clause => ({
  field,
  wanted,
  isNegated: false,
  seen: seen === undefined ? undefined : cut(seen),
});

const cut = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;

const formatCidr = ({ address, prefixLength }: CidrRange): string => `${address}/${prefixLength}`;

const ipText = (ip: IpAddress | undefined): string | undefined =>
  ip === undefined ? undefined : formatIp(ip);

function headerClause(header: HeaderMatcher, input: DecisionInput): Clause {
  const wanted = header.match.kind === 'present' ? ['*'] : [textOf(header.match.string)];
  const { field, seen } = headerSeen(header.name, input);
  return { ...clause(field, wanted, seen), isNegated: header.invert };
}

function headerSeen(
  name: string,
  input: DecisionInput,
): { readonly field: string; readonly seen: string | undefined } {
  switch (name) {
    case ':method':
      return { field: 'method', seen: input.method };
    case ':authority':
    case 'host':
      return { field: 'host', seen: input.authority };
    case ':path':
      return { field: 'request.headers[:path]', seen: input.target };
    default:
      return { field: `request.headers[${name}]`, seen: input.header(name)?.join(', ') };
  }
}

const claimField = (path: readonly string[]): string =>
  `request.auth.claims${path.map((part) => `[${part}]`).join('')}`;

function metadataClause(metadata: MetadataMatcher, input: DecisionInput): Clause {
  const { filter, path, value, invert } = metadata;
  const [head, ...claim] = path;
  const field = head === 'payload' ? claimField(claim) : `${filter}[${path.join('][')}]`;
  const seen = input.metadata(filter, path);
  const text = typeof seen === 'string' ? seen : JSON.stringify(seen);
  return { ...clause(field, valueTexts(value), text), isNegated: invert };
}

function valueTexts(value: ValueMatcher): readonly string[] {
  switch (value.kind) {
    case 'string':
      return [textOf(value.string)];
    case 'present':
      return ['*'];
    case 'list':
      return valueTexts(value.oneOf);
    case 'or':
      return [...new Set(value.values.flatMap(valueTexts))];
    default:
      return value satisfies never;
  }
}

/** As the policy would write it. */
function textOf(matcher: StringMatcher): string {
  switch (matcher.kind) {
    case 'exact':
      return matcher.value;
    case 'prefix':
      return `${matcher.value}*`;
    case 'suffix':
      return `*${matcher.value}`;
    case 'contains':
      return `*${matcher.value}*`;
    case 'glob':
      return matcher.parts.map((part) => (part.kind === 'literal' ? part.text : '*')).join('');
    default:
      return matcher satisfies never;
  }
}

/** Identities without their scheme, as `principals` are written. */
function idText(matcher: StringMatcher): string {
  const text = textOf(matcher);
  return text.startsWith('spiffe://') ? text.slice('spiffe://'.length) : text;
}

/** `path is "/x", and must be one of /a, /b*`. */
export function formatClause({ field, wanted, isNegated, seen }: Clause): string {
  const absent =
    field === 'source.principal' ? 'the caller has no certificate' : `there is no ${field}`;
  const was = seen === undefined ? absent : `${field} is ${JSON.stringify(seen)}`;
  if (wanted.length === 0) return was;
  const names = formatWanted(wanted);
  const list = names.join(', ');
  const name = seen === undefined ? `${field} ` : '';
  if (isNegated) return `${was}, and ${name}must not be ${list}`;
  return `${was}, and ${name}must be ${names.length > 1 ? 'one of ' : ''}${list}`;
}

/** Identities as the fields that ask for them: what `serviceAccounts` becomes is one name again. */
export function formatWanted(wanted: readonly string[]): readonly string[] {
  const all = new Set(wanted);
  const names = wanted.flatMap((text) => {
    if (!text.startsWith('*/ns/')) return [text];
    const [, , namespace, kind, account, ...rest] = text.split('/');
    const plain = `*/ns/${namespace}/sa/${kind === 'sa' ? account : rest[0]}`;
    if (text !== plain && all.has(plain)) return [];
    if (text === plain) return [`service account ${namespace}/${account}`];
    return text === `*/ns/${namespace}/*` ? [`namespace ${namespace}`] : [text];
  });
  return [...new Set(names)];
}

/** One line for a log: the rule, and the first thing that failed. */
export function formatNearMiss({ rule, failed }: NearMiss): string {
  const [first, ...more] = failed;
  const why = first === undefined ? '' : `: ${formatClause(first)}`;
  return `${rule}${why}${more.length > 0 ? ` (and ${more.length} more)` : ''}`;
}
