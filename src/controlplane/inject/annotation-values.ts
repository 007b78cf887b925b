// How the values of Weft's Pod annotations are written: each form with its parser, and the cure for what it does not take.
import { parseCidr } from '@weft/model/ip';

/** One form of value. */
export interface ValueForm<T> {
  /** For the reference of annotations. */
  readonly type: string;
  /** What to write instead of a value that is refused. */
  readonly cure: string;
  /** @returns `undefined` for a value that is not of this form. */
  readonly parse: (text: string) => T | undefined;
}

export const choice = <const T extends string>(...values: readonly T[]): ValueForm<T> => ({
  type: values.map((value) => `\`${value}\``).join(', '),
  cure: `write ${values.map((value) => `"${value}"`).join(' or ')}`,
  parse: (text) => values.find((value) => value === text),
});

export const truth: ValueForm<boolean> = {
  type: '`true`, `false`',
  cure: 'write "true" or "false", in quotes',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
};

export const LOG_LEVELS = choice('trace', 'debug', 'info', 'warn', 'error', 'silent');
export const ACCESS_LOGS = choice('off', 'errors', 'all');

/** Entries of one list: each becomes a netfilter rule that every new connection passes. */
const MAX_ENTRIES = 64;

function listOf<T>(text: string, parseEntry: (entry: string) => T | undefined): T[] | undefined {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length > MAX_ENTRIES) return undefined;
  const values = parts.flatMap((part) => parseEntry(part) ?? []);
  return values.length === parts.length ? [...new Set(values)] : undefined;
}

/** @returns `undefined` unless `text` is a decimal number from 1 to 65535 without signs or leading zeros. */
function parsePort(text: string): number | undefined {
  return /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

/** Ports of the sidecar itself. Whoever excludes or uses one of them takes away what proves that it works. */
export const SIDECAR_PORTS = {
  admin: 15_000,
  outbound: 15_001,
  inbound: 15_006,
  metrics: 15_020,
  probes: 15_021,
  /** Nobody listens here: what arrives has come through the redirect. */
  captureProof: 15_022,
} as const;
const OWN: ReadonlySet<number> = new Set(Object.values(SIDECAR_PORTS));

export const ports: ValueForm<readonly number[]> = {
  type: `ports, with commas (at most ${MAX_ENTRIES})`,
  cure: `write ports from 1 to 65535 with commas between them, for example "9100,9200"; not the sidecar's own (${[...OWN].join(', ')})`,
  parse: (text) =>
    listOf(text, (entry) => {
      const port = parsePort(entry);
      return port === undefined || OWN.has(port) ? undefined : port;
    }),
};

export const cidrs: ValueForm<readonly string[]> = {
  type: `CIDRs of either family, with commas (at most ${MAX_ENTRIES})`,
  cure: 'write ranges with commas between them, for example "169.254.169.254/32,10.0.0.0/8"',
  parse: (text) =>
    listOf(text, (entry) => {
      const range = entry.includes('/') ? parseCidr(entry) : undefined;
      return range === undefined ? undefined : `${range.address}/${range.prefixLength}`;
    }),
};

/** Any of these, with commas. */
export const some = <const T extends string>(...values: readonly T[]): ValueForm<readonly T[]> => ({
  type: `${values.map((value) => `\`${value}\``).join(', ')}; several with commas`,
  cure: `write ${values.map((value) => `"${value}"`).join(' or ')}, or both with a comma`,
  parse: (text) => listOf(text, (entry) => values.find((value) => value === entry)),
});

const parseUserId = (text: string): number | undefined =>
  /^(?:0|[1-9][0-9]{0,8})$/.test(text) ? Number(text) : undefined;

export const userId: ValueForm<number> = {
  type: 'number of a user',
  cure: 'write one number, for example "1000"',
  parse: parseUserId,
};

export const userIds: ValueForm<readonly number[]> = {
  type: `numbers of users, with commas (at most ${MAX_ENTRIES})`,
  cure: 'write numbers with commas between them, for example "1000,1001"',
  parse: (text) => listOf(text, parseUserId),
};

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
]);
/** Longer than anything a node waits for at its own end. */
const MAX_DURATION_MS = 3_600_000;

export interface Duration {
  /** As the sidecar's command line takes it. */
  readonly text: string;
  readonly ms: number;
}

export const duration: ValueForm<Duration> = {
  type: 'duration: a number and `ms`, `s` or `m` (at most 60m)',
  cure: 'write a number and a unit, for example "10s" or "2m", at most "60m"',
  parse: (text) => {
    const match = /^([0-9]{1,7})(ms|s|m)$/.exec(text);
    const unit = match?.[2] === undefined ? undefined : UNIT_MS.get(match[2]);
    if (match?.[1] === undefined || unit === undefined) return undefined;
    const ms = Number(match[1]) * unit;
    return ms <= MAX_DURATION_MS ? { text, ms } : undefined;
  },
};

export interface Quantity {
  readonly text: string;
  /** In cores or bytes, to compare a request with its limit. */
  readonly amount: number;
}

const FACTORS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['m', 1e-3],
  ['k', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
]);

/** Kubernetes takes more forms (exponents, exa); nobody needs them for a sidecar. */
export function parseQuantity(text: string): Quantity | undefined {
  const match = /^([0-9]{1,12}(?:\.[0-9]{1,9})?)([a-zA-Z]{0,2})$/.exec(text);
  const factor = match?.[2] === undefined ? undefined : FACTORS.get(match[2]);
  if (match?.[1] === undefined || factor === undefined) return undefined;
  const amount = Number(match[1]) * factor;
  return amount > 0 ? { text, amount } : undefined;
}

export const cpu: ValueForm<Quantity> = {
  type: 'quantity of CPU',
  cure: 'write cores or thousandths of one, for example "0.5" or "100m"',
  parse: parseQuantity,
};

export const memory: ValueForm<Quantity> = {
  type: 'quantity of memory',
  cure: 'write bytes with a unit, for example "128Mi" or "1Gi"',
  parse: (text) => {
    const quantity = parseQuantity(text);
    // "128" would be 128 bytes and "100m" a tenth of one: no container starts with either.
    return quantity !== undefined && quantity.amount >= 2 ** 20 ? quantity : undefined;
  },
};
