// Retry policies on the wire.
import { RETRY_CONDITIONS, type RetryCondition } from '@weft/model/traffic/retry-conditions';
import type { PlainMessage } from '../registry.ts';
import type { RetryPolicy } from '../resources/retry.ts';
import {
  type Fields,
  integers,
  isSet,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';
import { encodeDuration, encodeUint, requiredDurationMs, requiredUint } from './well-known.ts';

/** Nothing has reached the application when one of these happens. */
const CONNECT_CONDITIONS = 'connect-failure,refused-stream';
/** More retries than that are an outage, not a blip. */
const MAX_RETRIES = 100;
const METHOD = ':method';

export interface Retries {
  readonly connectRetries: number;
  readonly retry?: RetryPolicy;
}

/** @param connectRetries of no meaning beside a policy, which says itself how often. */
export function encodeRetries({ connectRetries, retry }: Retries): PlainMessage | undefined {
  if (retry !== undefined) return encodeRetryPolicy(retry);
  if (connectRetries === 0) return undefined;
  return { retry_on: CONNECT_CONDITIONS, num_retries: encodeUint(connectRetries) };
}

const encodeRetryPolicy = (retry: RetryPolicy): PlainMessage => ({
  retry_on: retry.on.join(','),
  num_retries: encodeUint(retry.retries),
  per_try_timeout: retry.perTryTimeoutMs === 0 ? undefined : encodeDuration(retry.perTryTimeoutMs),
  retriable_status_codes: retry.statusCodes,
  retry_back_off: {
    base_interval: encodeDuration(retry.backOff.baseMs),
    max_interval: encodeDuration(retry.backOff.maxMs),
  },
  retriable_request_headers: retry.methods.map((method) => ({
    name: METHOD,
    string_match: { exact: method },
  })),
});

/** A policy with a back-off is a whole one; without it, it says how often to connect. */
export const readRetries: Read<Retries> = (fields) => {
  if (isSet(fields, 'retry_back_off')) {
    const retry = readRetryPolicy(fields);
    return retry && { connectRetries: retry.retries, retry };
  }
  const retryOn = text(fields, 'retry_on');
  if (retryOn !== CONNECT_CONDITIONS) {
    report(fields, 'retry_on', 'not-supported', `is ${shown(retryOn)}, not ${CONNECT_CONDITIONS}`);
  }
  return { connectRetries: requiredUint(fields, 'num_retries', MAX_RETRIES) };
};

const readRetryPolicy: Read<RetryPolicy> = (fields) => {
  const on = readConditions(fields);
  const retries = requiredUint(fields, 'num_retries', MAX_RETRIES);
  if (retries === 0) report(fields, 'num_retries', 'out-of-range', 'is 0');
  const hasTryTimeout = isSet(fields, 'per_try_timeout');
  const perTryTimeoutMs = hasTryTimeout ? requiredDurationMs(fields, 'per_try_timeout') : 0;
  const backOff = message(fields, 'retry_back_off', readBackOff);
  const statusCodes = integers(fields, 'retriable_status_codes', 599);
  const methods = messages(fields, 'retriable_request_headers', readMethod);
  return backOff && { on, statusCodes, retries, perTryTimeoutMs, backOff, methods };
};

function readConditions(fields: Fields): readonly RetryCondition[] {
  const names = requiredText(fields, 'retry_on').split(',');
  for (const name of names) {
    if (!RETRY_CONDITIONS.some((known) => known === name)) {
      report(fields, 'retry_on', 'not-supported', `names ${shown(name)}`);
    }
  }
  return RETRY_CONDITIONS.filter((known) => names.includes(known));
}

const readBackOff: Read<RetryPolicy['backOff']> = (fields) => {
  const baseMs = requiredDurationMs(fields, 'base_interval');
  const maxMs = requiredDurationMs(fields, 'max_interval');
  if (baseMs === 0) report(fields, 'base_interval', 'out-of-range', 'is 0');
  if (maxMs < baseMs) report(fields, 'max_interval', 'out-of-range', 'is below base_interval');
  return { baseMs, maxMs };
};

const readMethod: Read<string> = (fields) => {
  const name = requiredText(fields, 'name');
  if (name !== METHOD) report(fields, 'name', 'not-supported', `is ${shown(name)}, not ${METHOD}`);
  if (oneOf(fields, 'header_match_specifier') !== 'string_match') {
    report(fields, '', 'not-supported', 'does not ask for an exact method');
  }
  return requiredMessage(fields, 'string_match', (match) => {
    oneOf(match, 'match_pattern');
    return requiredText(match, 'exact');
  });
};
