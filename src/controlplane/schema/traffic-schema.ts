// What the API server takes for a TrafficPolicy.
import { callSchemas } from './traffic-call-schemas.ts';
import { TRAFFIC_SCOPE, trafficTargets } from './traffic-scope.ts';
import { rulesSchema } from './policy-schemas.ts';
import { choice, list, open, type Schema, selector, text, texts } from './schema.ts';

/** The parsers' bounds (src/model/traffic/parse-*.ts). */
const MAX_ENTRIES = 32;
const MAX_KEY_PARTS = 4;
const MAX_COUNT = 1_000_000_000;
const MAX_KEYS = 1_048_576;
const MAX_NETWORKS = 64;
const MAX_NAMES = 64;

const name = text('For metrics and logs: lower-case letters, digits and "-".', {
  minLength: 1,
  maxLength: 63,
});
const duration = (description: string): Schema =>
  text(`${description} As "250ms", "2s", "1h30m".`, { minLength: 1, maxLength: 32 });
const count = (description: string, maximum: number, minimum = 1): Schema => ({
  description,
  type: 'integer',
  format: 'int64',
  minimum,
  maximum,
});
const percent: Schema = {
  description: 'Of how many of a hundred requests; at most four decimals.',
  type: 'number',
  minimum: 0,
  maximum: 100,
};
const size = (description: string): Schema => ({
  description: `${description} Bytes, or as "64Ki", "10Mi".`,
  'x-kubernetes-int-or-string': true,
});
/**
 * Lists within lists within lists: the API server refuses rules that could be asked so often. The parser refuses what
 * they would.
 */
function withoutRules(schema: Schema): Schema {
  const { 'x-kubernetes-validations': _, properties, items, ...rest } = schema;
  return {
    ...rest,
    ...(items !== undefined && { items: withoutRules(items) }),
    ...(properties !== undefined && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, one]) => [name, withoutRules(one)]),
      ),
    }),
  };
}

const rules = withoutRules(
  rulesSchema('For requests that one of these matches. Absent: for all.', {
    minItems: 1,
  }),
);

const fault = open(
  'One fault.',
  {
    name,
    rules,
    delay: open(
      'Requests wait.',
      { percent, duration: duration('How long, at most 5m.') },
      { required: ['percent', 'duration'] },
    ),
    abort: open(
      'Requests are answered here.',
      { percent, status: count('With this status.', 599, 200) },
      { required: ['percent', 'status'] },
    ),
    until: text('When it ends, "2027-01-31T18:00:00Z". Absent: with the policy.', {
      format: 'date-time',
      maxLength: 64,
    }),
  },
  { required: ['name'] },
);

const throttle = open(
  'One token bucket for each key.',
  {
    name,
    rules,
    key: texts(
      'What requests are counted by: caller, address, host, method, path, rule, header:NAME.',
      MAX_KEY_PARTS,
    ),
    requests: count('How many an interval lets through.', MAX_COUNT),
    interval: duration('50ms to 24h. Default 1s.'),
    burst: count('How many may come at once. Default: as requests.', MAX_COUNT),
    maxKeys: count('Keys that are told apart. Default 100000.', MAX_KEYS),
  },
  { required: ['name', 'requests'] },
);

const event = (description: string): Schema =>
  count(`${description} within the window.`, MAX_COUNT);

const floods = open('Clients, by address, that do too much of something.', {
  action: choice('What happens to them.', ['log', 'slow', 'drop'], { default: 'drop' }),
  window: duration('The time over which is counted, 1s to 1h. Default 10s.'),
  connections: event('New connections'),
  handshakes: event('Failed TLS handshakes'),
  requests: event('Requests'),
  resets: event('Streams and exchanges that the client broke off'),
  slowReads: event('Answers that the client did not take in time'),
  exempt: texts('Networks whose clients are not counted.', MAX_NETWORKS),
  maxClients: count('Clients that are told apart. Default 100000.', MAX_KEYS, 16),
});

const limits = open(
  'What requests may be like.',
  {
    maxHeaderBytes: size('Of all header fields, 256 to 64Ki; 431 beyond.'),
    maxHeaders: count('Of header fields, at most 100; 431 beyond.', 100),
    maxBodyBytes: size('413 beyond.'),
    bodyTimeout: duration('From the head to the end of the body; 408 beyond.'),
    methods: texts('405 for others.', MAX_NAMES),
    contentTypes: texts('"application/json", "image/*"; 415 for others.', MAX_NAMES),
  },
  { minProperties: 1 },
);

export const trafficPolicySpec: Schema = open(
  'What of the traffic of workloads is held back, limited or disturbed. The nearest policy holds: Service or selector, namespace, mesh.',
  {
    selector: selector(
      'Pods of this namespace it holds for. Absent: all; in the root namespace, all of the mesh.',
    ),
    targetRefs: trafficTargets,
    faults: list('What happens to requests on purpose.', fault, { maxItems: MAX_ENTRIES }),
    throttling: list('How many requests are let through.', throttle, { maxItems: MAX_ENTRIES }),
    floods,
    limits,
    ...callSchemas,
  },
  { 'x-kubernetes-validations': [TRAFFIC_SCOPE] },
);
