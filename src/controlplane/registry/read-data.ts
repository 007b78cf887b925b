// Reads Secrets and ConfigMaps: what certificates, keys and roots are taken from. Their values show themselves to nobody by accident.
import { SecretText } from '@weft/model/secret-text';
import { isPlainObject, Reader, type PlainObject } from '@weft/model/policy/reader';
import { outcome, readMeta, type Reading } from './reading.ts';

/** Kubernetes' own bound of one object. */
const MAX_BYTES = 1024 * 1024;
const MAX_KEYS = 256;

export const readSecret = (object: PlainObject): Reading => readData(object, 'Secret');
export const readConfigMap = (object: PlainObject): Reading => readData(object, 'ConfigMap');

function readData(object: PlainObject, of: 'Secret' | 'ConfigMap'): Reading {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const values = new Map<string, SecretText>();
  let size = 0;
  const take = (field: string, decode: (text: string) => string): void => {
    const entries = object[field];
    if (!isPlainObject(entries)) return;
    for (const [key, value] of Object.entries(entries).slice(0, MAX_KEYS)) {
      if (typeof value !== 'string') continue;
      size += value.length;
      if (size <= MAX_BYTES) values.set(key, new SecretText(decode(value)));
    }
  };
  if (of === 'Secret') take('data', (text) => Buffer.from(text, 'base64').toString('utf8'));
  take(of === 'Secret' ? 'stringData' : 'data', (text) => text);
  if (size > MAX_BYTES) {
    reader.error('data', 'too-large', `holds more than ${MAX_BYTES} bytes`);
  }
  return outcome(reader, { kind: 'Data', of, meta, values });
}
