// Reads `spec.floods` of a TrafficPolicy: how much of what a client may do before it is held back.
import { parseCidr } from '../ip.ts';
import { type Reader, shown } from '../policy/reader.ts';
import { FLOOD_EVENTS, type FloodEvent, type Floods } from './types.ts';
import { readCount, readDuration } from './values.ts';

const ACTIONS = ['log', 'slow', 'drop'] as const;
const WINDOW = { min: 1_000, max: 3_600_000 };
const DEFAULT_WINDOW_MS = 10_000;
const THRESHOLD = { min: 1, max: 1_000_000_000 };
const MAX_EXEMPT = 64;
/** 100 000 clients: some 6 MB. */
const DEFAULT_MAX_CLIENTS = 100_000;
const CLIENTS = { min: 16, max: 1_048_576 };

export function parseFloods(reader: Reader, value: unknown, field: string): Floods | undefined {
  const known = ['action', 'window', 'exempt', 'maxClients', ...FLOOD_EVENTS];
  const object = reader.object(value, field, known);
  if (object === undefined) return undefined;
  const text = reader.string(object['action'] ?? undefined, `${field}.action`) ?? 'drop';
  const action = ACTIONS.find((one) => one === text);
  if (action === undefined) {
    const cure = `write one of ${ACTIONS.join(', ')}`;
    reader.error(`${field}.action`, 'unknown-action', `unknown action ${shown(text)}`, cure);
  }
  const thresholds: { [K in FloodEvent]?: number } = {};
  for (const event of FLOOD_EVENTS) {
    const threshold = readCount(reader, object[event], `${field}.${event}`, THRESHOLD);
    if (threshold !== undefined) thresholds[event] = threshold;
  }
  if (Object.keys(thresholds).length === 0) {
    reader.error(field, 'no-threshold', 'counts nothing', `set one of ${FLOOD_EVENTS.join(', ')}`);
  }
  return {
    action: action ?? 'drop',
    windowMs:
      readDuration(reader, object['window'], `${field}.window`, WINDOW) ?? DEFAULT_WINDOW_MS,
    thresholds,
    exempt: parseExempt(reader, object['exempt'], `${field}.exempt`),
    maxClients:
      readCount(reader, object['maxClients'], `${field}.maxClients`, CLIENTS) ??
      DEFAULT_MAX_CLIENTS,
  };
}

function parseExempt(reader: Reader, value: unknown, field: string): readonly string[] {
  return reader.strings(value, field, MAX_EXEMPT).map((text, index) => {
    const cidr = parseCidr(text);
    if (cidr !== undefined) return text;
    const cure = 'write for example "10.0.0.0/8"';
    reader.error(`${field}[${index}]`, 'bad-ip', `${shown(text)} is no network`, cure);
    return text;
  });
}
