// Reads which certificates of clients outside the mesh are asked for and taken.
import { shown, type Reader } from '../policy/reader.ts';
import { parseNamePattern } from './distinguished-name.ts';
import { parsePath, parseSecretName } from './parse-sources.ts';
import type {
  AltNamePattern,
  ClientCertificates,
  ClientConstraints,
  ClientTrustSource,
  KeyRule,
  NamePattern,
} from './types.ts';

/** Entries of one constraint: each is compared with every certificate. */
const MAX_ENTRIES = 256;
/** Serial numbers have 20 octets at most (RFC 5280 §4.1.2.2). */
const MAX_SERIAL_DIGITS = 40;
const SHA256_BYTES = 32;
const HOUR_MS = 3_600_000;
/** A year. */
const MAX_CRL_HOURS = 8_784;

const CONSTRAINTS: readonly string[] = [
  'issuers',
  'subjects',
  'subjectAltNames',
  'extendedKeyUsages',
  'keys',
  'serials',
  'spkiPins',
];

/** By the names that people know; others are written as OIDs. */
const USAGES: ReadonlyMap<string, string> = new Map([
  ['clientAuth', '1.3.6.1.5.5.7.3.2'],
  ['serverAuth', '1.3.6.1.5.5.7.3.1'],
  ['codeSigning', '1.3.6.1.5.5.7.3.3'],
  ['emailProtection', '1.3.6.1.5.5.7.3.4'],
  ['smartcardLogon', '1.3.6.1.4.1.311.20.2.2'],
]);
const CURVES: ReadonlyMap<string, string> = new Map([
  ['P-256', 'prime256v1'],
  ['P-384', 'secp384r1'],
  ['P-521', 'secp521r1'],
]);

/** Absent, or NONE: no client is asked for a certificate. */
export function parseClientCertificates(
  reader: Reader,
  value: unknown,
  field: string,
): ClientCertificates | undefined {
  const spec = reader.object(value, field, ['mode', 'trust', 'crl', 'constraints']);
  if (spec === undefined) return undefined;
  const mode = reader.string(spec['mode'], `${field}.mode`);
  if (mode === 'NONE') return undefined;
  if (mode !== 'OPTIONAL' && mode !== 'REQUIRED') {
    const said = mode === undefined ? 'says no mode' : `unknown mode ${shown(mode)}`;
    reader.error(`${field}.mode`, 'unknown-mode', said, 'write one of NONE, OPTIONAL, REQUIRED');
  }
  const trust = parseTrust(reader, spec['trust'], `${field}.trust`);
  const crl = reader.object(spec['crl'], `${field}.crl`, ['required', 'maxAgeHours']);
  const isCrlRequired = crl?.['required'];
  if (crl !== undefined && typeof isCrlRequired !== 'boolean')
    reader.error(`${field}.crl.required`, 'wrong-type', 'expected true or false');
  const crlMaxAgeMs = parseCrlAge(reader, crl?.['maxAgeHours'], `${field}.crl.maxAgeHours`);
  const constraints = parseConstraints(reader, spec['constraints'], `${field}.constraints`);
  const needsList = isCrlRequired === true || (trust.kind === 'file' && trust.crl !== undefined);
  return {
    mode: mode === 'OPTIONAL' ? 'OPTIONAL' : 'REQUIRED',
    trust,
    crl: needsList ? 'required' : 'none',
    constraints: { ...constraints, ...(crlMaxAgeMs !== undefined && { crlMaxAgeMs }) },
  };
}

