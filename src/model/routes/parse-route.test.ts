// What routes say, and what of them is refused, with the field and the cure.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainObject } from '../policy/reader.ts';
import { parseGrant } from './parse-grant.ts';
import { brokenRoute, parseRoute } from './parse-route.ts';
import { comparePrecedence } from './precedence.ts';
import type { RouteKind, RouteRule } from './types.ts';

const PARENT = { group: '', kind: 'Service', name: 'web', port: 80 };

const routeOf = (spec: object, kind: RouteKind = 'HTTPRoute'): PlainObject => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind,
  metadata: { name: 'r', namespace: 'shop' },
  spec: { parentRefs: [PARENT], ...spec },
});

function ruleOf(rule: object, kind: RouteKind = 'HTTPRoute'): RouteRule {
  const parsed = parseRoute(routeOf({ rules: [rule] }, kind), kind);
  assert.ok(parsed.ok && parsed.value !== undefined, JSON.stringify(parsed.problems));
  const [only] = parsed.value.rules;
  assert.ok(only !== undefined);
  return only;
}

test('parseRoute() takes all of a rule', () => {
  const rule = ruleOf({
    name: 'one',
    matches: [
      {
        path: { type: 'PathPrefix', value: '/a/' },
        method: 'GET',
        headers: [
          { name: 'X-A', value: '1' },
          { name: 'x-a', value: '2' },
        ],
        queryParams: [{ type: 'RegularExpression', name: 'q', value: '[0-9]+' }],
      },
    ],
    backendRefs: [
      { name: 'web', port: 80, weight: 3 },
      { name: 'db', namespace: 'data', port: 81 },
    ],
    timeouts: { request: '1m30s', backendRequest: '500ms' },
    retry: { codes: [503, 500, 503], attempts: 3, backoff: '100ms' },
  });
  assert.deepEqual(rule.matches, [
    {
      path: { kind: 'prefix', value: '/a' },
      method: 'GET',
      headers: [{ name: 'x-a', kind: 'exact', value: '1' }],
      query: [{ name: 'q', kind: 'regex', value: '[0-9]+' }],
    },
  ]);
  assert.deepEqual(
    rule.backends.map(({ service, weight }) => [service, weight]),
    [
      [{ namespace: 'shop', name: 'web', port: 80 }, 3],
      [{ namespace: 'data', name: 'db', port: 81 }, 1],
    ],
  );
  assert.deepEqual([rule.timeoutMs, rule.tryTimeoutMs], [90_000, 500]);
  assert.deepEqual(rule.retry, { statuses: [500, 503], attempts: 3, backoffMs: 100 });
});

test('parseRoute() makes paths of gRPC methods', () => {
  const pathOf = (method: object) =>
    ruleOf({ matches: [{ method }] }, 'GRPCRoute').matches[0]?.path;
  assert.deepEqual(pathOf({ service: 'a.B', method: 'C' }), { kind: 'exact', value: '/a.B/C' });
  assert.deepEqual(pathOf({ service: 'a.B' }), { kind: 'prefix', value: '/a.B' });
  assert.deepEqual(pathOf({ method: 'C' }), { kind: 'regex', value: '/[^/]+/C' });
  assert.deepEqual(pathOf({ type: 'RegularExpression', service: 'a|b' }), {
    kind: 'regex',
    value: '/(?:a|b)/(?:[^/]+)',
  });
});

test('parseRoute() has nothing to say of a route of a gateway, whatever stands in it', () => {
  const rules = [{ filters: [{ type: 'ExtensionRef' }], sessionPersistence: {} }];
  const object = routeOf({ parentRefs: [{ name: 'gateway' }], rules });
  assert.deepEqual(parseRoute(object, 'HTTPRoute'), { ok: true, value: undefined, problems: [] });
  assert.equal(brokenRoute(object, 'HTTPRoute'), undefined);
});

test('brokenRoute() knows what a route that cannot be read was to be attached to', () => {
  const broken = brokenRoute(routeOf({ rules: 'none' }), 'HTTPRoute');
  assert.equal(broken?.isBroken, true);
  assert.deepEqual(broken.parents[0]?.ref, PARENT);
});

const filter = (type: string, key: string, content: object) => ({
  rules: [{ filters: [{ type, [key]: content }] }],
});
const setting = (name: string, value = 'v') =>
  filter('RequestHeaderModifier', 'requestHeaderModifier', { set: [{ name, value }] });
