// Reads what a WorkloadPolicy asks of images: spec.images.
import { createPublicKey, X509Certificate } from 'node:crypto';
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import { type ImagePattern, parseImagePattern } from './image-reference.ts';
import type {
  CertificateRule,
  ImagesSection,
  SignatureRule,
  SignerIdentity,
} from './image-types.ts';

const MAX_PATTERNS = 256;
const MAX_RULES = 32;
const MAX_KEYS = 16;
const MAX_IDENTITIES = 64;
const FIELD = 'spec.images';
const KEYS = ['allow', 'digests', 'signatures', 'whenUnavailable', 'allowWeftImage'];

export function parseImagesSection(reader: Reader, value: unknown): ImagesSection | undefined {
  const section = reader.object(value, FIELD, KEYS);
  if (section === undefined) return undefined;
  const allow =
    section['allow'] === undefined
      ? undefined
      : parsePatterns(reader, section['allow'], `${FIELD}.allow`);
  const digests = parseChoice(reader, section['digests'], 'digests', [
    'any',
    'required',
    'resolve',
  ]);
  const whenUnavailable = parseChoice(reader, section['whenUnavailable'], 'whenUnavailable', [
    'refuse',
    'allow',
  ]);
  const entries = reader.list(section['signatures'], `${FIELD}.signatures`, MAX_RULES) ?? [];
  const signatures = entries.flatMap(
    (entry, index) => parseSignatureRule(reader, entry, `${FIELD}.signatures[${index}]`) ?? [],
  );
  const weft = section['allowWeftImage'];
  if (weft !== undefined && typeof weft !== 'boolean') {
    reader.error(`${FIELD}.allowWeftImage`, 'wrong-type', 'expected true or false');
  }
  if (digests === 'resolve' && section['allow'] === undefined) {
    const cure = 'set spec.images.allow to the repositories that may be asked';
    reader.error(`${FIELD}.digests`, 'no-registry', 'no registry is named to be asked', cure);
  }
  if (allow === undefined && (digests ?? 'any') === 'any' && signatures.length === 0) {
    reader.error(FIELD, 'empty-section', 'asks for nothing', 'set allow, digests or signatures');
  }
  return {
    allow,
    digests: digests ?? 'any',
    signatures,
    whenUnavailable: whenUnavailable ?? 'refuse',
    allowWeftImage: weft === true,
  };
}

function parseChoice<T extends string>(
  reader: Reader,
  value: unknown,
  name: string,
  choices: readonly T[],
): T | undefined {
  const text = reader.string(value ?? undefined, `${FIELD}.${name}`);
  const found = choices.find((choice) => choice === text);
  if (text !== undefined && found === undefined) {
    const cure = `write one of ${choices.join(', ')}`;
    reader.error(`${FIELD}.${name}`, 'unknown-value', `${shown(text)} is not known`, cure);
  }
  return found;
}

function parsePatterns(reader: Reader, value: unknown, field: string): readonly ImagePattern[] {
  const texts = reader.strings(value, field, MAX_PATTERNS);
  if (texts.length === 0) {
    reader.error(field, 'empty-list', 'names no image', 'write for example registry.example.com/*');
  }
  return texts.flatMap((text, index) => {
    const pattern = parseImagePattern(text);
    if (pattern !== undefined) return [pattern];
    const message = `${shown(text)} names no repository of a registry`;
    const cure =
      'write the registry first: "registry.example.com/shop/web", "registry.example.com/*", "docker.io/library/nginx"';
    reader.error(`${field}[${index}]`, 'bad-image', message, cure);
    return [];
  });
}

/** Who must have signed what. */
export function parseSignatureRule(
  reader: Reader,
  value: unknown,
  field: string,
): SignatureRule | undefined {
  const rule = reader.object(value ?? 0, field, ['images', 'keys', 'certificates']);
  if (rule === undefined) return undefined;
  const images = parsePatterns(reader, rule['images'], `${field}.images`);
  const cure = 'paste cosign.pub: "-----BEGIN PUBLIC KEY-----" and what follows';
  const keys = parseKeys(reader, rule['keys'], `${field}.keys`, cure);
  const certificates = parseCertificates(reader, rule['certificates'], `${field}.certificates`);
  if (keys.length === 0 && rule['certificates'] === undefined) {
    reader.error(field, 'no-signer', 'nobody could have signed', 'set keys or certificates');
  }
  return { images, keys, certificates };
}

function parseKeys(reader: Reader, value: unknown, field: string, cure: string): readonly string[] {
  const keys = reader.strings(value, field, MAX_KEYS);
  keys.forEach((key, index) => {
    if (isPublicKey(key)) return;
    reader.error(`${field}[${index}]`, 'bad-key', 'is no public key in PEM', cure);
  });
  return keys;
}

/** A private key would be taken for its public half: it does not belong into a policy. */
function isPublicKey(pem: string): boolean {
  if (pem.includes('PRIVATE KEY') || !pem.includes('-----BEGIN PUBLIC KEY-----')) return false;
  try {
    createPublicKey(pem);
    return true;
  } catch {
    return false;
  }
}

function parseCertificates(
  reader: Reader,
  value: unknown,
  field: string,
): CertificateRule | undefined {
  const object: PlainObject | undefined = reader.object(value, field, [
    'roots',
    'identities',
    'transparencyLogs',
  ]);
  if (object === undefined) return undefined;
  const roots = reader.string(object['roots'], `${field}.roots`) ?? '';
  if (!isCertificate(roots)) {
    const cure = 'paste the certificates of the authority, in PEM';
    reader.error(`${field}.roots`, 'bad-certificate', 'holds no certificate in PEM', cure);
  }
  const entries = reader.list(object['identities'], `${field}.identities`, MAX_IDENTITIES) ?? [];
  if (entries.length === 0) {
    const message = 'whoever has any certificate of the authority would do';
    reader.error(`${field}.identities`, 'no-identity', message, 'name subjects, and their issuers');
  }
  const identities = entries.flatMap(
    (entry, index) => parseIdentity(reader, entry, `${field}.identities[${index}]`) ?? [],
  );
  const transparencyLogs = parseKeys(
    reader,
    object['transparencyLogs'],
    `${field}.transparencyLogs`,
    'paste the public key of the log, in PEM',
  );
  return { roots, identities, transparencyLogs };
}

function isCertificate(pem: string): boolean {
  try {
    return pem.includes('-----BEGIN CERTIFICATE-----') && new X509Certificate(pem).ca !== undefined;
  } catch {
    return false;
  }
}

function parseIdentity(reader: Reader, value: unknown, field: string): SignerIdentity | undefined {
  const object = reader.object(value ?? 0, field, ['subject', 'issuer']);
  if (object === undefined) return undefined;
  const subject = reader.string(object['subject'] ?? undefined, `${field}.subject`) ?? '';
  const issuer = reader.string(object['issuer'] ?? undefined, `${field}.issuer`);
  const star = subject.indexOf('*');
  if (subject === '' || subject === '*' || (star !== -1 && star !== subject.length - 1)) {
    const message = `${shown(subject)} names nobody`;
    const cure = 'write an alternative name of the certificate; "*" may end it';
    reader.error(`${field}.subject`, 'bad-subject', message, cure);
  }
  return { subject, issuer };
}
