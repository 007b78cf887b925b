// Writes plain values as a `google.protobuf.Struct`, for answers that carry claims.
import type { PlainMessage } from '@weft/xds/registry';

/** The reader of tokens has bounded depth and size already. */
export const structOf = (value: Readonly<Record<string, unknown>>): PlainMessage => ({
  fields: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, valueOf(item)])),
});

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

function valueOf(value: unknown): PlainMessage {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(valueOf) } };
  if (isRecord(value)) return { structValue: structOf(value) };
  return { nullValue: 0 };
}
