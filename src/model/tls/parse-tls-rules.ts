// Reads the rules by which TLS of clients outside the mesh is taken: certificates, versions, names, plaintext and HSTS.
import { isDnsSubdomain } from '../identity.ts';
import { shown, type PlainObject, type Reader } from '../policy/reader.ts';
import { parseClientCertificates } from './parse-client-certificates.ts';
import { parsePath, parseSecretName } from './parse-sources.ts';
import {
  CIPHER_SUITES,
  type CertificateSource,
  type Hsts,
  type PlaintextAnswer,
  type TlsRules,
  type TlsVersion,
} from './types.ts';

/** Certificates at one port; a client's hello is compared with the names of each. */
const MAX_CERTIFICATES = 32;
const MAX_SERVER_NAMES = 128;
/** Two years: what browsers' preload lists ask for, and more than any need. */
const MAX_HSTS_SECONDS = 63_072_000;
/** hstspreload.org: a year at least, for all subdomains. */
const MIN_PRELOAD_SECONDS = 31_536_000;

/** The fields of {@link TlsRules}, wherever a spec holds them. */
export const TLS_RULE_FIELDS: readonly string[] = [
  'certificates',
  'serverNames',
  'minVersion',
  'maxVersion',
  'cipherSuites',
  'alpn',
  'plaintext',
  'hsts',
  'clientCertificates',
];

const VERSIONS: ReadonlyMap<string, TlsVersion> = new Map([
  ['1.2', 'TLSv1.2'],
  ['1.3', 'TLSv1.3'],
]);
const PROTOCOLS: readonly string[] = ['h2', 'http/1.1'];

export function parseTlsRules(reader: Reader, spec: PlainObject, field: string): TlsRules {
  const at = (name: string): string => (field === '' ? name : `${field}.${name}`);
  const certificates = parseCertificates(reader, spec['certificates'], at('certificates'));
  const serverNames = reader.strings(spec['serverNames'], at('serverNames'), MAX_SERVER_NAMES);
  serverNames.forEach((name, index) =>
    checkServerName(reader, name, `${at('serverNames')}[${index}]`),
  );
  const minVersion = parseVersion(reader, spec['minVersion'], at('minVersion')) ?? 'TLSv1.2';
  const maxVersion = parseVersion(reader, spec['maxVersion'], at('maxVersion')) ?? 'TLSv1.3';
  if (minVersion > maxVersion)
    reader.error(at('minVersion'), 'bad-versions', 'is above maxVersion', 'lower it');
  const cipherSuites = chosen(reader, spec['cipherSuites'], at('cipherSuites'), CIPHER_SUITES);
  if (minVersion === 'TLSv1.3' && spec['cipherSuites'] !== undefined) {
    const cure = 'leave it out: the suites of TLS 1.3 are all sound';
    reader.error(at('cipherSuites'), 'no-effect', 'speaks of TLS 1.2 alone', cure);
  }
  const hsts = parseHsts(reader, spec['hsts'], at('hsts'));
  const clientCertificates = parseClientCertificates(
    reader,
    spec['clientCertificates'],
    at('clientCertificates'),
  );
  return {
    certificates,
    serverNames: serverNames.map((name) => name.toLowerCase()),
    minVersion,
    maxVersion,
    cipherSuites,
    ...(spec['alpn'] !== undefined && {
      alpn: chosen(reader, spec['alpn'], at('alpn'), PROTOCOLS),
    }),
    plaintext: parsePlaintext(reader, spec['plaintext'], at('plaintext')),
    ...(hsts && { hsts }),
    ...(clientCertificates && { clientCertificates }),
  };
}

/** What is named of `known`, in that order; all of it when nothing is. */
function chosen(
  reader: Reader,
  value: unknown,
  field: string,
  known: readonly string[],
): readonly string[] {
  if (value === undefined) return known;
  const names = reader.strings(value, field, known.length);
  if (Array.isArray(value) && value.length === 0) reader.error(field, 'empty-list', 'is empty');
  for (const name of names) {
    if (known.includes(name)) continue;
    const cure = `write some of ${known.join(', ')}`;
    reader.error(field, 'unknown-value', `${shown(name)} is not supported`, cure);
  }
  return [...new Set(names)];
}

function parseVersion(reader: Reader, value: unknown, field: string): TlsVersion | undefined {
  const text = typeof value === 'number' ? String(value) : reader.string(value, field);
  if (text === undefined) return undefined;
  const version = VERSIONS.get(text);
  if (version === undefined)
    reader.error(
      field,
      'unknown-version',
      `${shown(text)} is not supported`,
      'write "1.2" or "1.3"',
    );
  return version;
}

