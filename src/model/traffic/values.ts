// Reads the values that sections of a TrafficPolicy share: durations, sizes, shares, counts and names.
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';

const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);
/** Digits of one part of a duration, as Gateway API has them. */
const MAX_DIGITS = 5;
const MAX_NAME = 63;

interface Bounds {
  readonly min: number;
  readonly max: number;
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;

/**
 * Gateway API's durations (GEP-2257): `1h30m`, `250ms`; whole numbers with units, each unit once at most.
 * @returns milliseconds; `undefined` when it is none.
 */
export function parseDuration(text: string): number | undefined {
  let total = 0;
  let at = 0;
  let smallest = Number.POSITIVE_INFINITY;
  while (at < text.length) {
    let end = at;
    while (end < text.length && isDigit(text.charCodeAt(end))) end++;
    const digits = text.slice(at, end);
    if (digits === '' || digits.length > MAX_DIGITS) return undefined;
    const unitEnd = text.startsWith('ms', end) ? end + 2 : end + 1;
    const factor = UNITS.get(text.slice(end, unitEnd));
    if (factor === undefined || factor >= smallest) return undefined;
    smallest = factor;
    total += Number(digits) * factor;
    at = unitEnd;
  }
  return text === '' ? undefined : total;
}

export function readDuration(
  reader: Reader,
  value: unknown,
  field: string,
  bounds: Bounds,
): number | undefined {
  const text = reader.string(value ?? undefined, field);
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= bounds.min && ms <= bounds.max) return ms;
  const message =
    ms === undefined
      ? `${shown(text)} is no duration`
      : `${shown(text)} is not between ${bounds.min} and ${bounds.max} ms`;
  reader.error(field, 'bad-duration', message, 'write for example "250ms", "2s" or "1h30m"');
  return undefined;
}

/** A whole number. */
export function readCount(
  reader: Reader,
  value: unknown,
  field: string,
  { min, max }: Bounds,
): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  const said = typeof value === 'number' ? String(value) : 'this';
  reader.error(
    field,
    'bad-number',
    `${said} is no whole number from ${min} to ${max}`,
    `write a number from ${min} to ${max}`,
  );
  return undefined;
}

/** Four decimals: the parts of a million that Envoy counts in. */
const PARTS_OF_PERCENT = 10_000;

/** A share of 100; required. @returns 0 beside the problem. */
export function readPercent(reader: Reader, value: unknown, field: string): number {
  const isNumber = typeof value === 'number' && value >= 0 && value <= 100;
  if (isNumber && Number.isInteger(Math.round(value * PARTS_OF_PERCENT * 1e3) / 1e3)) return value;
  reader.error(
    field,
    'bad-percent',
    'expected a number from 0 to 100 with at most four decimals',
    'write for example 12.5',
  );
  return 0;
}

const SIZE_UNITS: readonly (readonly [string, number])[] = [
  ['Ki', 1_024],
  ['Mi', 1_048_576],
  ['Gi', 1_073_741_824],
];

/** A number of bytes, or a text as Kubernetes' quantities: `64Ki`, `10Mi`. */
export function readSize(
  reader: Reader,
  value: unknown,
  field: string,
  bounds: Bounds,
): number | undefined {
  if (typeof value !== 'string') return readCount(reader, value, field, bounds);
  const unit = SIZE_UNITS.find(([suffix]) => value.endsWith(suffix));
  const digits = unit === undefined ? value : value.slice(0, -2);
  const isNumber =
    digits.length > 0 &&
    digits.length <= 12 &&
    Array.from(digits).every((one) => isDigit(one.charCodeAt(0)));
  const bytes = isNumber ? Number(digits) * (unit?.[1] ?? 1) : Number.NaN;
  if (bytes >= bounds.min && bytes <= bounds.max) return bytes;
  reader.error(
    field,
    'bad-size',
    `${shown(value)} is no size from ${bounds.min} to ${bounds.max} bytes`,
    'write bytes, or for example "64Ki" or "10Mi"',
  );
  return undefined;
}

/** A name that goes into metrics and logs: a DNS label's letters. */
export function readName(reader: Reader, object: PlainObject, field: string): string {
  const name = reader.string(object['name'] ?? undefined, `${field}.name`) ?? '';
  const isName =
    name.length > 0 &&
    name.length <= MAX_NAME &&
    Array.from(name).every(
      (one) => (one >= 'a' && one <= 'z') || (one >= '0' && one <= '9') || one === '-',
    );
  if (!isName) {
    reader.error(
      `${field}.name`,
      'bad-name',
      name === '' ? 'needs a name' : `${shown(name)} is no valid name`,
      `use lower-case letters, digits and "-", at most ${MAX_NAME}: metrics and logs show it`,
    );
  }
  return name;
}

/** Two of one name could not be told apart in metrics and logs. */
export function refuseDoubles(
  reader: Reader,
  entries: readonly { readonly name: string }[],
  field: string,
): void {
  const seen = new Set<string>();
  entries.forEach(({ name }, index) => {
    if (name !== '' && seen.has(name)) {
      reader.error(`${field}[${index}].name`, 'duplicate-name', `${shown(name)} is there twice`);
    }
    seen.add(name);
  });
}
