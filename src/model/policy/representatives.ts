// Makes of rules the few requests that tell them apart: one for each text they name, and one for everything they do not.
import { compileTemplate } from './matchers.ts';
import type { AuthorizationPolicy, Condition, Operation, Rule, Source } from './types.ts';

/** A request without its caller and port; texts in `shown` are as rules write them. */
export interface Representative {
  readonly method: string;
  readonly path: string;
  readonly extra: Extra;
  readonly shown: { readonly method: string; readonly path: string };
}

/** What else of a request rules ask for, all that one rule needs together. */
export interface Extra {
  /** Empty for none. */
  readonly shown: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  readonly jwt?: Readonly<Record<string, unknown>>;
  readonly srcIP?: string;
  readonly remoteIP?: string;
  readonly sni?: string;
}

export interface Representatives {
  readonly requests: readonly Representative[];
  /** There were more combinations than are tried. */
  readonly isCut: boolean;
}

interface Sample {
  readonly shown: string;
  readonly value: string;
}

const MAX_PATHS = 128;
const MAX_METHODS = 10;
const MAX_EXTRAS = 48;
/** Alternatives of one condition that are tried. */
const MAX_VALUES = 4;

const NO_EXTRA: Extra = { shown: '' };
/** Stands for texts that nobody names; begins and ends as few names do. */
export const ANY_OTHER = 'zq-any-other-qz';
const METHODS: readonly string[] = [
  'GET',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'HEAD',
  'OPTIONS',
  'WEFT',
];

/** @param policies those that select the workload; of two versions of it, those of both. */
export function representRequests(policies: readonly AuthorizationPolicy[]): Representatives {
  const rules = policies.flatMap((policy) => policy.rules ?? []);
  const operations = rules.flatMap(({ to }) => (to ?? []).flat());
  const textsOf = (name: 'paths' | 'methods'): readonly string[] =>
    operations.flatMap(({ field, values, notValues }) =>
      field === name ? [...values, ...notValues] : [],
    );
  const paths = samplePaths([...new Set(textsOf('paths'))]);
  const methods = sampleMethods(textsOf('methods'));
  const extras = sampleExtras(policies);
  const requests: Representative[] = [];
  for (const extra of [NO_EXTRA, ...extras.slice(0, MAX_EXTRAS)]) {
    for (const path of paths.slice(0, MAX_PATHS)) {
      for (const method of methods.slice(0, MAX_METHODS)) {
        const shown = { method: method.shown, path: path.shown };
        requests.push({ method: method.value, path: path.value, extra, shown });
      }
    }
  }
  const isCut =
    paths.length > MAX_PATHS || methods.length > MAX_METHODS || extras.length > MAX_EXTRAS;
  return { requests, isCut };
}

function distinct(samples: readonly Sample[]): readonly Sample[] {
  const byValue = new Map<string, Sample>();
  for (const sample of samples) if (!byValue.has(sample.value)) byValue.set(sample.value, sample);
  return [...byValue.values()];
}

/** The texts themselves, what begins and ends as two of them do, and a path that none of them is. */
function samplePaths(texts: readonly string[]): readonly Sample[] {
  const starts = texts.filter((text) => text.endsWith('*') && text.length > 1);
  const ends = texts.filter((text) => text.startsWith('*') && text.length > 1);
  const both = starts.flatMap((start) =>
    ends.map((end) => ({
      shown: `${start}${end.slice(1)}`,
      value: `${start.slice(0, -1)}${ANY_OTHER}${end.slice(1)}`,
    })),
  );
  const tests = texts.filter((text) => text !== '*').map(pathTest);
  const other = OTHER_PATHS.find((path) => !tests.some((test) => test(path)));
  return distinct([
    ...texts.flatMap(samplePath),
    ...both,
    ...(other === undefined ? [] : [{ shown: 'any other path', value: other }]),
  ]);
}

const OTHER_PATHS: readonly string[] = [
  `/${ANY_OTHER}`,
  '/',
  `/-/${ANY_OTHER}/-`,
  `/${ANY_OTHER}/${ANY_OTHER}/${ANY_OTHER}`,
];

function pathTest(text: string): (path: string) => boolean {
  if (text.includes('{')) return compileTemplate(text, { isWide: true });
  return (path) => matches(text, path);
}

