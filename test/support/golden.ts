// Compares what was made with what is written beside the test; UPDATE_GOLDEN=1 writes it.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { PersistentMap } from '@weft/controlplane/registry/persistent-map';

/** Maps become objects and bytes hexadecimal, so that a golden file can be read. */
export const toJson = (value: unknown): string =>
  `${JSON.stringify(
    value,
    (_key, field: unknown) => {
      if (field instanceof Map || field instanceof PersistentMap) return Object.fromEntries(field);
      if (field instanceof Uint8Array) return Buffer.from(field).toString('hex');
      return field;
    },
    2,
  )}\n`;

export function assertGolden(actual: unknown, file: URL): void {
  const text = toJson(actual);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
  assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(file, 'utf8')));
}
