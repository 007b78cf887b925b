// Reads a `google.protobuf.Struct` as plain values, so that rules can ask for what an authorizer has said.

/** Deeper is nobody's metadata. */
const MAX_DEPTH = 16;

const isMessage = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @returns `undefined` when there is none. */
export function readStruct(struct: unknown, depth = 0): unknown {
  if (!isMessage(struct) || !isMessage(struct['fields']) || depth > MAX_DEPTH) return undefined;
  const entries = Object.entries(struct['fields']);
  const values: Record<string, unknown> = Object.create(null);
  for (const [key, value] of entries) values[key] = readValue(value, depth + 1);
  return values;
}

function readValue(value: unknown, depth: number): unknown {
  if (!isMessage(value) || depth > MAX_DEPTH) return undefined;
  for (const kind of ['stringValue', 'numberValue', 'boolValue'] as const) {
    if (Object.hasOwn(value, kind)) return value[kind];
  }
  if (Object.hasOwn(value, 'structValue')) return readStruct(value['structValue'], depth);
  const list = value['listValue'];
  if (!isMessage(list)) return undefined;
  const values: unknown = list['values'];
  return Array.isArray(values) ? values.map((item) => readValue(item, depth + 1)) : [];
}