const PREFIX = { type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' };

/** What, the kind of problem, and where. */
const WRONG: readonly (readonly [object, string, string])[] = [
  [{ rules: [{ matches: [{ path: { type: 'Odd', value: '/' } }] }] }, 'unsupported-match', '.type'],
  [{ rules: [{ matches: [{ path: { value: 'a' } }] }] }, 'bad-path', '.value'],
  [{ rules: [{ matches: [{ path: { value: '/a/../b' } }] }] }, 'bad-path', '.value'],
  [{ rules: [{ matches: [{ path: { value: '/a%2fb' } }] }] }, 'bad-path', '.value'],
  [
    { rules: [{ matches: [{ path: { type: 'RegularExpression', value: '(?=a)' } }] }] },
    'unsupported-regex',
    'spec.rules[0].matches[0].path.value',
  ],
  [{ rules: [{ matches: [{ method: 'get' }] }] }, 'bad-method', '.method'],
  [{ rules: [{ matches: [{ method: 'LIN\u212a' }] }] }, 'bad-method', '.method'],
  [
    { rules: [{ matches: [{ queryParams: [{ name: '\u212a', value: 'v' }] }] }] },
    'bad-parameter',
    '.name',
  ],
  [{ rules: [{ matches: [{ odd: 1 }] }] }, 'unknown-field', 'spec.rules[0].matches[0].odd'],
  [{ rules: [{ sessionPersistence: {} }] }, 'unknown-field', 'spec.rules[0].sessionPersistence'],
  [
    filter('ExtensionRef', 'extensionRef', {}),
    'unsupported-filter',
    'spec.rules[0].filters[0].type',
  ],
  [filter('CORS', 'cors', {}), 'unsupported-filter', 'spec.rules[0].filters[0].type'],
  [setting('Host'), 'reserved-header', '.name'],
  [setting('x-weft-a'), 'reserved-header', '.name'],
  [setting('X_Forwarded_Client_Cert'), 'reserved-header', '.name'],
  [setting('content-length'), 'reserved-header', '.name'],
  [setting('a b'), 'bad-header', '.name'],
  [setting(':path'), 'bad-header', '.name'],
  [setting('x-\u212aey'), 'bad-header', '.name'],
  [setting('x', 'a\r\nb: c'), 'bad-header-value', '.value'],
  [setting('x', ''), 'bad-header-value', '.value'],
  [
    filter('URLRewrite', 'urlRewrite', {
      path: { type: 'ReplaceFullPath', replaceFullPath: '\\1' },
    }),
    'bad-path',
    '.replaceFullPath',
  ],
  [
    {
      rules: [
        {
          matches: [{ path: { type: 'Exact', value: '/a' } }],
          filters: [{ type: 'URLRewrite', urlRewrite: { path: PREFIX } }],
        },
      ],
    },
    'no-prefix',
    'spec.rules[0].filters',
  ],
  [
    {
      rules: [
        {
          filters: [
            { type: 'URLRewrite', urlRewrite: { path: PREFIX } },
            { type: 'RequestRedirect', requestRedirect: { path: PREFIX } },
          ],
        },
      ],
    },
    'both-filters',
    'spec.rules[0].filters',
  ],
  [filter('RequestRedirect', 'requestRedirect', { statusCode: 200 }), 'bad-status', '.statusCode'],
  [filter('RequestRedirect', 'requestRedirect', { hostname: 'a/b' }), 'bad-host', '.hostname'],
  [{ rules: [{ backendRefs: [{ name: 'a', port: 80, weight: -1 }] }] }, 'out-of-range', '.weight'],
  [{ rules: [{ backendRefs: [{ name: 'A b', port: 80 }] }] }, 'bad-name', '.name'],
  [{ rules: [{ timeouts: { request: '1x' } }] }, 'bad-duration', '.request'],
  [{ rules: [{ timeouts: { request: '1s', backendRequest: '2s' } }] }, 'longer-than-whole', ''],
  [{ rules: [{ retry: { attempts: 99 } }] }, 'out-of-range', '.attempts'],
  [{ rules: Array.from({ length: 17 }, () => ({})) }, 'too-many', 'spec.rules'],
];
for (const [spec, code, field] of WRONG) {
  test(`parseRoute() refuses ${JSON.stringify(spec).slice(0, 100)} as ${code}`, () => {
    const parsed = parseRoute(routeOf(spec), 'HTTPRoute');
    assert.equal(parsed.ok, false);
    const [first] = parsed.problems;
    assert.equal(first?.code, code, JSON.stringify(parsed.problems));
    assert.ok(first.field?.endsWith(field) === true, first.field ?? 'no field');
  });
}

test('parseGrant() takes what it says of routes and Services, and passes over all else', () => {
  const from = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'a' };
  const grantOf = (to: readonly object[]) =>
    parseGrant({
      apiVersion: 'gateway.networking.k8s.io/v1beta1',
      kind: 'ReferenceGrant',
      metadata: { name: 'g', namespace: 'shop' },
      spec: { from: [from, { ...from, kind: 'Gateway' }, { ...from, group: 'other' }], to },
    });
  const one = grantOf([
    { group: '', kind: 'Service', name: 'web' },
    { group: '', kind: 'Secret' },
  ]);
  assert.ok(one.ok);
  assert.deepEqual(one.value.from, [{ kind: 'HTTPRoute', namespace: 'a' }]);
  assert.deepEqual([...(one.value.services ?? [])], ['web']);
  const all = grantOf([{ group: '', kind: 'Service' }]);
  assert.ok(all.ok && all.value.services === undefined);
  const none = grantOf([{ group: '', kind: 'Secret' }]);
  assert.ok(none.ok);
  assert.equal(none.value.services?.size, 0);
});

test('comparePrecedence() puts the longer service of gRPC first, then the longer method', () => {
  const methods = [
    { service: 'a.B', method: 'C' },
    { method: 'Longest' },
    { service: 'a.Longer' },
    { service: 'a.B', method: 'Longer' },
    { service: 'a.B' },
  ];
  const ranked = methods.map((method, ruleIndex) => {
    const match = ruleOf({ matches: [{ method }] }, 'GRPCRoute').matches[0];
    assert.ok(match !== undefined);
    const route = { kind: 'GRPCRoute', namespace: 'shop', name: 'r', createdAtMs: 0 } as const;
    return { route, match, ruleIndex, matchIndex: 0 };
  });
  assert.deepEqual(
    ranked.sort(comparePrecedence).map(({ ruleIndex }) => ruleIndex),
    [2, 3, 0, 4, 1],
  );
});
