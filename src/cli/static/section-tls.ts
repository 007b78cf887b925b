// The section for TLS of clients: a TlsTermination whose certificates stand in files beside the sidecar's own.
import { createSecureContext } from 'node:tls';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { isSpec } from './section-policies.ts';
import {
  manifestOf,
  NO_PARTS,
  type Section,
  type SectionContext,
  type SectionObject,
} from './section.ts';

const KEY = 'tls';
const NAME = 'tls-0';
/** Of one list in the section. */
const MAX_CERTIFICATES = 32;

/** As the kind's spec, with files in place of Secrets. All of them are read anew when one changes, and hold together. */
export const TLS: Section = {
  key: KEY,
  async read(value, context) {
    if (!isSpec(value, KEY, context) || !isPlainObject(value)) return NO_PARTS;
    if (value['ports'] !== undefined) {
      const message = 'is of a mesh: here it holds for every address of listen';
      context.problem(`${KEY}.ports`, 'not-supported', message, 'remove it');
      return NO_PARTS;
    }
    const { namespace } = context;
    const secrets: SectionObject[] = [];
    const put = (name: string, at: string, stringData: Readonly<Record<string, string>>): void => {
      const secret = { apiVersion: 'v1', kind: 'Secret', name };
      secrets.push({ manifest: manifestOf(secret, namespace, { stringData }), at });
    };
    const certificates = await readCertificates(value['certificates'], context, put);
    const clientCertificates = await readTrust(value['clientCertificates'], context, put);
    const spec = {
      ...value,
      ...(certificates !== undefined && { certificates }),
      ...(clientCertificates !== undefined && { clientCertificates }),
    };
    const kind = { apiVersion: 'security.weft.dev/v1', kind: 'TlsTermination', name: NAME };
    const termination = { manifest: manifestOf(kind, namespace, { spec }), at: KEY };
    return { objects: [...secrets, termination] };
  },
};

type Put = (name: string, at: string, values: Readonly<Record<string, string>>) => void;

/** What is no list of files is left as it is: the kind's reader says what is wrong with it. */
async function readCertificates(
  value: unknown,
  context: SectionContext,
  put: Put,
): Promise<readonly unknown[] | undefined> {
  if (!Array.isArray(value)) return undefined;
  const made: unknown[] = [];
  for (const [index, entry] of value.slice(0, MAX_CERTIFICATES + 1).entries()) {
    const at = `${KEY}.certificates[${index}]`;
    const file = filesOf(entry, at, context, ['certificate', 'key']);
    if (file === undefined) continue;
    const certificate = await context.readFile(file['certificate'], `${at}.file.certificate`);
    const key = await context.readFile(file['key'], `${at}.file.key`);
    const name = `${NAME}-certificate-${index}`;
    made.push({ secret: name });
    if (certificate === undefined || key === undefined) continue;
    checkPair(certificate, key, at, context);
    put(name, at, { 'tls.crt': certificate.toString('utf8'), 'tls.key': key.toString('utf8') });
  }
  return made;
}

/** Half of a pair that is being written anew is no pair: the last good one is better. */
function checkPair(cert: Buffer, key: Buffer, at: string, context: SectionContext): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    // OpenSSL's reason; it says nothing of a key.
    const reason =
      error instanceof Error && 'reason' in error ? String(error.reason) : 'unreadable';
    const cure = 'write PEM of a certificate with its chain, and of its own key';
    context.problem(at, 'bad-certificate', `certificate and key cannot be used: ${reason}`, cure);
  }
}

async function readTrust(
  value: unknown,
  context: SectionContext,
  put: Put,
): Promise<PlainObject | undefined> {
  if (!isPlainObject(value) || value['trust'] === undefined) return undefined;
  const at = `${KEY}.clientCertificates.trust`;
  const file = filesOf(value['trust'], at, context, ['ca', 'crl']);
  if (file === undefined) return undefined;
  const ca = await context.readFile(file['ca'], `${at}.file.ca`);
  const hasCrl = file['crl'] !== undefined;
  const crl = hasCrl ? await context.readFile(file['crl'], `${at}.file.crl`) : undefined;
  const name = `${NAME}-clients`;
  if (ca !== undefined) {
    put(name, at, {
      'ca.crt': ca.toString('utf8'),
      ...(crl !== undefined && { 'ca.crl': crl.toString('utf8') }),
    });
  }
  const crlRule = hasCrl && value['crl'] === undefined ? { crl: { required: true } } : {};
  return { ...value, trust: { secret: name }, ...crlRule };
}

function filesOf(
  entry: unknown,
  at: string,
  context: SectionContext,
  keys: readonly string[],
): PlainObject | undefined {
  const file = isPlainObject(entry) && Object.keys(entry).length === 1 ? entry['file'] : undefined;
  if (isPlainObject(file) && Object.keys(file).every((key) => keys.includes(key))) return file;
  const cure = `write file: {${keys.map((key) => `${key}: ${key}.pem`).join(', ')}}`;
  context.problem(
    at,
    'bad-source',
    `expected a mapping with file alone, of ${keys.join(' and ')}`,
    cure,
  );
  return undefined;
}
