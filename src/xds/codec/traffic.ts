// Throttles, faults, request limits and floods on the wire, in Weft's own filters: optional ones, which Envoys pass over.
import { FLOOD_EVENTS, type FloodEvent, type ThrottleKey } from '@weft/model/traffic/types';
import type { PlainMessage } from '../registry.ts';
import type {
  FaultConfig,
  FloodsConfig,
  LimitsConfig,
  ThrottleConfig,
  TrafficControl,
} from '../resources/traffic.ts';
import { PARTS } from '../resources/traffic.ts';
import {
  encodeAny,
  type Fields,
  integer,
  message,
  messageMap,
  messages,
  type Read,
  readAny,
  report,
  requiredText,
  shown,
  text,
  texts,
} from './fields.ts';
import { encodeRbac, readRbac } from './rbac.ts';
import { encodeDuration, nonZero, requiredDurationMs } from './well-known.ts';

const KEYS = ['caller', 'address', 'host', 'method', 'path', 'rule'] as const;
const HEADER = 'header:';

export const encodeTraffic = ({ throttles, faults }: TrafficControl): PlainMessage => ({
  throttles: throttles.map(encodeThrottle),
  faults: faults.map(encodeFault),
});

const encodeThrottle = (throttle: ThrottleConfig): PlainMessage => ({
  name: throttle.name,
  rules: throttle.rules && encodeRbac(throttle.rules),
  key: throttle.key.map((part) => (part.kind === 'header' ? HEADER + part.name : part.kind)),
  requests: throttle.requests,
  interval: encodeDuration(throttle.intervalMs),
  burst: throttle.burst,
  max_keys: throttle.maxKeys,
});

const encodeFault = ({ name, rules, delay, abort, untilMs }: FaultConfig): PlainMessage => ({
  name,
  rules: rules && encodeRbac(rules),
  delay: delay && {
    parts_per_million: nonZero(delay.partsPerMillion),
    duration: encodeDuration(delay.durationMs),
  },
  abort: abort && {
    parts_per_million: nonZero(abort.partsPerMillion),
    status: abort.status,
  },
  until_ms: untilMs,
});

export const readTraffic: Read<TrafficControl> = (fields) => ({
  throttles: messages(fields, 'throttles', readThrottle),
  faults: messages(fields, 'faults', readFault),
});

const readThrottle: Read<ThrottleConfig> = (fields) => {
  const rules = readRules(fields, 'DENY');
  return {
    name: requiredText(fields, 'name'),
    ...(rules && { rules }),
    key: texts(fields, 'key').flatMap((part) => readKey(fields, part)),
    requests: positive(fields, 'requests'),
    intervalMs: requiredDurationMs(fields, 'interval') || missingZero(fields, 'interval'),
    burst: positive(fields, 'burst'),
    maxKeys: positive(fields, 'max_keys'),
  };
};

function readKey(fields: Fields, part: string): readonly ThrottleKey[] {
  const plain = KEYS.find((kind) => kind === part);
  if (plain !== undefined) return [{ kind: plain }];
  const name = part.startsWith(HEADER) ? part.slice(HEADER.length) : '';
  if (name !== '' && name === name.toLowerCase()) return [{ kind: 'header', name }];
  report(fields, 'key', 'unknown-value', `is ${shown(part)}, by which nothing is counted here`);
  return [];
}

/** A limit of nothing is one that nobody means. */
function positive(fields: Fields, name: string): number {
  const value = integer(fields, name);
  return value > 0 ? value : missingZero(fields, name);
}

function missingZero(fields: Fields, name: string): number {
  report(fields, name, 'out-of-range', 'is 0');
  return 1;
}

function readRules(fields: Fields, action: 'ALLOW' | 'DENY') {
  const rules = message(fields, 'rules', (rbac) => readRbac(rbac, 'http'));
  if (rules !== undefined && rules.action !== action)
    report(fields, 'rules.action', 'unknown-value', `is ${rules.action}, not ${action}`);
  return rules;
}

