// What a route's rule makes of a request: answers, shares, other paths and hosts, headers and copies.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route, RouteMatch } from '@weft/xds/resources/route';
import type { PathRewrite, RouteRedirect, RouteRule } from '@weft/xds/resources/route-rule';
import { HeadEdits } from '../filters/head-edits.ts';
import { AnswerHeaders } from './answer-headers.ts';
import { applyRule, rewrite } from './apply-rule.ts';

const ROUTE: Route = {
  match: { kind: 'separatedPrefix', value: '/foo' },
  cluster: 'c',
  timeoutMs: 0,
  connectRetries: 0,
};

function apply(rule: RouteRule, target = '/foo', random = 0, authority = 'web:8080') {
  const edits = new HeadEdits();
  const request = { method: 'GET', path: target, target, authority, header: () => undefined };
  return {
    edits,
    applied: applyRule(ROUTE, rule, request, { edits: () => edits, random: () => random }),
  };
}

/** The table of Gateway API's ReplacePrefixMatch, as the control plane puts it on the wire. */
const REWRITES: readonly (readonly [string, RouteMatch, PathRewrite, string])[] = [
  ['/foo/bar', ROUTE.match, { kind: 'prefix', value: '/xyz' }, '/xyz/bar'],
  ['/foo', ROUTE.match, { kind: 'prefix', value: '/xyz' }, '/xyz'],
  ['/foo/', ROUTE.match, { kind: 'prefix', value: '/xyz' }, '/xyz/'],
  ['/foo/bar?q=/foo', ROUTE.match, { kind: 'strip', value: '/foo' }, '/bar?q=/foo'],
  ['/foo/', ROUTE.match, { kind: 'strip', value: '/foo' }, '/'],
  ['/foo', ROUTE.match, { kind: 'strip', value: '/foo' }, '/'],
  ['/bar', { kind: 'prefix', value: '/' }, { kind: 'prefix', value: '/xyz/' }, '/xyz/bar'],
  ['/foo/bar?q', ROUTE.match, { kind: 'full', value: '/new' }, '/new?q'],
];
for (const [target, match, change, expected] of REWRITES) {
  test(`rewrite() makes ${expected} of ${target} by ${change.kind} ${change.value}`, () => {
    assert.equal(rewrite(target, change, { ...ROUTE, match }), expected);
  });
}

const REDIRECTS: readonly (readonly [Partial<RouteRedirect>, string, string])[] = [
  [{}, 'web:8080', 'http://web:8080/foo?q'],
  [{ host: 'other.test' }, 'web:8080', 'http://other.test/foo?q'],
  [{ scheme: 'https', port: 443 }, 'web:8080', 'https://web/foo?q'],
  [{ scheme: 'https', port: 8443 }, 'web', 'https://web:8443/foo?q'],
  [{ port: 80 }, 'web:8080', 'http://web/foo?q'],
  [{ scheme: 'https' }, 'web:80', 'https://web/foo?q'],
  [{ path: { kind: 'full', value: '/new' } }, 'web', 'http://web/new?q'],
  [{ path: { kind: 'strip', value: '/foo' } }, '[::1]:81', 'http://[::1]:81/?q'],
  [{}, '[::1]', 'http://[::1]/foo?q'],
];
for (const [redirect, authority, location] of REDIRECTS) {
  test(`a redirect by ${JSON.stringify(redirect)} of ${authority} leads to ${location}`, () => {
    const answer: RouteRedirect = { kind: 'redirect', status: 302, ...redirect };
    const { applied } = apply({ answer }, '/foo?q', 0, authority);
    assert.deepEqual(applied, {
      kind: 'respond',
      status: 302,
      reasonCode: 'route-redirect',
      headers: ['location', location],
    });
  });
}

test('applyRule() shares requests out by weight, and answers for the share that leads nowhere', () => {
  const rule: RouteRule = {
    clusters: [
      { cluster: 'a', weight: 1 },
      { cluster: 'none', weight: 0 },
      { cluster: 'unresolved', weight: 1 },
      { cluster: 'b', weight: 2 },
    ],
    unresolvedStatus: 500,
  };
  const chosen = [0, 0.24, 0.25, 0.49, 0.5, 0.99].map((random) => {
    const { applied } = apply(rule, '/foo', random);
    return applied.kind === 'forward' ? applied.route.cluster : applied.status;
  });
  assert.deepEqual(chosen, ['a', 'a', 500, 500, 'b', 'b']);
});

test('applyRule() changes headers of the share first, then of the route', () => {
  const put = (value: string, isSet: boolean) => ({
    remove: [],
    put: [{ name: 'x', value, isSet }],
  });
  const { edits } = apply({
    clusters: [{ cluster: 'a', weight: 1, requestHeaders: put('share', true) }],
    requestHeaders: { remove: ['y'], put: [...put('route', false).put] },
  });
  assert.deepEqual(edits.added, ['x', 'share', 'x', 'route']);
  assert.ok(edits.isRemoved('x') && edits.isRemoved('y'));
});

test('applyRule() copies a share of requests', () => {
  const rule: RouteRule = {
    mirrors: [
      { cluster: 'all', share: 1_000_000 },
      { cluster: 'half', share: 500_000 },
      { cluster: 'none', share: 0 },
    ],
  };
  const mirrorsAt = (random: number) => {
    const { applied } = apply(rule, '/foo', random);
    return applied.kind === 'forward' ? applied.mirrors : [];
  };
  assert.deepEqual(mirrorsAt(0), ['all', 'half']);
  assert.deepEqual(mirrorsAt(0.5), ['all']);
});

test('AnswerHeaders takes out and puts in, rule by rule', () => {
  const headers = new AnswerHeaders([
    {
      remove: ['a'],
      put: [
        { name: 'b', value: '1', isSet: true },
        { name: 'c', value: '1', isSet: false },
      ],
    },
    { remove: [], put: [{ name: 'b', value: '2', isSet: true }] },
  ]);
  const raw = [':status', '200', 'a', 'x', 'b', 'x', 'c', 'x'];
  assert.deepEqual(headers.applyTo(raw), [':status', '200', 'c', 'x', 'c', '1', 'b', '2']);
});
