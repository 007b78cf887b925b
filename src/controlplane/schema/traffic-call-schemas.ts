// What the API server takes of a TrafficPolicy's sections for callers.
import { RETRY_CONDITIONS } from '@weft/model/traffic/retry-conditions';
import { choice, list, open, type Schema, text, texts } from './schema.ts';

/** The parsers' bounds (src/model/traffic/parse-*.ts). */
const MAX_NAMES = 32;
const MAX_COUNT = 1_000_000_000;
const MAX_HASHES = 4;

const duration = (description: string): Schema =>
  text(`${description} As "250ms", "2s", "1h30m".`, { minLength: 1, maxLength: 32 });
const count = (description: string, minimum: number, maximum: number): Schema => ({
  description,
  type: 'integer',
  format: 'int64',
  minimum,
  maximum,
});
const NOT_EMPTY = { minProperties: 1 };

export const callSchemas: { readonly [section: string]: Schema } = {
  timeouts: open(
    'How long callers wait.',
    {
      request: duration('For a whole request with its retries; 0s: no limit, the default.'),
      connect: duration('For a connection, TLS included; at most 60s. Default 10s.'),
    },
    NOT_EMPTY,
  ),
  retries: open(
    'What callers send again. Without it only what certainly reached no application is.',
    {
      attempts: count('Besides the first; 0: none. Default 2.', 0, 10),
      on: list(
        'What an attempt ended with. Default gateway-error and reset; connect-failure and refused-stream always count.',
        choice('Envoy’s words.', RETRY_CONDITIONS),
        { maxItems: MAX_NAMES },
      ),
      statusCodes: list('For retriable-status-codes.', count('A status.', 400, 599), {
        maxItems: MAX_NAMES,
      }),
      perTryTimeout: duration('For one attempt’s answer to begin.'),
      backOff: open('The pause before a retry, which grows and is random.', {
        base: duration('Default 25ms.'),
        max: duration('Default ten times base.'),
      }),
      methods: texts(
        'That may be sent twice. Default DELETE, GET, HEAD, OPTIONS, PUT, TRACE.',
        MAX_NAMES,
      ),
      budget: open(
        'How many retries of a caller may be under way.',
        {
          percent: {
            description: 'Of its requests that are under way to the Service. Default 20.',
            type: 'number',
            minimum: 0,
            maximum: 100,
          },
          minConcurrency: count('Always allowed. Default 3.', 0, 100_000),
        },
        { required: ['percent'] },
      ),
    },
    NOT_EMPTY,
  ),
  circuitBreaking: open(
    'How much each caller asks of the Service at once; 503 beyond.',
    {
      maxConnections: count('HTTP/1 and TCP connections.', 1, MAX_COUNT),
      maxPendingRequests: count('Requests that wait for a connection.', 0, MAX_COUNT),
      maxRequests: count('Requests under way.', 1, MAX_COUNT),
    },
    NOT_EMPTY,
  ),
  outlierDetection: open(
    'When callers leave out an endpoint that keeps failing.',
    {
      consecutiveFailures: count(
        'Failed connections, resets, 502, 503 and 504 in a row. Default 5.',
        1,
        10_000,
      ),
      consecutive5xx: count('Any 5xx in a row. Default: does not count.', 1, 10_000),
      interval: duration('Between Envoy’s sweeps. Default 10s.'),
      baseEjection: duration('The first time; longer each time after. Default 30s.'),
      maxEjectionPercent: count('Of the endpoints, at most. Default 50.', 0, 100),
    },
    NOT_EMPTY,
  ),
  loadBalancing: open(
    'How callers choose an endpoint.',
    {
      policy: choice('LEAST_REQUEST where nothing is said.', [
        'LEAST_REQUEST',
        'ROUND_ROBIN',
        'RANDOM',
        'RING_HASH',
      ]),
      hash: list(
        'For RING_HASH: what of a request decides; all that are there count together.',
        open('A header or a cookie.', {
          header: text('Its name.', { minLength: 1, maxLength: 256 }),
          cookie: open(
            'A cookie; with a ttl it is set when it is missing.',
            {
              name: text('Its name.', { minLength: 1, maxLength: 256 }),
              path: text('That it is set for.', { maxLength: 256 }),
              ttl: duration('How long it lasts; 0s: the client’s session.'),
            },
            { required: ['name'] },
          ),
        }),
        { maxItems: MAX_HASHES },
      ),
      locality: choice(
        'PREFER_NEAREST: endpoints of the caller’s zone, without any those of its region, without any all.',
        ['PREFER_NEAREST', 'ANY'],
        { default: 'ANY' },
      ),
      minimumRingSize: count('Points on the ring. Default 1024.', 1, 65_536),
    },
    { required: ['policy'] },
  ),
};