function parseTrust(reader: Reader, value: unknown, field: string): ClientTrustSource {
  const trust = reader.object(value, field, ['secret', 'file']);
  if (trust === undefined) {
    const cure = 'name the Secret or the file of the authorities that may vouch for clients';
    reader.error(field, 'missing', 'says nobody who vouches for clients', cure);
  }
  const file = reader.object(trust?.['file'], `${field}.file`, ['ca', 'crl']);
  if (file !== undefined && trust?.['secret'] === undefined) {
    const ca = parsePath(reader, file['ca'], `${field}.file.ca`);
    if (file['crl'] === undefined) return { kind: 'file', ca };
    return { kind: 'file', ca, crl: parsePath(reader, file['crl'], `${field}.file.crl`) };
  }
  if (file !== undefined) reader.error(field, 'ambiguous', 'names a Secret and a file', 'keep one');
  return { kind: 'secret', name: parseSecretName(reader, trust?.['secret'], `${field}.secret`) };
}

function parseCrlAge(reader: Reader, value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_CRL_HOURS)
    return value * HOUR_MS;
  const cure = `write whole hours from 1 to ${MAX_CRL_HOURS}`;
  reader.error(field, 'bad-duration', 'is no number of hours', cure);
  return undefined;
}

function parseConstraints(reader: Reader, value: unknown, field: string): ClientConstraints {
  const spec = reader.object(value, field, CONSTRAINTS) ?? {};
  const texts = (name: string): readonly string[] => {
    const list = reader.strings(spec[name], `${field}.${name}`, MAX_ENTRIES);
    // An empty list would ask for nothing, where somebody meant that nothing is good.
    if (Array.isArray(spec[name]) && spec[name].length === 0)
      reader.error(`${field}.${name}`, 'empty-list', 'is empty', 'leave it out, or name some');
    return list;
  };
  const names = (name: string): readonly NamePattern[] =>
    texts(name).flatMap((text, index) => {
      const pattern = parseNamePattern(text);
      if (pattern !== undefined) return [pattern];
      const message = `${shown(text)} is no distinguished name`;
      const cure =
        'write it as RFC 4514: "CN=shop,OU=Clients,O=Example,C=DE", the most specific part first';
      reader.error(`${field}.${name}[${index}]`, 'bad-distinguished-name', message, cure);
      return [];
    });
  return {
    issuers: names('issuers'),
    subjects: names('subjects'),
    subjectAltNames: parseAltNames(reader, spec['subjectAltNames'], `${field}.subjectAltNames`),
    extendedKeyUsages: texts('extendedKeyUsages').map((text, index) =>
      parseUsage(reader, text, `${field}.extendedKeyUsages[${index}]`),
    ),
    keys: parseKeys(reader, spec['keys'], `${field}.keys`),
    serials: texts('serials').map((text, index) =>
      parseSerial(reader, text, `${field}.serials[${index}]`),
    ),
    spkiPins: texts('spkiPins').map((text, index) =>
      parsePin(reader, text, `${field}.spkiPins[${index}]`),
    ),
  };
}

function parseAltNames(reader: Reader, value: unknown, field: string): readonly AltNamePattern[] {
  const entries = reader.list(value, field, MAX_ENTRIES) ?? [];
  if (value !== undefined && entries.length === 0)
    reader.error(field, 'empty-list', 'is empty', 'leave it out, or name some');
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const spec = reader.object(entry, at, ['type', 'value']);
    const type = reader.string(spec?.['type'], `${at}.type`);
    if (type !== 'DNS' && type !== 'URI' && type !== 'EMAIL') {
      reader.error(`${at}.type`, 'unknown-type', 'is none of DNS, URI, EMAIL', 'write one of them');
      return [];
    }
    const text = reader.string(spec?.['value'], `${at}.value`) ?? '';
    const pattern = wildcardOf(text);
    if (pattern !== undefined) {
      const folds = type !== 'URI';
      return [{ type, ...pattern, value: folds ? pattern.value.toLowerCase() : pattern.value }];
    }
    const cure = 'write it whole, or with one * at its beginning or end';
    reader.error(`${at}.value`, 'bad-pattern', `${shown(text)} is no pattern`, cure);
    return [];
  });
}

