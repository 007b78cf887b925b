// Reads the section that gives the application credentials: where they are, which it may have by which ways, and how they reach it.
import { isAbsolute } from 'node:path';
import {
  parseSourceConfigs,
  type SourceConfig,
} from '@weft/controlplane/credentials/sources/source-config';
import type { CredentialsOptions } from '@weft/dataplane/credentials/options';
import { parseCredential } from '@weft/model/credentials/parse-credential';
import { type CredentialSpec, MAX_CREDENTIALS } from '@weft/model/credentials/types';
import { errorText } from '@weft/model/error-text';
import { isPlainObject, type PlainObject, type Reader, shown } from '@weft/model/policy/reader';
import {
  type CredentialsFlags,
  credentialsOptionsOf,
  DEFAULT_FILE_MODE,
  parseAllowed,
  parseMode,
  parseOnChange,
  parseOwner,
} from '../credentials-options.ts';
import { parseHostPort } from '../parse.ts';

export interface StaticCredentialsConfig {
  readonly sources: readonly SourceConfig[];
  /** As in `spec.credentials` of a CredentialBinding. */
  readonly grants: readonly CredentialSpec[];
  readonly delivery: CredentialsOptions;
}

const LOOPBACK = '127.0.0.1';
/** Into requests alone. */
const NOWHERE: CredentialsOptions = { url: undefined, files: undefined };

/** @returns `undefined` when something is wrong, which is then among the reader's problems. */
export function readCredentials(
  reader: Reader,
  value: unknown,
): StaticCredentialsConfig | undefined {
  const field = 'credentials';
  const section = reader.object(value, field, ['sources', 'grants', 'url', 'files']);
  if (section === undefined) return undefined;
  const sources = readSources(reader, section['sources']);
  const grants = readGrants(reader, section['grants']);
  for (const [index, { source }] of grants.entries()) {
    if (source.kind === 'named' && sources.some(({ name }) => name === source.source)) continue;
    const message = source.kind === 'secret' ? 'there is no cluster with Secrets' : 'is no source';
    const cure = `write from: one of ${sources.map(({ name }) => name).join(', ') || 'sources'}`;
    reader.error(`${field}.grants[${index}].source`, 'unknown-source', message, cure);
  }
  const flags: CredentialsFlags = {
    credentialsMode: DEFAULT_FILE_MODE,
    ...readUrl(reader, section['url'], `${field}.url`),
    ...readFiles(reader, section['files'], `${field}.files`),
  };
  if (reader.problems.length > 0) return undefined;
  const delivery = tried(reader, field, () => credentialsOptionsOf(flags)) ?? NOWHERE;
  return reader.problems.length > 0 ? undefined : { sources, grants, delivery };
}

/** As the operator of a mesh writes them, for the one namespace there is. */
function readSources(reader: Reader, value: unknown): readonly SourceConfig[] {
  const entries = Array.isArray(value)
    ? value.map((entry: unknown) =>
        isPlainObject(entry) ? { namespaces: ['*'], layout: 'shared', ...entry } : entry,
      )
    : value;
  const parsed = parseSourceConfigs({ sources: entries });
  if (parsed.ok) return parsed.value;
  for (const { field = 'sources', code, message, cure } of parsed.problems) {
    reader.error(`credentials.${field}`, code, message, cure);
  }
  return [];
}

function readGrants(reader: Reader, value: unknown): readonly CredentialSpec[] {
  const field = 'credentials.grants';
  const entries = reader.list(value, field, MAX_CREDENTIALS) ?? [];
  const names = new Set<string>();
  return entries.flatMap((entry, index) => {
    const spec = parseCredential(reader, entry, `${field}[${index}]`);
    if (spec === undefined) return [];
    if (names.has(spec.name)) {
      const message = `${shown(spec.name)} is there twice`;
      reader.error(`${field}[${index}].name`, 'duplicate-name', message, 'give it another name');
    }
    names.add(spec.name);
    return [spec];
  });
}

type Mutable<T> = { -readonly [K in keyof T]?: T[K] };

function readUrl(reader: Reader, value: unknown, field: string): Mutable<CredentialsFlags> {
  if (value === undefined) return {};
  const url = reader.object(value, field, ['socket', 'listen', 'allow', 'tokenFile']) ?? {};
  const flags: Mutable<CredentialsFlags> = {};
  if (url['socket'] !== undefined) flags.credentialsSocket = path(reader, url, field, 'socket');
  const listen = textOf(reader, url, field, 'listen');
  if (listen !== undefined) {
    const port = tried(reader, `${field}.listen`, () => parseHostPort(listen, LOOPBACK));
    if (port !== undefined) flags.credentialsListen = port;
  }
  if ((url['socket'] === undefined) === (listen === undefined)) {
    reader.error(field, 'no-address', 'say where it is asked', 'write either socket or listen');
  }
  if (url['allow'] !== undefined) {
    flags.credentialsAllow = reader
      .strings(url['allow'], `${field}.allow`, 256)
      .flatMap(
        (text, at) => tried(reader, `${field}.allow[${at}]`, () => parseAllowed(text)) ?? [],
      );
  }
  if (url['tokenFile'] !== undefined) {
    flags.credentialsTokenFile = path(reader, url, field, 'tokenFile');
  }
  return flags;
}

function readFiles(reader: Reader, value: unknown, field: string): Mutable<CredentialsFlags> {
  if (value === undefined) return {};
  const keys = ['directory', 'mode', 'owner', 'onChange', 'force'];
  const files = reader.object(value, field, keys) ?? {};
  const flags: Mutable<CredentialsFlags> = {
    credentialsDir: path(reader, files, field, 'directory'),
  };
  const mode = textOf(reader, files, field, 'mode');
  const owner = textOf(reader, files, field, 'owner');
  const onChange = textOf(reader, files, field, 'onChange');
  const at = (key: string): string => `${field}.${key}`;
  if (mode !== undefined) {
    flags.credentialsMode = tried(reader, at('mode'), () => parseMode(mode)) ?? DEFAULT_FILE_MODE;
  }
  const ownerRead = owner && tried(reader, at('owner'), () => parseOwner(owner));
  if (ownerRead) flags.credentialsOwner = ownerRead;
  const onChangeRead = onChange && tried(reader, at('onChange'), () => parseOnChange(onChange));
  if (onChangeRead) flags.credentialsOnChange = onChangeRead;
  if (files['force'] === true) flags.credentialsForce = true;
  else if (files['force'] !== undefined && files['force'] !== false) {
    reader.error(at('force'), 'wrong-type', 'expected true or false', 'remove it');
  }
  return flags;
}

const textOf = (
  reader: Reader,
  entry: PlainObject,
  field: string,
  key: string,
): string | undefined =>
  entry[key] === undefined ? undefined : reader.string(entry[key], `${field}.${key}`);

/** @returns empty when it is none, which is then among the problems. */
function path(reader: Reader, entry: PlainObject, field: string, key: string): string {
  const text = textOf(reader, entry, field, key) ?? '';
  if (!isAbsolute(text)) {
    reader.error(
      `${field}.${key}`,
      'bad-path',
      `${shown(text)} is no absolute path`,
      'begin it with "/"',
    );
  }
  return text;
}

/** What the options of the command line refuse, with what to write instead. */
function tried<T>(reader: Reader, field: string, parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    reader.error(field, 'bad-value', errorText(error));
    return undefined;
  }
}
