// The application's probes that the sidecar makes in the kubelet's stead, and how they are written in WEFT_APP_PROBES.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

export interface HttpProbe {
  readonly kind: 'http';
  readonly scheme: 'HTTP' | 'HTTPS';
  readonly port: number;
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

export type AppProbe = { readonly timeoutMs: number } & (
  | HttpProbe
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'grpc'; readonly port: number; readonly service: string }
);

/** By `CONTAINER/KIND`, as the path at the probes' port has it. */
export type AppProbes = ReadonlyMap<string, AppProbe>;

export type ParsedProbes =
  | { readonly ok: true; readonly value: AppProbes }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Three for each container of the largest Pods. */
const MAX_PROBES = 256;
const MAX_TIMEOUT_SECONDS = 3_600;
const MAX_PATH_LENGTH = 8_192;
const KINDS: ReadonlySet<string> = new Set(['startup', 'readiness', 'liveness']);
const ACTIONS = ['http', 'tcp', 'grpc'] as const;
/** Of RFC 9110's tokens, and of values without the characters that end a line. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;

/** @param text JSON; everything in it must be known, for a probe that is read wrongly hides a failure. */
export function parseAppProbes(text: string): ParsedProbes {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, problems: [error instanceof Error ? error.message : String(error)] };
  }
  if (!isPlainObject(value)) return { ok: false, problems: ['it is no JSON object'] };
  const entries = Object.entries(value);
  if (entries.length > MAX_PROBES) {
    return { ok: false, problems: [`it has ${entries.length} probes; ${MAX_PROBES} are the most`] };
  }
  const problems: string[] = [];
  const probes = new Map<string, AppProbe>();
  for (const [key, entry] of entries) {
    const report = (problem: string): undefined => void problems.push(`${key}: ${problem}`);
    const probe = readProbe(key, entry, report);
    if (probe !== undefined) probes.set(key, probe);
  }
  return problems.length === 0 ? { ok: true, value: probes } : { ok: false, problems };
}

type Report = (problem: string) => undefined;

function readProbe(key: string, entry: unknown, report: Report): AppProbe | undefined {
  const [container = '', kind = '', ...rest] = key.split('/');
  if (container === '' || !KINDS.has(kind) || rest.length > 0) {
    return report('is no CONTAINER/startup, CONTAINER/readiness or CONTAINER/liveness');
  }
  if (!isPlainObject(entry)) return report('is no JSON object');
  const named = ACTIONS.filter((name) => Object.hasOwn(entry, name));
  const [action] = named;
  const fields = action === undefined ? undefined : entry[action];
  if (action === undefined || named.length > 1 || !isPlainObject(fields)) {
    return report(`needs exactly one of ${ACTIONS.join(', ')}`);
  }
  if (!hasOnly(entry, [action, 'timeoutSeconds'], report)) return undefined;
  const { timeoutSeconds = 1, [action]: _ } = entry;
  const isSeconds = typeof timeoutSeconds === 'number' && Number.isInteger(timeoutSeconds);
  if (!isSeconds || timeoutSeconds < 1 || timeoutSeconds > MAX_TIMEOUT_SECONDS) {
    return report(`timeoutSeconds is no number from 1 to ${MAX_TIMEOUT_SECONDS}`);
  }
  const timeoutMs = timeoutSeconds * 1_000;
  const port = fields['port'];
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    return report('port is no number from 1 to 65535');
  }
  switch (action) {
    case 'http': {
      const http = readHttp(fields, port, report);
      return http && { ...http, timeoutMs };
    }
    case 'tcp':
      return hasOnly(fields, ['port'], report) ? { kind: 'tcp', port, timeoutMs } : undefined;
    case 'grpc': {
      const { service = '' } = fields;
      if (typeof service !== 'string') return report('service is no text');
      if (!hasOnly(fields, ['port', 'service'], report)) return undefined;
      return { kind: 'grpc', port, service, timeoutMs };
    }
    default:
      return action satisfies never;
  }
}

function readHttp(fields: PlainObject, port: number, report: Report): HttpProbe | undefined {
  if (!hasOnly(fields, ['scheme', 'port', 'path', 'headers', 'host'], report)) return undefined;
  const { scheme = 'HTTP', path = '/', headers = [], host = '' } = fields;
  if (scheme !== 'HTTP' && scheme !== 'HTTPS') return report('scheme is neither HTTP nor HTTPS');
  if (typeof path !== 'string' || !path.startsWith('/'))
    return report('path does not begin with /');
  if (path.length > MAX_PATH_LENGTH) return report('path is too long');
  if (host !== '') return report('host names another address than the Pod, which is not asked');
  if (!Array.isArray(headers)) return report('headers is no list');
  const read: { readonly name: string; readonly value: string }[] = [];
  for (const header of headers) {
    const { name, value } = isPlainObject(header) ? header : {};
    if (typeof name !== 'string' || typeof value !== 'string') {
      return report('a header is no {name, value}');
    }
    if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value)) {
      return report(`header ${JSON.stringify(name)} has characters that no header may have`);
    }
    read.push({ name, value });
  }
  return { kind: 'http', scheme, port, path: requestPath(path), headers: read };
}

/** As it goes on the wire: without a fragment, and with every byte that may not stand there as it is in its percent form. */
export function requestPath(text: string): string {
  const end = text.indexOf('#');
  let path = '';
  for (const byte of Buffer.from(end === -1 ? text : text.slice(0, end))) {
    const isPlain = byte > 0x20 && byte < 0x7f;
    path += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return path;
}

function hasOnly(fields: PlainObject, known: readonly string[], report: Report): boolean {
  const unknown = Object.keys(fields).filter((name) => !known.includes(name));
  for (const name of unknown) report(`${name} is not known here`);
  return unknown.length === 0;
}
