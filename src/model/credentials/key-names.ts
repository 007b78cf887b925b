// Which texts can be keys of a credential's values, and places in a source: they become names of files and segments of paths.
import { type Reader, shown } from '../policy/reader.ts';

const MAX_KEY = 253;
const MAX_PATH = 512;

const isKeyCharacter = (code: number): boolean =>
  (code >= 0x30 && code <= 0x39) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x61 && code <= 0x7a) ||
  code === 0x2d ||
  code === 0x2e ||
  code === 0x5f;

/** As keys of a Secret: letters, digits, `-`, `_` and `.`; none that begins with `.`, so that it is no hidden file and no way up. */
export function isCredentialKey(text: string): boolean {
  if (text === '' || text.length > MAX_KEY || text.startsWith('.')) return false;
  for (let at = 0; at < text.length; at++) {
    if (!isKeyCharacter(text.charCodeAt(at))) return false;
  }
  return true;
}

/** Segments like keys, with `/` between them: `shop/db`. */
export function isCredentialPath(text: string): boolean {
  return text.length <= MAX_PATH && text.split('/').every(isCredentialKey);
}

const KEY_CURE = 'use letters, digits, "-", "_" and ".", and do not begin with "."';

/** For keys that a binding names. */
export function checkKey(reader: Reader, key: string, field: string): void {
  if (isCredentialKey(key)) return;
  reader.error(field, 'bad-key', `${shown(key)} is no key of a value`, KEY_CURE);
}
