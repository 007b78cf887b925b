// What an attempt may end with so that a request is sent again: Envoy's words.

export const RETRY_CONDITIONS = [
  'connect-failure',
  'refused-stream',
  'reset',
  'gateway-error',
  '5xx',
  'retriable-4xx',
  'retriable-status-codes',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;

/** Those from `cancelled` on are statuses of gRPC. */
export type RetryCondition = (typeof RETRY_CONDITIONS)[number];

/** Methods by which nothing happens twice that has not happened once (RFC 9110 §9.2.2). */
export const IDEMPOTENT_METHODS: readonly string[] = [
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'TRACE',
];