/** `/a*` is `/a` and something longer; `{*}` and `{**}` are some segment. */
function samplePath(text: string): readonly Sample[] {
  if (text === '*') return [];
  const value = text.replaceAll('{**}', ANY_OTHER).replaceAll('{*}', ANY_OTHER);
  if (value.endsWith('*')) {
    const prefix = value.slice(0, -1);
    const whole = prefix.startsWith('/') ? [{ shown: prefix, value: prefix }] : [];
    return [
      ...whole,
      { shown: text, value: `${prefix.startsWith('/') ? '' : '/'}${prefix}${ANY_OTHER}` },
    ];
  }
  if (value.startsWith('*')) return [{ shown: text, value: `/${ANY_OTHER}${value.slice(1)}` }];
  return [{ shown: text, value: value.startsWith('/') ? value : `/${value}` }];
}

function sampleMethods(texts: readonly string[]): readonly Sample[] {
  const named = texts.filter((text) => text !== '*');
  const [any = 'GET'] = METHODS;
  if (named.length === 0) return [{ shown: 'any method', value: any }];
  const samples = named.map((text) => ({
    shown: text,
    value: METHODS.find((method) => matches(text, method)) ?? text.replaceAll('*', ''),
  }));
  const other = METHODS.find((method) => !named.some((text) => matches(text, method)));
  return distinct([
    ...samples.filter(({ value }) => value !== ''),
    ...(other === undefined ? [] : [{ shown: 'other methods', value: other }]),
  ]);
}

function matches(pattern: string, text: string): boolean {
  if (pattern.endsWith('*')) return text.startsWith(pattern.slice(0, -1));
  if (pattern.startsWith('*')) return text.endsWith(pattern.slice(1));
  return pattern === text;
}

/** A text that the pattern matches. */
const sampleText = (pattern: string): string =>
  pattern === '*' ? ANY_OTHER : pattern.replaceAll('*', ANY_OTHER);

/** With a port, for hosts. */
const sampleHost = (pattern: string): string =>
  pattern.endsWith(':*') ? `${pattern.slice(0, -1)}80` : sampleText(pattern);

const sampleIp = (cidr: string): string => cidr.split('/', 1)[0] ?? cidr;

/** A way to add a value to a request; several together make the request that one rule asks for. */
type Part = Partial<Omit<Extra, 'shown'>> & { readonly shown: string };

/** Alternatives of `from` and of `to` that are tried together. */
const MAX_ALTERNATIVES = 8;

/** For each alternative the request that satisfies the rule, and its variants by the other values of each condition. */
function extrasOf(rule: Rule): readonly Extra[] {
  const sources = (rule.from ?? [[]]).slice(0, MAX_ALTERNATIVES);
  const operations = (rule.to ?? [[]]).slice(0, MAX_ALTERNATIVES);
  return sources.flatMap((source) =>
    operations.flatMap((operation) =>
      variantsOf([
        ...operationParts(operation),
        ...sourceParts(source),
        ...rule.when.map(conditionParts),
      ]),
    ),
  );
}

const operationParts = (operation: Operation): readonly (readonly Part[])[] =>
  operation
    .filter(({ field }) => field === 'hosts')
    .map(({ values, notValues }) => [...values, ...notValues].map(hostPart));

const sourceParts = (source: Source): readonly (readonly Part[])[] =>
  source.map(({ field, values, notValues }) => {
    const all = [...values, ...notValues];
    if (field === 'requestPrincipals') return all.map(requestPrincipalPart);
    if (field === 'ipBlocks') return all.map((text) => ipPart('srcIP', text));
    return field === 'remoteIpBlocks' ? all.map((text) => ipPart('remoteIP', text)) : [];
  });

function variantsOf(parts: readonly (readonly Part[])[]): readonly Extra[] {
  const choices = parts.filter(({ length }) => length > 0).map((one) => one.slice(0, MAX_VALUES));
  const first = choices.map(([part]) => part).filter((part) => part !== undefined);
  if (first.length === 0) return [];
  const variants = choices.flatMap((own, index) =>
    own.slice(1).map((part) => first.map((other, at) => (at === index ? part : other))),
  );
  return [first, ...variants].map(join);
}

const hostPart = (host: string): Part => ({ host: sampleHost(host), shown: `host ${host}` });

const ipPart = (key: 'srcIP' | 'remoteIP', text: string): Part => ({
  [key]: sampleIp(text),
  shown: `from ${text}`,
});

