// The question "may this caller do that there?" as people ask it on a command line, in a file or in a URL.
import { parseSpiffeId } from '../identity.ts';
import { parseIp } from '../ip.ts';
import type { Problem, Result } from '../problem.ts';
import { shown } from './reader.ts';

export interface CallQuestion {
  /** `NAMESPACE/SERVICE-ACCOUNT`, `TD/ns/NS/sa/SA` or `spiffe://…`; absent: plaintext. */
  readonly from: string | undefined;
  /** See `findAddressees`. */
  readonly to: string;
  readonly port: number | undefined;
  readonly protocol: 'http' | 'tcp';
  readonly method: string;
  readonly path: string;
  /** Absent: the name by which it is called. */
  readonly host: string | undefined;
  readonly headers: readonly (readonly [string, string])[];
  /** Claims of a valid token; `a.b` is `b` inside of `a`. */
  readonly claims: readonly (readonly [string, string])[];
  readonly sourceIp: string | undefined;
  readonly sni: string | undefined;
}

export const DEFAULT_QUESTION: Omit<CallQuestion, 'to'> = {
  from: undefined,
  port: undefined,
  protocol: 'http',
  method: 'GET',
  path: '/',
  host: undefined,
  headers: [],
  claims: [],
  sourceIp: undefined,
  sni: undefined,
};

/** More of one kind is no question of a person's. */
const MAX_PAIRS = 64;

const problem = (field: string, message: string, cure: string): Problem => ({
  severity: 'error',
  code: 'bad-question',
  field,
  message,
  cure,
});

/** What cannot be judged as it is asked. */
export function checkQuestion(question: CallQuestion): readonly Problem[] {
  const { from, port, path, method, sourceIp, headers, claims } = question;
  const problems: Problem[] = [];
  const complain = (field: string, message: string, cure: string): void => {
    problems.push(problem(field, message, cure));
  };
  if (from !== undefined && principalOf(from, 'cluster.local') === undefined) {
    const cure = 'write NAMESPACE/SERVICE-ACCOUNT or spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME';
    complain('from', `${shown(from)} is no identity`, cure);
  }
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port <= 65_535)) {
    complain('port', `${port} is no port`, 'write 1 to 65535');
  }
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) {
    complain(
      'path',
      `${shown(path)} does not begin with a slash`,
      'write it as in a request: /a/b',
    );
  }
  if (method === '') complain('method', 'is empty', 'write it in capitals: GET');
  if (sourceIp !== undefined && parseIp(sourceIp) === undefined) {
    complain('sourceIp', `${shown(sourceIp)} is no IP address`, 'write for example 10.0.0.7');
  }
  for (const [field, pairs] of [
    ['headers', headers],
    ['claims', claims],
  ] as const) {
    if (pairs.length > MAX_PAIRS) complain(field, `are more than ${MAX_PAIRS}`, 'leave some out');
    if (pairs.some(([name]) => name === '')) complain(field, 'has no name', 'write NAME=VALUE');
  }
  return problems;
}

/** `TD/ns/NS/sa/SA` of a caller. @returns `undefined` when the text is no identity. */
export function principalOf(from: string, trustDomain: string): string | undefined {
  const text = from.startsWith('spiffe://') ? from.slice('spiffe://'.length) : from;
  const parts = text.split('/');
  const [namespace = '', account = ''] = parts;
  const full = parts.length === 2 ? `${trustDomain}/ns/${namespace}/sa/${account}` : text;
  return parseSpiffeId(`spiffe://${full}`) === undefined ? undefined : full;
}

/** Claims by their dotted names, as nested mappings. */
export function nestClaims(claims: CallQuestion['claims']): Readonly<Record<string, unknown>> {
  const root = new Map<string, unknown>();
  for (const [name, value] of claims) {
    const parts = name.split('.');
    const last = parts.pop() ?? name;
    let level = root;
    for (const part of parts) {
      const next = level.get(part);
      const inner = next instanceof Map ? next : new Map<string, unknown>();
      level.set(part, inner);
      level = inner;
    }
    const known = level.get(last);
    /** A claim given twice is a list. */
    if (known === undefined) level.set(last, value);
    else level.set(last, Array.isArray(known) ? [...known, value] : [known, value]);
  }
  return plain(root);
}

const plain = (map: ReadonlyMap<string, unknown>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    [...map].map(([key, value]) => [key, value instanceof Map ? plain(value) : value]),
  );

/** `from=shop%2Fweb&to=…`; the reverse of `readQuestion`. */
export function writeQuestion(question: CallQuestion): string {
  const query = new URLSearchParams({ to: question.to, protocol: question.protocol });
  const { from, port, method, path, host, sourceIp, sni } = question;
  const texts = { from, port: port?.toString(), method, path, host, sourceIp, sni };
  for (const [name, value] of Object.entries(texts)) {
    if (value !== undefined) query.set(name, value);
  }
  for (const [name, value] of question.headers) query.append('header', `${name}=${value}`);
  for (const [name, value] of question.claims) query.append('claim', `${name}=${value}`);
  return query.toString();
}

const KNOWN: ReadonlySet<string> = new Set([
  'from',
  'to',
  'port',
  'protocol',
  'method',
  'path',
  'host',
  'header',
  'claim',
  'sourceIp',
  'sni',
]);

export function readQuestion(query: URLSearchParams): Result<CallQuestion> {
  const problems: Problem[] = [];
  for (const name of new Set(query.keys())) {
    if (!KNOWN.has(name)) {
      const cure = `use ${[...KNOWN].join(', ')}`;
      problems.push(problem(name.slice(0, 64), 'is nothing that can be asked', cure));
    }
  }
  const text = (name: string): string | undefined => query.get(name) ?? undefined;
  const to = text('to');
  if (to === undefined) problems.push(problem('to', 'is missing', 'write to=NAMESPACE/NAME'));
  const protocol = text('protocol') ?? 'http';
  if (protocol !== 'http' && protocol !== 'tcp') {
    problems.push(problem('protocol', `${shown(protocol)} is neither`, 'write http or tcp'));
  }
  const port = text('port');
  const question: CallQuestion = {
    from: text('from'),
    to: to ?? '',
    port: port === undefined ? undefined : Number(port),
    protocol: protocol === 'tcp' ? 'tcp' : 'http',
    method: text('method') ?? DEFAULT_QUESTION.method,
    path: text('path') ?? DEFAULT_QUESTION.path,
    host: text('host'),
    headers: query.getAll('header').map(splitPair),
    claims: query.getAll('claim').map(splitPair),
    sourceIp: text('sourceIp'),
    sni: text('sni'),
  };
  problems.push(...checkQuestion(question));
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: question, problems };
}

/** `NAME=VALUE` at the first equals sign; without one the value is empty. */
export function splitPair(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
