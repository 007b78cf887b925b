// What throttles, faults and limits say of single requests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileMatch } from '@weft/model/policy/compile';
import { parseMatchRules } from '@weft/model/policy/parse-authorization-policy';
import { Reader } from '@weft/model/policy/reader';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { RequestLimits } from '@weft/model/traffic/types';
import type { FaultConfig, ThrottleConfig } from '@weft/xds/resources/traffic';
import { ConnectionFacts, type RequestHead } from '../filters/connection-facts.ts';
import { HeadEdits } from '../filters/head-edits.ts';
import type { GateRequest } from '../filters/request-gate.ts';
import { createFaultGate } from './fault-gate.ts';
import { createLimitsGate } from './limits-gate.ts';
import { createThrottleGate } from './throttle-gate.ts';

interface Asked {
  readonly caller?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly address?: string;
}

function requestOf({
  method = 'GET',
  path = '/',
  headers = {},
  address = '10.0.0.9',
}: Asked): GateRequest {
  const lines = new Map(Object.entries(headers).map(([name, value]) => [name, [value].flat()]));
  const head: RequestHead = {
    method,
    path,
    authority: 'web.shop',
    header: (name) => lines.get(name),
    names: () => lines.keys(),
  };
  const destinationAddress = '10.0.0.1';
  const endpoints = {
    sourceAddress: address,
    sourcePort: 4,
    destinationAddress,
    destinationPort: 8080,
    serverName: '',
  };
  const facts = new ConnectionFacts(endpoints, undefined);
  facts.setRequest(head, path, path, facts.sourceIp);
  return { facts, edits: () => new HeadEdits(), requestId: 'r', atMs: 0, meshHeaders: () => [] };
}

const OPTIONS = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol: 'http' } as const;

function rulesOf(action: 'ALLOW' | 'DENY', ...rules: readonly object[]): RbacRules {
  const reader = new Reader();
  const parsed = parseMatchRules(reader, rules, 'rules') ?? [];
  assert.deepEqual(reader.problems, []);
  return compileMatch({ namespace: 'shop', name: 'p' }, parsed, action, OPTIONS);
}

const throttle = (over: Partial<ThrottleConfig> = {}): ThrottleConfig => ({
  name: 'shop/p/one',
  key: [],
  requests: 1,
  intervalMs: 1_000,
  burst: 2,
  maxKeys: 1_000,
  ...over,
});

function throttled(configs: readonly ThrottleConfig[], asked: readonly Asked[]): readonly string[] {
  const gate = createThrottleGate(configs, { now: () => 5_000 });
  return asked.map((one) => {
    const outcome = gate.check(requestOf(one));
    return outcome.kind === 'refuse' ? String(outcome.status) : outcome.kind;
  });
}

test('a throttle without a key counts all requests together', () => {
  assert.deepEqual(throttled([throttle()], [{}, { path: '/b' }, {}]), ['pass', 'pass', '429']);
});

for (const [kind, one, other] of [
  ['address', { address: '10.0.0.1' }, { address: '10.0.0.2' }],
  ['method', { method: 'GET' }, { method: 'PUT' }],
  ['path', { path: '/a' }, { path: '/b' }],
] as const) {
  test(`a throttle by ${kind} counts each for itself`, () => {
    const configs = [throttle({ key: [{ kind }], burst: 1 })];
    assert.deepEqual(throttled(configs, [one, other, one, other]), ['pass', 'pass', '429', '429']);
  });
}

test('a throttle by header counts all its values as one key, and requests without it as one', () => {
  const configs = [throttle({ key: [{ kind: 'header', name: 'x-key' }], burst: 1 })];
  const key = (...values: readonly string[]): Asked => ({ headers: { 'x-key': values } });
  assert.deepEqual(throttled(configs, [key('a'), key('b'), key('a', 'b'), key('a'), {}, {}]), [
    'pass',
    'pass',
    'pass',
    '429',
    'pass',
    '429',
  ]);
});

test('rules choose what is counted, and by rule each of them has buckets of its own', () => {
  const rules = rulesOf(
    'DENY',
    { to: [{ operation: { paths: ['/a/*'] } }] },
    { when: [{ key: 'request.headers[x-team]', values: ['red'] }] },
  );
  const configs = [throttle({ rules, key: [{ kind: 'rule' }], burst: 1 })];
  const red = { headers: { 'x-team': 'red' } };
  assert.deepEqual(throttled(configs, [{ path: '/a/1' }, { path: '/a/2' }, red, red, {}, {}]), [
    'pass',
    '429',
    'pass',
    '429',
    'pass',
    'pass',
  ]);
});

test('a request that one throttle refuses takes no token of another', () => {
  const configs = [
    throttle({ name: 'shop/p/wide', burst: 3 }),
    throttle({ burst: 1, key: [{ kind: 'path' }] }),
  ];
  const asked = [
    { path: '/a' },
    { path: '/a' },
    { path: '/a' },
    { path: '/b' },
    { path: '/c' },
    { path: '/d' },
  ];
  assert.deepEqual(throttled(configs, asked), ['pass', '429', '429', 'pass', 'pass', '429']);
});

