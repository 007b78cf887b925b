// Which route a request takes, by its authority, path, method, headers and query.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route, RouteConfiguration, RouteMatch } from '@weft/xds/resources/route';
import { findRoute } from './match-route.ts';

const routesOf = (...pairs: readonly (readonly [string, string])[]): RouteConfiguration => ({
  name: 'r',
  virtualHosts: pairs.map(([domain, cluster]) => ({
    name: domain,
    domains: [domain],
    routes: [{ match: { kind: 'prefix', value: '/' }, cluster, timeoutMs: 0, connectRetries: 0 }],
  })),
});

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
}

function routeOf(
  configuration: RouteConfiguration,
  authority: string,
  target: string,
  { method = 'GET', headers = {} }: Asked = {},
): Route | undefined {
  return findRoute(configuration, {
    method,
    authority,
    target,
    path: target.split('?')[0],
    header: (name) => headers[name],
  });
}

const hosts = routesOf(
  ['*', 'any'],
  ['prices.*', 'prefix'],
  ['prices.shop.*', 'longer prefix'],
  ['*.example', 'suffix'],
  ['*.shop.example', 'longer suffix'],
  ['prices.shop.example', 'exact'],
);
for (const [authority, cluster] of [
  ['prices.shop.example', 'exact'],
  ['PRICES.Shop.Example', 'exact'],
  ['stock.shop.example', 'longer suffix'],
  ['stock.example', 'suffix'],
  ['prices.shop.local', 'longer prefix'],
  ['prices.local', 'prefix'],
  ['stock.local', 'any'],
  ['', 'any'],
] as const) {
  test(`findRoute() takes ${JSON.stringify(authority)} to the ${cluster} host`, () => {
    assert.equal(routeOf(hosts, authority, '/')?.cluster, cluster);
  });
}

test('findRoute() takes the first route that matches, and no host without one', () => {
  const route = (kind: 'prefix' | 'path', value: string, cluster: string) => ({
    match: { kind, value },
    cluster,
    timeoutMs: 0,
    connectRetries: 0,
  });
  const configuration: RouteConfiguration = {
    name: 'r',
    virtualHosts: [
      {
        name: 'all',
        domains: ['a', '*'],
        routes: [
          route('path', '/x', 'exact'),
          route('prefix', '/x', 'prefix'),
          route('path', '/x/y', 'never'),
        ],
      },
    ],
  };
  assert.equal(routeOf(configuration, 'b', '/x')?.cluster, 'exact');
  assert.equal(routeOf(configuration, 'b', '/x/y')?.cluster, 'prefix');
  assert.equal(routeOf(configuration, 'b', '/y'), undefined);
  assert.equal(routeOf({ name: 'r', virtualHosts: [] }, 'b', '/'), undefined);
  assert.equal(routeOf(routesOf(['a', 'c']), 'b', '/'), undefined);
});

const MATCHES: readonly (readonly [RouteMatch, string, boolean, Asked?])[] = [
  [{ kind: 'separatedPrefix', value: '/a' }, '/a', true],
  [{ kind: 'separatedPrefix', value: '/a' }, '/a/b', true],
  [{ kind: 'separatedPrefix', value: '/a' }, '/ab', false],
  [{ kind: 'separatedPrefix', value: '/a' }, '/a?b', true],
  [{ kind: 'regex', value: '/v[0-9]+/.*' }, '/v12/x?y', true],
  [{ kind: 'regex', value: '/v[0-9]+/.*' }, '/x/v12/x', false],
  [{ kind: 'prefix', value: '/', headers: [methodIs('POST')] }, '/', true, { method: 'POST' }],
  [{ kind: 'prefix', value: '/', headers: [methodIs('POST')] }, '/', false],
  [{ kind: 'prefix', value: '/', headers: [xIs('a')] }, '/', true, { headers: { x: ['a'] } }],
  [{ kind: 'prefix', value: '/', headers: [xIs('a')] }, '/', false, { headers: { x: ['A'] } }],
  [{ kind: 'prefix', value: '/', headers: [xIs('a')] }, '/', false],
  [{ kind: 'prefix', value: '/', query: [xIs('a')] }, '/?x=a', true],
  [{ kind: 'prefix', value: '/', query: [xIs('a')] }, '/?y=1&x=a&x=b', true],
  [{ kind: 'prefix', value: '/', query: [xIs('a')] }, '/?x=b&x=a', false],
  [{ kind: 'prefix', value: '/', query: [xIs('a')] }, '/?xx=a', false],
  [{ kind: 'prefix', value: '/', query: [xIs('a')] }, '/x=a', false],
];
for (const [match, target, isMatched, asked] of MATCHES) {
  test(`findRoute() ${isMatched ? 'takes' : 'passes over'} ${JSON.stringify(match)} for ${target} ${JSON.stringify(asked ?? {})}`, () => {
    const configuration: RouteConfiguration = {
      name: 'r',
      virtualHosts: [
        {
          name: 'h',
          domains: ['*'],
          routes: [{ match, cluster: 'c', timeoutMs: 0, connectRetries: 0 }],
        },
      ],
    };
    assert.equal(routeOf(configuration, 'a', target, asked) !== undefined, isMatched);
  });
}

test('findRoute() looks at every value of a header that came more than once (CVE-2020-25017)', () => {
  const configuration = (value: string): RouteConfiguration => ({
    name: 'r',
    virtualHosts: [
      {
        name: 'h',
        domains: ['*'],
        routes: [
          {
            match: { kind: 'prefix', value: '/', headers: [xIs(value)] },
            cluster: 'c',
            timeoutMs: 0,
            connectRetries: 0,
          },
        ],
      },
    ],
  });
  const asked = { headers: { x: ['a', 'b'] } };
  assert.equal(routeOf(configuration('a'), 'h', '/', asked)?.cluster, 'c');
  assert.equal(routeOf(configuration('b'), 'h', '/', asked)?.cluster, 'c');
  assert.equal(routeOf(configuration('a,b'), 'h', '/', asked), undefined);
});

function methodIs(value: string) {
  return { name: ':method', kind: 'exact', value } as const;
}

function xIs(value: string) {
  return { name: 'x', kind: 'exact', value } as const;
}
