// Routes with rules keep their meaning over the wire, and what the sidecar cannot do is refused by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import type { Route, RouteConfiguration } from '../resources/route.ts';
import { decodeResource, encodeResource } from './resource-codec.ts';

const FORWARD: Route = {
  match: { kind: 'prefix', value: '/' },
  cluster: 'a',
  timeoutMs: 0,
  connectRetries: 2,
};
const ANSWER = { ...FORWARD, cluster: '', connectRetries: 0 };
const HEADERS = {
  remove: ['x-old'],
  put: [
    { name: 'x-a', value: '100% sure', isSet: true },
    { name: 'x-b', value: 'b', isSet: false },
  ],
};

const ROUTES: readonly (readonly [string, Route])[] = [
  [
    'a prefix that ends at a slash',
    { ...FORWARD, match: { kind: 'separatedPrefix', value: '/a' } },
  ],
  ['a regular expression', { ...FORWARD, match: { kind: 'regex', value: '/v[0-9]+/.*' } }],
  [
    'headers, a method and a query',
    {
      ...FORWARD,
      match: {
        kind: 'path',
        value: '/a',
        headers: [
          { name: ':method', kind: 'exact', value: 'GET' },
          { name: 'x-a', kind: 'regex', value: 'a+' },
        ],
        query: [{ name: 'q', kind: 'exact', value: '1' }],
      },
    },
  ],
  [
    'shares',
    {
      ...FORWARD,
      cluster: '',
      rule: {
        clusters: [
          { cluster: 'a', weight: 9, requestHeaders: HEADERS, responseHeaders: HEADERS },
          { cluster: 'unresolved', weight: 1 },
          { cluster: 'c', weight: 0 },
        ],
        unresolvedStatus: 500,
      },
    },
  ],
  ['changed headers', { ...FORWARD, rule: { requestHeaders: HEADERS, responseHeaders: HEADERS } }],
  ['another host', { ...FORWARD, rule: { host: 'b.test', path: { kind: 'prefix', value: '/b' } } }],
  ['another path', { ...FORWARD, rule: { path: { kind: 'full', value: '/b' } } }],
  ['no prefix', { ...FORWARD, rule: { path: { kind: 'strip', value: '/a.b+' } } }],
  ['copies', { ...FORWARD, rule: { mirrors: [{ cluster: 'm', share: 250_000 }] } }],
  ['no copies', { ...FORWARD, rule: { mirrors: [{ cluster: 'm', share: 0 }] } }],
  ['a refusal', { ...ANSWER, rule: { answer: { kind: 'respond', status: 500 } } }],
  [
    'a redirect',
    {
      ...ANSWER,
      rule: {
        answer: {
          kind: 'redirect',
          status: 308,
          scheme: 'https',
          host: 'c.test',
          port: 8443,
          path: { kind: 'full', value: '/c' },
        },
        responseHeaders: HEADERS,
      },
    },
  ],
  [
    'a redirect of a prefix',
    {
      ...ANSWER,
      rule: {
        answer: { kind: 'redirect', status: 301, path: { kind: 'strip', value: '/a' } },
      },
    },
  ],
];

const configurationOf = (route: Route): RouteConfiguration => ({
  name: 'r',
  virtualHosts: [{ name: 'h', domains: ['*'], routes: [route] }],
});

for (const [name, route] of ROUTES) {
  test(`a route keeps ${name} over the wire`, () => {
    const { bytes } = encodeResource('route', configurationOf(route));
    const decoded = decodeResource('route', bytes);
    assert.deepEqual(decoded, { ok: true, value: configurationOf(route), problems: [] });
  });
}

const action = { cluster: 'a', timeout: {} };
const WRONG: readonly (readonly [string, PlainMessage, string])[] = [
  [
    'a regular expression beyond the dialect',
    { match: { safe_regex: { regex: '(?i)a' } }, route: action },
    'match.safe_regex.regex',
  ],
  [
    'weights of nothing',
    {
      match: { prefix: '/' },
      route: { weighted_clusters: { clusters: [{ name: 'a', weight: {} }] }, timeout: {} },
    },
    'route.weighted_clusters.clusters',
  ],
  [
    'a variable in a header',
    {
      match: { prefix: '/' },
      route: action,
      request_headers_to_add: [{ header: { key: 'x-a', value: '%START_TIME%' } }],
    },
    'request_headers_to_add[0].header.value',
  ],
  [
    'a rewrite by a group',
    {
      match: { prefix: '/' },
      route: {
        ...action,
        regex_rewrite: { pattern: { regex: '^/(.*)$' }, substitution: '/\\1' },
      },
    },
    'route.regex_rewrite.substitution',
  ],
  [
    'a pseudo-header',
    {
      match: { prefix: '/', headers: [{ name: ':scheme', string_match: { exact: 'a' } }] },
      route: action,
    },
    'match.headers[0].name',
  ],
  [
    'a copy that is told so by its host',
    {
      match: { prefix: '/' },
      route: {
        ...action,
        request_mirror_policies: [
          {
            cluster: 'm',
            runtime_fraction: { default_value: { numerator: 1, denominator: 'MILLION' } },
          },
        ],
      },
    },
    'route.request_mirror_policies[0].disable_shadow_host_suffix_append',
  ],
];

for (const [name, route, field] of WRONG) {
  test(`a route with ${name} is refused`, () => {
    const bytes = encodeMessage('envoy.config.route.v3.RouteConfiguration', {
      name: 'r',
      virtual_hosts: [{ name: 'h', domains: ['*'], routes: [route] }],
    });
    const decoded = decodeResource('route', bytes);
    const fields = decoded.problems.map((problem) => problem.field);
    assert.equal(decoded.ok, false);
    assert.ok(fields.includes(`virtual_hosts[0].routes[0].${field}`), fields.join());
  });
}
