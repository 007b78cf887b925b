// Reads a BasicAuthentication from its manifest.
import { isToken } from '../http-fields.ts';
import { isDnsSubdomain } from '../identity.ts';
import { parseEnvelope, parseSelector } from '../policy/parse-metadata.ts';
import { checkValues } from '../policy/parse-values.ts';
import { type PlainObject, Reader, shown } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import type { BasicAuthentication, UserSource } from './types.ts';

export const LOGIN_API_VERSIONS: readonly string[] = ['security.weft.dev/v1'];

const MAX_EXEMPT_PATHS = 64;
const MAX_REALM = 128;
const MAX_HEADER_NAME = 128;
const DEFAULT_REALM = 'Restricted';
/** As ingress controllers call it. */
export const DEFAULT_USERS_KEY = 'auth';

/** A login at every path of this would be none. */
const EVERYTHING: readonly string[] = ['*', '/*', '/{**}'];

/** Of the mesh, or of the hop: an application could be told something else in them. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'connection',
  'content-length',
  'host',
  'transfer-encoding',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-request-id',
]);

export function parseBasicAuthentication(object: PlainObject): Result<BasicAuthentication> {
  const reader = new Reader();
  const metadata = parseEnvelope(reader, object, 'BasicAuthentication', LOGIN_API_VERSIONS);
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', [
      'selector',
      'users',
      'realm',
      'exemptPaths',
      'keepCredential',
      'userHeader',
      'allowPlaintext',
    ]) ?? {};
  const selector = parseSelector(reader, spec['selector'] ?? undefined, 'spec.selector');
  const userHeader = readHeader(reader, spec['userHeader'] ?? undefined);
  const value: BasicAuthentication = {
    namespace: metadata.namespace,
    name: metadata.name,
    createdAtMs: metadata.createdAtMs,
    selector,
    users: readUsers(reader, spec['users'] ?? undefined),
    realm: readRealm(reader, spec['realm'] ?? undefined),
    exemptPaths: readPaths(reader, spec['exemptPaths'] ?? undefined),
    keepsCredential: readFlag(reader, spec, 'keepCredential'),
    ...(userHeader !== undefined && { userHeader }),
    allowsPlaintext: readFlag(reader, spec, 'allowPlaintext'),
  };
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return { ok: true, value, problems: [] };
}

function readUsers(reader: Reader, value: unknown): UserSource {
  const field = 'spec.users';
  const users = reader.object(value, field, ['secretName', 'key']);
  if (users === undefined) {
    const cure = 'name a Secret: users: {secretName: NAME}';
    if (value === undefined) reader.error(field, 'missing', 'says no users', cure);
    return { secret: '', key: '' };
  }
  const secret = reader.string(users['secretName'] ?? undefined, `${field}.secretName`) ?? '';
  if (!isDnsSubdomain(secret)) {
    const message = `${shown(secret)} is no name of a Secret`;
    const cure = 'write the name of a Secret of the same namespace';
    reader.error(`${field}.secretName`, 'bad-name', message, cure);
  }
  const key = reader.string(users['key'] ?? undefined, `${field}.key`) ?? DEFAULT_USERS_KEY;
  if (key === '' || key.length > 253) {
    reader.error(`${field}.key`, 'bad-key', `${shown(key)} is no key of a Secret`);
  }
  return { secret, key };
}

/** What cannot be seen cannot be read in a browser's dialogue, and could end the header. */
function readRealm(reader: Reader, value: unknown): string {
  const realm = reader.string(value, 'spec.realm') ?? DEFAULT_REALM;
  const isVisible = Array.from(realm).every((char) => char >= ' ' && char <= '~');
  if (realm === '' || realm.length > MAX_REALM || !isVisible) {
    const cure = `use 1 to ${MAX_REALM} visible ASCII characters`;
    reader.error('spec.realm', 'bad-realm', `${shown(realm)} is no realm`, cure);
  }
  return realm;
}

function readPaths(reader: Reader, value: unknown): readonly string[] {
  const field = 'spec.exemptPaths';
  const paths = reader.strings(value, field, MAX_EXEMPT_PATHS);
  checkValues(reader, 'paths', field, paths);
  paths.forEach((path, index) => {
    if (!EVERYTHING.includes(path)) return;
    const message = `${shown(path)} exempts every path`;
    const cure = 'name the paths, or remove the object';
    reader.error(`${field}[${index}]`, 'exempts-all', message, cure);
  });
  return paths;
}

function readHeader(reader: Reader, value: unknown): string | undefined {
  const written = reader.string(value, 'spec.userHeader');
  if (written === undefined) return undefined;
  const name = written.toLowerCase();
  const isReserved = RESERVED_HEADERS.has(name) || name.startsWith('x-weft-');
  if (!isToken(written) || written.length > MAX_HEADER_NAME || isReserved) {
    const message = `${shown(written)} cannot hold the user's name`;
    reader.error('spec.userHeader', 'bad-header', message, 'write for example X-Forwarded-User');
  }
  return name;
}

function readFlag(reader: Reader, spec: PlainObject, key: string): boolean {
  const value = spec[key] ?? false;
  if (typeof value === 'boolean') return value;
  reader.error(`spec.${key}`, 'wrong-type', 'expected true or false');
  return false;
}