const readFault: Read<FaultConfig> = (fields) => {
  const rules = readRules(fields, 'ALLOW');
  const delay = message(fields, 'delay', (one) => ({
    partsPerMillion: integer(one, 'parts_per_million', PARTS),
    durationMs: requiredDurationMs(one, 'duration'),
  }));
  const abort = message(fields, 'abort', (one) => ({
    partsPerMillion: integer(one, 'parts_per_million', PARTS),
    status: integer(one, 'status', 599) || missingZero(one, 'status'),
  }));
  const untilMs = integer(fields, 'until_ms');
  return {
    name: requiredText(fields, 'name'),
    ...(rules && { rules }),
    ...(delay && { delay }),
    ...(abort && { abort }),
    ...(untilMs !== 0 && { untilMs }),
  };
};

export function encodeLimits({ name, limits }: LimitsConfig): PlainMessage {
  const { maxHeaderBytes, maxHeaders, maxBodyBytes, bodyTimeoutMs, methods, contentTypes } = limits;
  return {
    name,
    max_header_bytes: maxHeaderBytes,
    max_headers: maxHeaders,
    max_body: maxBodyBytes === undefined ? undefined : { value: nonZero(maxBodyBytes) },
    body_timeout: bodyTimeoutMs === undefined ? undefined : encodeDuration(bodyTimeoutMs),
    methods,
    content_types: contentTypes,
  };
}

export const readLimits: Read<LimitsConfig> = (fields) => {
  const maxHeaderBytes = integer(fields, 'max_header_bytes');
  const maxHeaders = integer(fields, 'max_headers');
  const maxBodyBytes = message(fields, 'max_body', (bytes) => integer(bytes, 'value'));
  const bodyTimeoutMs = fields.byName.has('body_timeout')
    ? requiredDurationMs(fields, 'body_timeout')
    : undefined;
  const methods = texts(fields, 'methods');
  const contentTypes = texts(fields, 'content_types');
  return {
    name: requiredText(fields, 'name'),
    limits: {
      ...(maxHeaderBytes > 0 && { maxHeaderBytes }),
      ...(maxHeaders > 0 && { maxHeaders }),
      ...(maxBodyBytes !== undefined && { maxBodyBytes }),
      ...(bodyTimeoutMs !== undefined && { bodyTimeoutMs }),
      ...(methods.length > 0 && { methods }),
      ...(contentTypes.length > 0 && { contentTypes }),
    },
  };
};

export function encodeFloods(floods: FloodsConfig): PlainMessage {
  const { action, windowMs, thresholds, exempt, maxClients } = floods;
  return {
    action,
    window: encodeDuration(windowMs),
    thresholds: FLOOD_EVENTS.flatMap((event) => {
      const count = thresholds[event];
      return count === undefined ? [] : [{ event, count }];
    }),
    exempt,
    max_clients: maxClients,
  };
}

const FLOODS_TYPE = 'weft.traffic.v1.Floods';
const FLOODS_KEY = 'weft.floods';

export const encodeFloodsMetadata = (floods: FloodsConfig): PlainMessage => ({
  typed_filter_metadata: { [FLOODS_KEY]: encodeAny(FLOODS_TYPE, encodeFloods(floods)) },
});

/** Metadata of other names would be something that nobody here does. */
export const readFloodsMetadata: Read<FloodsConfig> = (fields) => {
  const known = [{ typeName: FLOODS_TYPE, read: readFloods }];
  const found = messageMap(fields, 'typed_filter_metadata', (any) => readAny(any, known));
  const others = [...found.keys()].filter((key) => key !== FLOODS_KEY);
  if (others.length > 0)
    report(fields, 'typed_filter_metadata', 'not-supported', 'has more than weft.floods');
  return found.get(FLOODS_KEY);
};

const ACTIONS = ['log', 'slow', 'drop'] as const;

export const readFloods: Read<FloodsConfig> = (fields) => {
  const said = text(fields, 'action');
  const action = ACTIONS.find((one) => one === said);
  if (action === undefined)
    return report(fields, 'action', 'unknown-value', `is ${shown(said)}, which is not known here`);
  const thresholds: { [K in FloodEvent]?: number } = {};
  messages(fields, 'thresholds', (one) => {
    const name = text(one, 'event');
    const event = FLOOD_EVENTS.find((known) => known === name);
    if (event === undefined)
      return report(one, 'event', 'unknown-value', `is ${shown(name)}, which is not counted here`);
    thresholds[event] = positive(one, 'count');
    return event;
  });
  return {
    action,
    windowMs: requiredDurationMs(fields, 'window') || missingZero(fields, 'window'),
    thresholds,
    exempt: texts(fields, 'exempt'),
    maxClients: positive(fields, 'max_clients'),
  };
};
