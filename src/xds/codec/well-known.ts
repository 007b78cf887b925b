// Durations, wrapped scalars, string structs and named extensions: the small messages that every resource is made of.
import type { PlainMessage } from '../registry.ts';
import {
  type AnyReader,
  encodeAny,
  type Fields,
  flag,
  integer,
  message,
  messageMap,
  type Read,
  readAny,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';

const NANOS_PER_MS = 1_000_000;
/** Ten thousand years: the bound that protobuf itself sets for a Duration. */
const MAX_SECONDS = 315_576_000_000;

export function encodeDuration(ms: number): PlainMessage {
  if (!Number.isSafeInteger(ms) || ms < 0)
    throw new RangeError(`Cannot encode a duration of ${ms} ms: it must be a whole number from 0`);
  const nanos = (ms % 1000) * NANOS_PER_MS;
  const seconds = Math.floor(ms / 1000);
  return { seconds: nonZero(seconds), nanos: nonZero(nanos) };
}

/** Milliseconds of a Duration that must be there; never negative, and no finer than a millisecond. */
export function requiredDurationMs(fields: Fields, name: string): number {
  return (
    requiredMessage(fields, name, (duration) => {
      const seconds = integer(duration, 'seconds', MAX_SECONDS);
      const nanos = integer(duration, 'nanos', 999_999_999);
      if (seconds >= 0 && nanos >= 0 && nanos % NANOS_PER_MS === 0)
        return seconds * 1000 + nanos / NANOS_PER_MS;
      return report(duration, '', 'out-of-range', 'is negative or finer than a millisecond');
    }) ?? 0
  );
}

export const encodeBool = (value: boolean): PlainMessage => ({ value: value || undefined });

/** A BoolValue, `undefined` when absent. */
export const boolValue = (fields: Fields, name: string): boolean | undefined =>
  message(fields, name, (wrapper) => flag(wrapper, 'value'));

export const encodeUint = (value: number): PlainMessage => ({ value: nonZero(value) });

/** A UInt32Value up to `max`, `undefined` when absent. */
export const uintValue = (fields: Fields, name: string, max?: number): number | undefined =>
  message(fields, name, (wrapper) => integer(wrapper, 'value', max));

/** A UInt32Value that must be there; 0 when it is not, beside the problem. */
export const requiredUint = (fields: Fields, name: string, max?: number): number =>
  requiredMessage(fields, name, (wrapper) => integer(wrapper, 'value', max)) ?? 0;

/** Proto3 leaves defaults out: equal values must give equal bytes. */
export const nonZero = (value: number): number | undefined => (value === 0 ? undefined : value);
export const nonEmpty = (value: string): string | undefined => (value === '' ? undefined : value);

/** A `google.protobuf.Struct` of strings, its keys sorted. Absent values are left out. */
export function encodeTexts(values: { readonly [key: string]: string | undefined }): PlainMessage {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  const sorted = entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    fields: Object.fromEntries(sorted.map(([key, value]) => [key, { stringValue: value }])),
  };
}

/** A Struct that holds strings only. */
export const readTexts: Read<ReadonlyMap<string, string>> = (fields) =>
  messageMap(fields, 'fields', (value) => text(value, 'stringValue'));

/** An extension that is known by name and type: a filter, a transport socket, a matcher. */
export interface Extension<T> extends AnyReader<T> {
  readonly name: string;
}

export function encodeExtension(
  { name, typeName }: { readonly name: string; readonly typeName: string },
  config: PlainMessage = {},
): PlainMessage {
  return { name, typed_config: encodeAny(typeName, config) };
}

/** Reads `name` and `typed_config` of a message as one of `known`; both must be those of the same extension. */
export function readExtension<T>(fields: Fields, known: readonly Extension<T>[]): T | undefined {
  const name = requiredText(fields, 'name');
  const extension = known.find((candidate) => candidate.name === name);
  if (extension !== undefined)
    return requiredMessage(fields, 'typed_config', (any) => readAny(any, [extension]));
  // Read, so that it is not reported a second time as a field without a meaning.
  message(fields, 'typed_config', (any) => any.byName.clear());
  return report(fields, 'name', 'unknown-extension', `is ${shown(name)}, which is not known here`);
}
