// Reads where certificates and authorities come from: files by absolute paths, Secrets by name.
import { isDnsSubdomain } from '../identity.ts';
import { shown, type Reader } from '../policy/reader.ts';

const MAX_PATH = 4_096;

/** An absolute path: what a relative one is relative to nobody would know. */
export function parsePath(reader: Reader, value: unknown, field: string): string {
  const path = reader.string(value, field) ?? '';
  if (!path.startsWith('/') || path.length > MAX_PATH || path.includes('\0')) {
    reader.error(field, 'bad-path', `${shown(path)} is no absolute path`, 'write it from / on');
  }
  return path;
}

export function parseSecretName(reader: Reader, value: unknown, field: string): string {
  const name = reader.string(value, field) ?? '';
  if (!isDnsSubdomain(name)) {
    const cure = 'write the name of a Secret of the same namespace';
    reader.error(field, 'bad-name', `${shown(name)} is no name of a Secret`, cure);
  }
  return name;
}