function requestPrincipalPart(text: string): Part {
  const at = text.lastIndexOf('/');
  const [iss, sub] = at === -1 ? [text, text] : [text.slice(0, at), text.slice(at + 1)];
  const jwt = { iss: sampleText(iss), sub: sampleText(sub) };
  return { jwt, shown: `a token of ${text}` };
}

function conditionParts({ key, values, notValues, text }: Condition): readonly Part[] {
  const each = (make: (value: string) => Omit<Part, 'shown'>): readonly Part[] =>
    [...values, ...notValues].map((value) => ({ ...make(value), shown: `${text} ${value}` }));
  switch (key.kind) {
    case 'header':
      return each((value) => ({ headers: { [key.name.toLowerCase()]: [sampleText(value)] } }));
    case 'source.ip':
      return each((value) => ({ srcIP: sampleIp(value) }));
    case 'remote.ip':
      return each((value) => ({ remoteIP: sampleIp(value) }));
    case 'connection.sni':
      return each((value) => ({ sni: sampleText(value) }));
    case 'request.auth.principal':
      return [...values, ...notValues].map(requestPrincipalPart);
    case 'request.auth.audiences':
      return each((value) => ({ jwt: { aud: [sampleText(value)] } }));
    case 'request.auth.presenter':
      return each((value) => ({ jwt: { azp: sampleText(value) } }));
    case 'claim':
      return each((value) => ({ jwt: nest(key.path, sampleText(value)) }));
    case 'source.namespace':
    case 'source.serviceAccount':
    case 'source.trustDomain':
    case 'source.principal':
    case 'destination.ip':
    case 'destination.port':
    case 'metadata':
    case 'request.auth.basic.user':
      return [];
    default:
      return key satisfies never;
  }
}

const nest = (path: readonly string[], value: string): Readonly<Record<string, unknown>> =>
  path.reduceRight<Record<string, unknown>>(
    (inner, name, index) => ({ [name]: index === path.length - 1 ? value : inner }),
    {},
  );

const join = (parts: readonly Part[]): Extra =>
  parts.reduce<Extra>(
    (whole, part) => ({
      ...whole,
      ...part,
      ...(whole.headers !== undefined && { headers: { ...whole.headers, ...part.headers } }),
      ...(whole.jwt !== undefined && { jwt: { ...whole.jwt, ...part.jwt } }),
      shown: whole.shown === '' ? `with ${part.shown}` : `${whole.shown}, ${part.shown}`,
    }),
    NO_EXTRA,
  );

/** Of each rule, and of each rule together with one that denies: that is where they meet. */
function sampleExtras(policies: readonly AuthorizationPolicy[]): readonly Extra[] {
  const of = (isDeny: boolean): readonly Extra[] =>
    policies
      .filter(({ action }) => (action === 'DENY') === isDeny)
      .flatMap(({ rules }) => (rules ?? []).flatMap(extrasOf));
  const [given, denied] = [of(false), of(true)];
  const met = given.flatMap((one) => denied.flatMap((other) => meetings(one, other)));
  const all = [...given, ...denied, ...met];
  return [...new Map(all.map((extra) => [JSON.stringify(extra), extra])).values()];
}

/** Things that both name differently and that are tried in every mixture. */
const MAX_CONFLICTS = 3;

/** Both together: where they name one thing differently, once as the one and once as the other has it. */
function meetings(one: Extra, other: Extra): readonly Extra[] {
  const both = join([strip(one), strip(other)]);
  const single = (['host', 'srcIP', 'remoteIP', 'sni'] as const).filter(
    (name) => one[name] !== undefined && other[name] !== undefined && one[name] !== other[name],
  );
  const headers = Object.keys(one.headers ?? {}).filter(
    (name) => other.headers?.[name] !== undefined,
  );
  let found: readonly Extra[] = [both];
  for (const name of single.slice(0, MAX_CONFLICTS)) {
    found = found.flatMap((extra) => [extra, { ...extra, [name]: one[name] }]);
  }
  for (const name of headers.slice(0, Math.max(0, MAX_CONFLICTS - single.length))) {
    const own = { [name]: one.headers?.[name] ?? [] };
    found = found.flatMap((extra) => [extra, { ...extra, headers: { ...extra.headers, ...own } }]);
  }
  return found;
}

/** Without the word that begins its name. */
const strip = (extra: Extra): Part => ({ ...extra, shown: extra.shown.slice('with '.length) });
