// Reads the JSON of runs without believing its shape: what is not there is absent.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Summary } from './statistics.ts';

export const objectAt = (value: unknown, key: string): PlainObject => {
  const found = isPlainObject(value) ? value[key] : undefined;
  return isPlainObject(found) ? found : {};
};

export const listAt = (value: unknown, key: string): readonly PlainObject[] => {
  const found = isPlainObject(value) ? value[key] : undefined;
  return Array.isArray(found) ? found.filter(isPlainObject) : [];
};

export const textAt = (value: unknown, key: string): string => {
  const found = isPlainObject(value) ? value[key] : undefined;
  return typeof found === 'string' || typeof found === 'number' ? String(found) : '';
};

export const numberAt = (value: unknown, key: string): number | undefined => {
  const found = isPlainObject(value) ? value[key] : undefined;
  return typeof found === 'number' ? found : undefined;
};

export function summaryAt(value: unknown, key: string): Summary | undefined {
  const found = objectAt(value, key);
  const { median, min, max, samples } = found;
  if (typeof median !== 'number' || typeof min !== 'number' || typeof max !== 'number') {
    return undefined;
  }
  const numbers = Array.isArray(samples)
    ? samples.filter((sample): sample is number => typeof sample === 'number')
    : [];
  return { median, min, max, samples: numbers };
}
