// Reads how a sidecar speaks TLS to a host outside the mesh: whom it believes, what it asks for, what it shows.
import { isDnsSubdomain } from '../identity.ts';
import { parseIp } from '../ip.ts';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import type { ExternalTls, PemSource } from './external-service.ts';

const FIELD = 'spec.tls';
const MAX_NAMES = 64;
/** Of a file's path: Linux' own bound. */
const MAX_PATH = 4_096;
/** Where `kubernetes.io/tls` and ConfigMaps of roots have them. */
const CA_KEY = 'ca.crt';
const TLS_KEYS = [
  'mode',
  'ca',
  'sni',
  'subjectAltNames',
  'clientCertificate',
  'minVersion',
] as const;
const MIN_VERSIONS: ReadonlyMap<string, ExternalTls['minVersion']> = new Map([
  ['TLSv1_2', 'TLSv1.2'],
  ['TLSv1_3', 'TLSv1.3'],
]);

/** @returns `undefined` for none, and for what is wrong, which is then among the problems. */
export function parseExternalTls(reader: Reader, value: unknown): ExternalTls | undefined {
  const tls = reader.object(value, FIELD, TLS_KEYS);
  if (tls === undefined) return undefined;
  const mode = reader.string(tls['mode'], `${FIELD}.mode`) ?? 'SIMPLE';
  if (mode !== 'NONE' && mode !== 'SIMPLE' && mode !== 'MUTUAL') {
    const cure = 'write one of NONE, SIMPLE, MUTUAL';
    reader.error(`${FIELD}.mode`, 'unknown-mode', `unknown mode ${shown(mode)}`, cure);
  }
  const parts = {
    ca: parseCa(reader, tls['ca']),
    sni: parseName(reader, tls['sni'], `${FIELD}.sni`),
    subjectAltNames: parseNames(reader, tls['subjectAltNames']),
    client: parseClient(reader, tls['clientCertificate']),
    minVersion: parseMinVersion(reader, tls['minVersion']),
  };
  checkMode(reader, mode, tls);
  return mode === 'NONE' ? undefined : parts;
}

function checkMode(reader: Reader, mode: string, tls: PlainObject): void {
  const hasCertificate = tls['clientCertificate'] !== undefined;
  if (mode === 'MUTUAL' && !hasCertificate) {
    const cure = 'write spec.tls.clientCertificate: {secret: NAME}';
    reader.error(`${FIELD}.clientCertificate`, 'missing', 'MUTUAL needs a certificate', cure);
  }
  if (mode === 'SIMPLE' && hasCertificate) {
    const message = 'a certificate is shown in the mode MUTUAL alone';
    reader.error(`${FIELD}.clientCertificate`, 'not-used', message, 'write spec.tls.mode: MUTUAL');
  }
  const others = Object.keys(tls).filter((key) => key !== 'mode');
  if (mode === 'NONE' && others.length > 0) {
    const message = `${others.join(', ')}: nothing of it is used in the mode NONE`;
    reader.error(FIELD, 'not-used', message, 'write SIMPLE or MUTUAL, or remove the rest');
  }
}

function parseName(reader: Reader, value: unknown, field: string): string | undefined {
  const text = reader.string(value, field);
  if (text === undefined || isDnsSubdomain(text)) return text;
  reader.error(field, 'bad-host', `${shown(text)} is no DNS name`);
  return undefined;
}

function parseNames(reader: Reader, value: unknown): readonly string[] | undefined {
  const field = `${FIELD}.subjectAltNames`;
  if (value === undefined) return undefined;
  const names = reader.strings(value, field, MAX_NAMES);
  if (names.length === 0) {
    const message = 'must not be empty: any certificate of the CA would do';
    reader.error(field, 'empty-list', message, 'remove it: then the host is expected');
  }
  names.forEach((name, index) => {
    if (isDnsSubdomain(name) || name.startsWith('spiffe://') || parseIp(name) !== undefined) return;
    const cure = 'write a DNS name without stars, an address, or a spiffe:// URI';
    reader.error(`${field}[${index}]`, 'bad-name', `${shown(name)} is no name to expect`, cure);
  });
  return names;
}

function parseMinVersion(reader: Reader, value: unknown): ExternalTls['minVersion'] {
  const field = `${FIELD}.minVersion`;
  const text = reader.string(value, field) ?? 'TLSv1_2';
  const version = MIN_VERSIONS.get(text);
  if (version !== undefined) return version;
  const cure = `write one of ${[...MIN_VERSIONS.keys()].join(', ')}`;
  reader.error(field, 'unknown-version', `unknown version ${shown(text)}`, cure);
  return 'TLSv1.3';
}

function objectName(reader: Reader, value: unknown, field: string): string {
  const name = reader.string(value, field) ?? '';
  if (isDnsSubdomain(name)) return name;
  const cure = 'write the name of an object of the same namespace';
  reader.error(field, 'bad-name', `${shown(name)} is no name of an object`, cure);
  return '';
}

function filePath(reader: Reader, value: unknown, field: string): string {
  const path = reader.string(value, field) ?? '';
  if (path.startsWith('/') && path.length <= MAX_PATH && !path.includes('\0')) return path;
  reader.error(field, 'bad-path', `${shown(path)} is no absolute path`, 'write it from / on');
  return '';
}

/** Exactly one of the keys. */
function onlyKey(
  reader: Reader,
  source: PlainObject,
  field: string,
  keys: readonly string[],
): string | undefined {
  const given = keys.filter((key) => source[key] !== undefined);
  if (given.length === 1) return given[0];
  reader.error(
    field,
    'one-source',
    'names not exactly one source',
    `write one of ${keys.join(', ')}`,
  );
  return undefined;
}

function parseCa(reader: Reader, value: unknown): PemSource | undefined {
  const field = `${FIELD}.ca`;
  const keys = ['configMap', 'secret', 'file', 'system'];
  const ca = reader.object(value, field, keys);
  const kind = ca && onlyKey(reader, ca, field, keys);
  if (ca === undefined || kind === undefined) return undefined;
  if (kind === 'file') return { kind, path: filePath(reader, ca['file'], `${field}.file`) };
  if (kind === 'configMap' || kind === 'secret') {
    const at = `${field}.${kind}`;
    const source = reader.object(ca[kind], at, ['name', 'key']) ?? {};
    const key = reader.string(source['key'], `${at}.key`) ?? CA_KEY;
    return { kind, name: objectName(reader, source['name'], `${at}.name`), key };
  }
  if (ca['system'] !== true) {
    reader.error(`${field}.system`, 'wrong-type', 'expected true', 'write true, or another source');
  }
  return undefined;
}

function parseClient(reader: Reader, value: unknown): ExternalTls['client'] {
  const field = `${FIELD}.clientCertificate`;
  const keys = ['secret', 'files'];
  const client = reader.object(value, field, keys);
  const kind = client && onlyKey(reader, client, field, keys);
  if (client === undefined || kind === undefined) return undefined;
  if (kind === 'secret') {
    const secret = reader.object(client['secret'], `${field}.secret`, ['name']) ?? {};
    return { kind, name: objectName(reader, secret['name'], `${field}.secret.name`) };
  }
  const at = `${field}.files`;
  const files = reader.object(client['files'], at, ['certificate', 'key']) ?? {};
  return {
    kind: 'files',
    certificate: filePath(reader, files['certificate'], `${at}.certificate`),
    key: filePath(reader, files['key'], `${at}.key`),
  };
}
