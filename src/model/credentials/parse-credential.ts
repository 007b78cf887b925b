// Reads one credential of a binding: its name, where its values are, which of them, and by which ways they may go.
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import { isPlainObject, shown, type PlainObject, type Reader } from '../policy/reader.ts';
import { checkKey, isCredentialPath } from './key-names.ts';
import { parseInjections } from './parse-injections.ts';
import {
  type CredentialSourceRef,
  type CredentialSpec,
  MAX_KEYS,
  WAYS,
  type Way,
} from './types.ts';

const NAME_CURE = 'use lower-case letters, digits and "-", at most 63';

/** @returns `undefined` when something is wrong with it, which is then among the problems. */
export function parseCredential(
  reader: Reader,
  value: unknown,
  field: string,
): CredentialSpec | undefined {
  const found = reader.problems.length;
  if (!isPlainObject(value)) {
    reader.error(field, 'wrong-type', 'expected a mapping', 'write name, source and ways');
    return undefined;
  }
  const entry = reader.object(value, field, ['name', 'source', 'keys', 'ways', 'inject']) ?? {};
  const name = parseCredentialName(reader, entry, field);
  const source = parseSource(reader, entry['source'], `${field}.source`);
  const keys = parseKeys(reader, entry['keys'], `${field}.keys`);
  const ways = parseWays(reader, entry['ways'], `${field}.ways`);
  const injections = parseInjections(reader, entry['inject'], `${field}.inject`);
  if (ways.includes('inject') !== (entry['inject'] !== undefined)) {
    const [message, cure] =
      entry['inject'] === undefined
        ? ['it is to be injected, and nothing says where', 'write inject with hosts and a scheme']
        : ['inject is set, and is none of the ways', 'add "inject" to ways, or remove it'];
    reader.error(`${field}.inject`, 'ways-disagree', message, cure);
  }
  checkInjectedKeys(reader, { keys, injections }, `${field}.inject`);
  if (source === undefined || reader.problems.length > found) return undefined;
  return { name, source, keys, ways, injections };
}

function parseCredentialName(reader: Reader, entry: PlainObject, field: string): string {
  const name = reader.string(entry['name'], `${field}.name`) ?? '';
  if (!isDnsLabel(name)) {
    const message = `${shown(name)} is no name of a credential`;
    reader.error(`${field}.name`, 'bad-name', message, NAME_CURE);
  }
  return name;
}

function parseSource(
  reader: Reader,
  value: unknown,
  field: string,
): CredentialSourceRef | undefined {
  const source = reader.object(value, field, ['secret', 'from', 'path']);
  const isSecret = source?.['secret'] !== undefined;
  const isNamed = source?.['from'] !== undefined || source?.['path'] !== undefined;
  if (source === undefined || isSecret === isNamed) {
    const message = isSecret ? 'two sources are set' : 'no source is set';
    const cure = 'write secret: {name: NAME}, or from: SOURCE with path: PATH';
    reader.error(field, 'no-source', message, cure);
    return undefined;
  }
  return isSecret
    ? parseSecret(reader, source['secret'], `${field}.secret`)
    : parsePlace(reader, source, field);
}

function parseSecret(reader: Reader, value: unknown, field: string): CredentialSourceRef {
  const secret = reader.object(value, field, ['name']);
  const name = reader.string(secret?.['name'], `${field}.name`) ?? '';
  if (!isDnsSubdomain(name)) {
    const cure = 'write the name of a Secret of the same namespace';
    reader.error(`${field}.name`, 'bad-name', `${shown(name)} is no name of a Secret`, cure);
  }
  return { kind: 'secret', name };
}

function parsePlace(reader: Reader, entry: PlainObject, field: string): CredentialSourceRef {
  const source = reader.string(entry['from'], `${field}.from`) ?? '';
  const path = reader.string(entry['path'], `${field}.path`) ?? '';
  if (!isDnsLabel(source)) {
    const cure = 'write the name that the operator of the mesh has given it';
    reader.error(`${field}.from`, 'bad-name', `${shown(source)} is no name of a source`, cure);
  }
  if (!isCredentialPath(path)) {
    const message = `${shown(path)} is no place in a source`;
    const cure = 'write segments of letters, digits, "-", "_" and "." with "/" between them';
    reader.error(`${field}.path`, 'bad-path', message, cure);
  }
  return { kind: 'named', source, path };
}

function parseKeys(reader: Reader, value: unknown, field: string): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const keys = reader.strings(value, field, MAX_KEYS);
  if (Array.isArray(value) && value.length === 0) {
    reader.error(field, 'empty-list', 'must not be empty', 'remove it for all keys');
  }
  keys.forEach((key, index) => checkKey(reader, key, `${field}[${index}]`));
  return [...new Set(keys)];
}

function parseWays(reader: Reader, value: unknown, field: string): readonly Way[] {
  const texts = reader.strings(value, field, WAYS.length);
  const ways = WAYS.filter((way) => texts.includes(way));
  texts.forEach((text, index) => {
    if (WAYS.some((way) => way === text)) return;
    const message = `unknown way ${shown(text)}`;
    reader.error(`${field}[${index}]`, 'unknown-way', message, `write ${WAYS.join(', ')}`);
  });
  if (texts.length === 0) {
    const cure = `write those it may go: ${WAYS.join(', ')}`;
    reader.error(field, 'no-ways', 'without a way it reaches nobody', cure);
  }
  return ways;
}

function checkInjectedKeys(
  reader: Reader,
  { keys, injections }: Pick<CredentialSpec, 'keys' | 'injections'>,
  field: string,
): void {
  if (keys === undefined) return;
  injections.forEach(({ scheme }, index) => {
    const used = scheme.kind === 'basic' ? [scheme.userKey, scheme.passwordKey] : [scheme.key];
    for (const key of used) {
      if (keys.includes(key)) continue;
      const message = `the key ${shown(key)} is not among keys`;
      reader.error(`${field}[${index}]`, 'unknown-key', message, 'add it to keys');
    }
  });
}
