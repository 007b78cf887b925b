// Reads the file in which the operator of the mesh sets up sources of credentials: their names, and whose bindings may use them.
import { isDnsLabel } from '@weft/model/identity';
import { type HttpUri, parseHttpUri } from '@weft/model/http-uri';
import { parseIp } from '@weft/model/ip';
import { isCredentialPath } from '@weft/model/credentials/key-names';
import { isPlainObject, type PlainObject, Reader, shown } from '@weft/model/policy/reader';
import type { Result } from '@weft/model/problem';

export interface FolderConfig {
  readonly kind: 'folder';
  readonly path: string;
}

export interface VaultConfig {
  readonly kind: 'vault';
  readonly server: Pick<HttpUri, 'isTls' | 'host' | 'port'>;
  readonly address: string;
  readonly mount: string;
  readonly namespace: string | undefined;
  readonly caFile: string | undefined;
  readonly authMount: string;
  readonly role: string;
  readonly jwtFile: string;
}

export interface SourceConfig {
  readonly name: string;
  /** Whose bindings may name it; `*`: everybody's. */
  readonly namespaces: ReadonlySet<string>;
  /** Before each place. */
  readonly prefix: string;
  /** Whether the binding's namespace stands before its path, so that nobody reaches another's places. */
  readonly isByNamespace: boolean;
  readonly at: FolderConfig | VaultConfig;
}

const MAX_SOURCES = 32;
const MAX_NAMESPACES = 1_024;
/** Where kubelet puts a token of audience `vault`, by the chart's default. */
export const DEFAULT_JWT_FILE = '/var/run/secrets/weft-vault/token';
const LAYOUTS = ['namespace', 'shared'] as const;

/** @param value the file as it was parsed */
export function parseSourceConfigs(value: unknown): Result<readonly SourceConfig[]> {
  const reader = new Reader();
  const file = reader.object(value, '', ['sources']) ?? {};
  const entries = reader.list(file['sources'], 'sources', MAX_SOURCES);
  if (entries === undefined && reader.problems.length === 0) {
    reader.error('sources', 'no-sources', 'no list of sources', 'write sources: [{name, …}]');
  }
  const names = new Set<string>();
  const configs = (entries ?? []).flatMap((entry, index) => {
    const field = `sources[${index}]`;
    const config = parseSource(reader, entry, field);
    if (config === undefined) return [];
    if (names.has(config.name)) {
      const message = `${shown(config.name)} is there twice`;
      reader.error(`${field}.name`, 'duplicate-name', message, 'give it another name');
    }
    names.add(config.name);
    return [config];
  });
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return { ok: true, value: configs, problems: [] };
}

function parseSource(reader: Reader, value: unknown, field: string): SourceConfig | undefined {
  if (!isPlainObject(value)) {
    reader.error(field, 'wrong-type', 'expected a mapping', 'write name, namespaces and folder');
    return undefined;
  }
  const keys = ['name', 'namespaces', 'layout', 'prefix', 'folder', 'vault'];
  const entry = reader.object(value, field, keys) ?? {};
  const name = reader.string(entry['name'], `${field}.name`) ?? '';
  if (!isDnsLabel(name)) {
    const cure = 'use lower-case letters, digits and "-"';
    reader.error(`${field}.name`, 'bad-name', `${shown(name)} is no name of a source`, cure);
  }
  const namespaces = parseNamespaces(reader, entry['namespaces'], `${field}.namespaces`);
  const layout = reader.string(entry['layout'], `${field}.layout`) ?? 'namespace';
  if (!LAYOUTS.some((known) => known === layout)) {
    const message = `unknown layout ${shown(layout)}`;
    reader.error(`${field}.layout`, 'unknown-layout', message, `write ${LAYOUTS.join(' or ')}`);
  }
  const prefix = reader.string(entry['prefix'], `${field}.prefix`) ?? '';
  if (prefix !== '' && !isCredentialPath(prefix)) {
    const message = `${shown(prefix)} is no place in a source`;
    reader.error(`${field}.prefix`, 'bad-path', message, 'write it without "/" at its ends');
  }
  const at = parsePlace(reader, entry, field);
  if (at === undefined) return undefined;
  return { name, namespaces, prefix, isByNamespace: layout !== 'shared', at };
}