/** A lone `*` would be no constraint. */
function wildcardOf(text: string): Pick<AltNamePattern, 'match' | 'value'> | undefined {
  if (text.length === 0 || text === '*') return undefined;
  const star = text.indexOf('*');
  if (star === -1) return { match: 'exact', value: text };
  if (text.lastIndexOf('*') !== star) return undefined;
  if (star === 0) return { match: 'suffix', value: text.slice(1) };
  return star === text.length - 1 ? { match: 'prefix', value: text.slice(0, -1) } : undefined;
}

const isDigit = (char: string): boolean => char >= '0' && char <= '9';

function parseUsage(reader: Reader, text: string, field: string): string {
  const known = USAGES.get(text);
  if (known !== undefined) return known;
  const arcs = text.split('.');
  const isOid =
    arcs.length >= 3 && arcs.every((arc) => arc !== '' && Array.from(arc).every(isDigit));
  if (!isOid) {
    const cure = `write one of ${[...USAGES.keys()].join(', ')}, or an OID`;
    reader.error(field, 'unknown-usage', `${shown(text)} is no key usage`, cure);
  }
  return text;
}

const isHex = (text: string): boolean =>
  text.length > 0 &&
  Array.from(text).every((char) => isDigit(char) || (char >= 'a' && char <= 'f'));

function parseSerial(reader: Reader, text: string, field: string): string {
  const digits = text.toLowerCase().replaceAll(':', '');
  if (!isHex(digits) || digits.length > MAX_SERIAL_DIGITS) {
    const cure = 'write it in hex, as openssl x509 -serial prints it';
    reader.error(field, 'bad-serial', `${shown(text)} is no serial number`, cure);
  }
  return withoutLeadingZeros(digits);
}

export function withoutLeadingZeros(digits: string): string {
  let at = 0;
  while (at < digits.length - 1 && digits[at] === '0') at++;
  return digits.slice(at);
}

/** Base64 as Envoy and HPKP write pins, or hex. */
function parsePin(reader: Reader, text: string, field: string): string {
  if (text.length === SHA256_BYTES * 2 && isHex(text.toLowerCase())) return text.toLowerCase();
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === SHA256_BYTES && bytes.toString('base64') === text)
    return bytes.toString('hex');
  const cure = 'write the SHA-256 of the SubjectPublicKeyInfo in base64 or hex';
  reader.error(field, 'bad-pin', `${shown(text)} is no pin`, cure);
  return '';
}

function parseKeys(reader: Reader, value: unknown, field: string): readonly KeyRule[] {
  const entries = reader.list(value, field, MAX_ENTRIES) ?? [];
  if (value !== undefined && entries.length === 0)
    reader.error(field, 'empty-list', 'is empty', 'leave it out, or name some');
  return entries.flatMap((entry, index): readonly KeyRule[] => {
    const at = `${field}[${index}]`;
    const spec = reader.object(entry, at, ['type', 'minBits', 'curves']) ?? {};
    const { type, minBits = 2_048 } = spec;
    if (type === 'Ed25519') return [{ kind: 'Ed25519' }];
    if (type === 'EC')
      return [{ kind: 'EC', curves: parseCurves(reader, spec['curves'], `${at}.curves`) }];
    if (type !== 'RSA') {
      reader.error(
        `${at}.type`,
        'unknown-type',
        'is none of RSA, EC, Ed25519',
        'write one of them',
      );
      return [];
    }
    if (
      typeof minBits !== 'number' ||
      !Number.isInteger(minBits) ||
      minBits < 2_048 ||
      minBits > 16_384
    ) {
      reader.error(`${at}.minBits`, 'bad-size', 'is no size of a key', 'write 2048 or more');
      return [];
    }
    return [{ kind: 'RSA', minBits }];
  });
}

function parseCurves(reader: Reader, value: unknown, field: string): readonly string[] {
  return reader.strings(value, field, CURVES.size).map((name, index) => {
    const curve = CURVES.get(name);
    if (curve === undefined) {
      const cure = `write some of ${[...CURVES.keys()].join(', ')}`;
      reader.error(`${field}[${index}]`, 'unknown-curve', `${shown(name)} is not supported`, cure);
    }
    return curve ?? name;
  });
}