test('a refusal says when to come again', () => {
  const gate = createThrottleGate([throttle({ requests: 1, intervalMs: 90_000, burst: 1 })], {
    now: () => 0,
  });
  gate.check(requestOf({}));
  const outcome = gate.check(requestOf({}));
  assert.ok(outcome.kind === 'refuse');
  assert.deepEqual(outcome.headers, [
    'retry-after',
    '90',
    'ratelimit-policy',
    '"one";q=1;w=90',
    'ratelimit',
    '"one";r=0;t=90',
  ]);
});

const abort: FaultConfig = { name: 'shop/p/f', abort: { partsPerMillion: 1_000_000, status: 503 } };

test('a fault is over on its date, by the clock of the sidecar', () => {
  let now = 999;
  const gate = createFaultGate([{ ...abort, untilMs: 1_000 }], { now: () => now });
  assert.equal(gate.check(requestOf({})).kind, 'refuse');
  now = 1_000;
  assert.equal(gate.check(requestOf({})).kind, 'pass');
});

test('a fault happens to the share that was asked for, and to requests that its rules match', () => {
  const rules = rulesOf('ALLOW', { when: [{ key: 'request.headers[x-chaos]', values: ['on'] }] });
  let rolled = 0;
  const some = { ...abort, rules, abort: { partsPerMillion: 250_000, status: 503 } };
  const gate = createFaultGate([some], { random: () => (rolled++ % 100) / 100 });
  const hit = Array.from({ length: 100 }, () =>
    gate.check(requestOf({ headers: { 'x-chaos': 'on' } })),
  );
  assert.equal(hit.filter(({ kind }) => kind === 'refuse').length, 25);
  assert.equal(gate.check(requestOf({})).kind, 'pass');
});

test('a delay is waited for before an abort', () => {
  const delay = { partsPerMillion: 1_000_000, durationMs: 20 };
  const gate = createFaultGate([{ ...abort, delay }]);
  const outcome = gate.check(requestOf({}));
  assert.ok(outcome.kind === 'wait');
  assert.deepEqual([outcome.durationMs, outcome.outcome.kind], [20, 'refuse']);
});

const limited = (limits: RequestLimits, asked: Asked): number => {
  const outcome = createLimitsGate({ name: 'shop/p', limits }).check(requestOf(asked));
  assert.notEqual(outcome, 'later');
  return outcome !== 'later' && outcome.kind === 'refuse' ? outcome.status : 0;
};

const json = { 'content-type': 'application/json; charset=utf-8', 'content-length': '2' };
for (const [what, limits, asked, status] of [
  ['a method that is not listed', { methods: ['GET'] }, { method: 'TRACE' }, 405],
  ['a method by its case', { methods: ['GET'] }, { method: 'get' }, 405],
  ['a listed method', { methods: ['GET'] }, {}, 0],
  ['a body that is declared too large', { maxBodyBytes: 1 }, { headers: json }, 413],
  ['a body of that size', { maxBodyBytes: 2 }, { headers: json }, 0],
  ['a length that is no number', { maxBodyBytes: 2 }, { headers: { 'content-length': 'x' } }, 413],
  ['too many fields', { maxHeaders: 1 }, { headers: json }, 431],
  ['a name that comes often', { maxHeaders: 2 }, { headers: { a: ['1', '2', '3'] } }, 431],
  ['fields that are too large', { maxHeaderBytes: 256 }, { headers: { a: 'x'.repeat(256) } }, 431],
  ['a type that is listed', { contentTypes: ['application/json'] }, { headers: json }, 0],
  ['a type of a listed family', { contentTypes: ['application/*'] }, { headers: json }, 0],
  ['a type that is not listed', { contentTypes: ['text/plain'] }, { headers: json }, 415],
  [
    'one good type of two',
    { contentTypes: ['text/plain'] },
    { headers: { 'content-type': ['text/plain', 'a/b'] } },
    415,
  ],
  [
    'two types in one line',
    { contentTypes: ['a/b', 'text/*'] },
    { headers: { 'content-type': 'text/plain, a/b' } },
    415,
  ],
  ['a body without a type', { contentTypes: ['a/b'] }, { method: 'POST' }, 415],
  [
    'chunks without a type',
    { contentTypes: ['a/b'] },
    { headers: { 'transfer-encoding': 'chunked' } },
    415,
  ],
  [
    'no body and no type',
    { contentTypes: ['a/b'] },
    { method: 'POST', headers: { 'content-length': '0' } },
    0,
  ],
  ['a plain GET', { contentTypes: ['a/b'] }, {}, 0],
] as const satisfies readonly (readonly [string, RequestLimits, Asked, number])[]) {
  test(`limits: ${what} is ${status === 0 ? 'let through' : status}`, () => {
    assert.equal(limited(limits, asked), status);
  });
}