/** Needed: a source that everybody may read is to be one by somebody's word. */
function parseNamespaces(reader: Reader, value: unknown, field: string): ReadonlySet<string> {
  const names = reader.strings(value, field, MAX_NAMESPACES);
  if (names.length === 0) {
    const cure = 'write the namespaces whose bindings may use it, or ["*"]';
    reader.error(field, 'no-namespaces', 'nobody may use it', cure);
  }
  names.forEach((name, index) => {
    if (name === '*' || isDnsLabel(name)) return;
    reader.error(`${field}[${index}]`, 'bad-namespace', `${shown(name)} is no namespace`);
  });
  return new Set(names);
}

function parsePlace(
  reader: Reader,
  entry: PlainObject,
  field: string,
): FolderConfig | VaultConfig | undefined {
  const isFolder = entry['folder'] !== undefined;
  if (isFolder === (entry['vault'] !== undefined)) {
    const message = isFolder ? 'it is two sources at once' : 'it says not where it is';
    reader.error(field, 'no-source', message, 'write either folder or vault');
    return undefined;
  }
  if (!isFolder) return parseVault(reader, entry['vault'], `${field}.vault`);
  const folder = reader.object(entry['folder'], `${field}.folder`, ['path']) ?? {};
  return { kind: 'folder', path: pathAt(reader, folder, `${field}.folder`, 'path') };
}

/** @returns empty when it is no absolute path, which is then among the problems. */
function pathAt(reader: Reader, entry: PlainObject, field: string, key: string): string {
  const path = reader.string(entry[key], `${field}.${key}`) ?? '';
  if (!path.startsWith('/')) {
    const message = `${shown(path)} is no absolute path`;
    reader.error(`${field}.${key}`, 'bad-path', message, 'begin it with "/"');
  }
  return path;
}

function parseVault(reader: Reader, value: unknown, field: string): VaultConfig {
  const keys = ['address', 'mount', 'namespace', 'caFile', 'auth'];
  const entry = reader.object(value, field, keys) ?? {};
  const auth = reader.object(entry['auth'], `${field}.auth`, ['mount', 'role', 'jwtFile']) ?? {};
  const placeAt = (from: PlainObject, name: string, at: string, otherwise: string): string => {
    const text = reader.string(from[name], `${at}.${name}`) ?? otherwise;
    if (!isCredentialPath(text)) {
      const message = `${shown(text)} is no name of that`;
      reader.error(`${at}.${name}`, 'bad-path', message, 'write it without "/" at its ends');
    }
    return text;
  };
  const address = reader.string(entry['address'], `${field}.address`) ?? '';
  return {
    kind: 'vault',
    address,
    server: parseServer(reader, address, `${field}.address`),
    mount: placeAt(entry, 'mount', field, 'secret'),
    namespace:
      entry['namespace'] === undefined ? undefined : placeAt(entry, 'namespace', field, ''),
    caFile: entry['caFile'] === undefined ? undefined : pathAt(reader, entry, field, 'caFile'),
    authMount: placeAt(auth, 'mount', `${field}.auth`, 'kubernetes'),
    role: placeAt(auth, 'role', `${field}.auth`, 'weft'),
    jwtFile:
      auth['jwtFile'] === undefined
        ? DEFAULT_JWT_FILE
        : pathAt(reader, auth, `${field}.auth`, 'jwtFile'),
  };
}

const NOWHERE = { isTls: true, host: 'invalid', port: 443 };

/** Without TLS to this machine alone: a token and every value would go in the clear. */
function parseServer(
  reader: Reader,
  address: string,
  field: string,
): Pick<HttpUri, 'isTls' | 'host' | 'port'> {
  const uri = parseHttpUri(address);
  if (uri === undefined || (uri.target !== '/' && uri.target !== '')) {
    const message = `${shown(address)} is no address of a server`;
    reader.error(field, 'bad-address', message, 'write https://vault.example:8200');
    return NOWHERE;
  }
  if (!uri.isTls && !isLoopback(uri.host)) {
    const message = `${shown(address)} is without TLS`;
    reader.error(field, 'no-tls', message, 'write https://; http:// goes to loopback alone');
  }
  const { isTls, host, port } = uri;
  return { isTls, host, port };
}

function isLoopback(host: string): boolean {
  const ip = parseIp(host);
  if (ip === undefined) return false;
  return host === '::1' || (ip.family === 4 && host.startsWith('127.'));
}