function parseCertificates(
  reader: Reader,
  value: unknown,
  field: string,
): readonly CertificateSource[] {
  const entries = reader.list(value, field, MAX_CERTIFICATES) ?? [];
  if (entries.length === 0)
    reader.error(field, 'missing', 'names no certificate', 'write for example - secret: web-tls');
  const sources = entries.map((entry, index): CertificateSource => {
    const at = `${field}[${index}]`;
    const source = reader.object(entry, at, ['secret', 'file']);
    const file = reader.object(source?.['file'], `${at}.file`, ['certificate', 'key']);
    if (file !== undefined && source?.['secret'] === undefined) {
      const certificate = parsePath(reader, file['certificate'], `${at}.file.certificate`);
      const key = parsePath(reader, file['key'], `${at}.file.key`);
      return { kind: 'file', certificate, key };
    }
    const name = parseSecretName(reader, source?.['secret'], `${at}.secret`);
    if (file !== undefined) reader.error(at, 'ambiguous', 'names a Secret and a file', 'keep one');
    return { kind: 'secret', name };
  });
  if (new Set(sources.map(({ kind }) => kind)).size > 1) {
    const cure = 'keep Secrets or files';
    reader.error(
      field,
      'mixed-sources',
      'names Secrets and files: an Envoy takes one of them',
      cure,
    );
  }
  return sources;
}

function checkServerName(reader: Reader, text: string, field: string): void {
  const name = text.toLowerCase();
  const host = name.startsWith('*.') ? name.slice(2) : name;
  if (isDnsSubdomain(host) && !(host !== name && !host.includes('.'))) return;
  const cure = 'write for example "www.example.com" or "*.example.com"';
  reader.error(field, 'bad-server-name', `${shown(text)} is no name of a server`, cure);
}

function parsePlaintext(reader: Reader, value: unknown, field: string): PlaintextAnswer {
  const plaintext = reader.object(value, field, ['mode', 'status', 'port']);
  const mode = reader.string(plaintext?.['mode'], `${field}.mode`) ?? 'REFUSE';
  const { status = 301, port = 443 } = plaintext ?? {};
  if (mode === 'REDIRECT') {
    const isGood = status === 301 || status === 308;
    if (!isGood) reader.error(`${field}.status`, 'bad-status', 'is neither 301 nor 308');
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
      reader.error(`${field}.port`, 'bad-port', 'is no port', 'write one from 1 to 65535');
      return { kind: 'refuse' };
    }
    return { kind: 'redirect', status: status === 308 ? 308 : 301, port };
  }
  for (const name of ['status', 'port']) {
    if (plaintext?.[name] === undefined) continue;
    reader.error(`${field}.${name}`, 'no-effect', 'is for mode REDIRECT alone', 'leave it out');
  }
  if (mode !== 'ALLOW' && mode !== 'REFUSE') {
    const cure = 'write one of ALLOW, REFUSE, REDIRECT';
    reader.error(`${field}.mode`, 'unknown-mode', `unknown mode ${shown(mode)}`, cure);
  }
  return { kind: mode === 'ALLOW' ? 'allow' : 'refuse' };
}

export function parseFlag(reader: Reader, value: unknown, field: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  reader.error(field, 'wrong-type', 'expected true or false');
  return false;
}

function parseHsts(reader: Reader, value: unknown, field: string): Hsts | undefined {
  const hsts = reader.object(value, field, ['maxAgeSeconds', 'includeSubDomains', 'preload']);
  if (hsts === undefined) return undefined;
  const { maxAgeSeconds } = hsts;
  const includeSubDomains = parseFlag(
    reader,
    hsts['includeSubDomains'],
    `${field}.includeSubDomains`,
  );
  const preload = parseFlag(reader, hsts['preload'], `${field}.preload`);
  const isGood =
    typeof maxAgeSeconds === 'number' &&
    Number.isInteger(maxAgeSeconds) &&
    maxAgeSeconds >= 0 &&
    maxAgeSeconds <= MAX_HSTS_SECONDS;
  if (!isGood) {
    const cure = `write whole seconds from 0 to ${MAX_HSTS_SECONDS}, for example 31536000`;
    reader.error(`${field}.maxAgeSeconds`, 'bad-duration', 'is no number of seconds', cure);
    return undefined;
  }
  if (preload && (!includeSubDomains || maxAgeSeconds < MIN_PRELOAD_SECONDS)) {
    const message = 'preload lists take a year at least and all subdomains';
    const cure = `set includeSubDomains, and maxAgeSeconds to ${MIN_PRELOAD_SECONDS}`;
    reader.error(`${field}.preload`, 'bad-preload', message, cure);
  }
  return { maxAgeSeconds, includeSubDomains, preload };
}
