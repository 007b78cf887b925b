// Makes of rules the few requests that tell them apart: one for each text they name, and one for everything they do not.
import type { AuthorizationPolicy, Condition, Rule } from './types.ts';

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
const MAX_EXTRAS = 24;
/** Alternatives of one condition that are tried. */
const MAX_VALUES = 4;

const NO_EXTRA: Extra = { shown: '' };
export const ANY_OTHER = 'any-other';
const OTHER_PATH: Sample = { shown: 'any other path', value: `/${ANY_OTHER}` };
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
  const paths = distinct([...textsOf('paths').flatMap(samplePath), OTHER_PATH]);
  const methods = sampleMethods(textsOf('methods'));
  const extras = distinctExtras(rules.flatMap((rule) => extrasOf(rule)));
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

/** The request that satisfies the rule, and its variants by the other values of each condition. */
function extrasOf(rule: Rule): readonly Extra[] {
  const choices: (readonly Part[])[] = [];
  const add = (parts: readonly Part[]): void => {
    if (parts.length > 0) choices.push(parts.slice(0, MAX_VALUES));
  };
  for (const { field, values, notValues } of (rule.to ?? []).flat()) {
    if (field === 'hosts') add([...values, ...notValues].map(hostPart));
  }
  for (const { field, values, notValues } of (rule.from ?? []).flat()) {
    const all = [...values, ...notValues];
    if (field === 'requestPrincipals') add(all.map(requestPrincipalPart));
    if (field === 'ipBlocks') add(all.map((text) => ipPart('srcIP', text)));
    if (field === 'remoteIpBlocks') add(all.map((text) => ipPart('remoteIP', text)));
  }
  for (const condition of rule.when) add(conditionParts(condition));
  const first = choices.map(([part]) => part).filter((part) => part !== undefined);
  if (first.length === 0) return [];
  const variants = choices.flatMap((parts, index) =>
    parts.slice(1).map((part) => first.map((other, at) => (at === index ? part : other))),
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

function distinctExtras(extras: readonly Extra[]): readonly Extra[] {
  return [...new Map(extras.map((extra) => [JSON.stringify(extra), extra])).values()];
}
