// Filters that a request must pass before it is judged: at once or later, each with the facts of its own request.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRbac } from '@weft/model/policy/evaluate';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { HttpRuntime } from '../state/chain.ts';
import { ConnectionFacts, type RequestHead } from './connection-facts.ts';
import type { HttpDecision } from './http-filters.ts';
import { HttpSession } from './http-session.ts';
import { PASSED, type GateOutcome, type GateRequest, type RequestGate } from './request-gate.ts';

const FILTER = 'test.filter';

/** Allows who the filter says is `ann`, at `/a` alone, when the header `x-seen` says so too. */
const ANN_AT_A: RbacRules = {
  action: 'ALLOW',
  policies: [
    {
      name: 'ann',
      permissions: [
        {
          kind: 'and',
          rules: [
            { kind: 'urlPath', path: { kind: 'exact', value: '/a', ignoreCase: false } },
            {
              kind: 'header',
              header: {
                name: 'x-seen',
                match: {
                  kind: 'string',
                  string: { kind: 'exact', value: 'ann', ignoreCase: false },
                },
                invert: false,
              },
            },
          ],
        },
      ],
      principals: [
        {
          kind: 'metadata',
          metadata: {
            filter: FILTER,
            path: ['user', 'name'],
            value: {
              kind: 'string',
              string: { kind: 'exact', value: 'ann', ignoreCase: false },
            },
            invert: false,
          },
        },
      ],
    },
  ],
};

function headOf(path: string, user: string): RequestHead {
  return {
    method: 'GET',
    path,
    authority: 'a',
    header: (name) => (name === 'x-user' ? [user] : name === 'x-seen' ? ['ann'] : undefined),
    names: () => ['x-user', 'x-seen'],
  };
}

/** Believes `x-user`; where there is a `wait` it answers when that is over. */
function gateOf(wait?: (user: string) => Promise<void>): RequestGate {
  const check = ({ facts }: GateRequest): GateOutcome => {
    const user = facts.header('x-user')?.[0] ?? '';
    if (user === 'eve') {
      const headers = ['www-authenticate', 'Test'];
      return { kind: 'refuse', status: 401, body: 'no', reasonCode: 'eve', headers };
    }
    facts.setMetadata(FILTER, { user: { name: user } });
    return PASSED;
  };
  return {
    check: (request) => (wait === undefined ? check(request) : 'later'),
    async checkLater(request) {
      await wait?.(request.facts.header('x-user')?.[0] ?? '');
      return check(request);
    },
  };
}

function runtimeOf(gates: readonly RequestGate[], rules = [ANN_AT_A]): HttpRuntime {
  const route = { match: { kind: 'prefix', value: '/' }, cluster: 'c', timeoutMs: 0 } as const;
  const routes = [{ ...route, connectRetries: 0 }];
  return {
    manager: {
      statPrefix: 'x',
      routes: {
        kind: 'inline',
        config: { name: 'r', virtualHosts: [{ name: '*', domains: ['*'], routes }] },
      },
      filters: [],
      forwardClientCert: 'sanitize',
      trustedHops: 0,
      pathNormalization: 'BASE',
      upgrades: [],
      requestHeadersTimeoutMs: 0,
      streamIdleTimeoutMs: 0,
    },
    refusedPaths: [],
    gates,
    evaluator: compileRbac(rules),
  };
}

const endpoints = {
  sourceAddress: '10.0.0.9',
  sourcePort: 40_000,
  destinationAddress: '10.0.0.7',
  destinationPort: 8080,
  serverName: '',
};

function sessionOf(runtime: HttpRuntime): HttpSession {
  return new HttpSession({
    facts: new ConnectionFacts(endpoints, undefined),
    runtime,
    protocol: 'http2',
    isInbound: true,
    clientCert: undefined,
    source: 'plaintext',
    route: () => undefined,
    flow: () => assert.fail('nothing is finished here'),
    log: () => undefined,
    isLogOff: true,
    edges: undefined,
  });
}

const said = (decision: HttpDecision): string =>
  decision.kind === 'forward' ? 'forward' : `${decision.status} ${decision.reasonCode}`;

test('a gate that answers at once leaves the decision at once, with what it found out', () => {
  const session = sessionOf(runtimeOf([gateOf()]));
  for (const [path, user, expected] of [
    ['/a', 'ann', 'forward'],
    ['/b', 'ann', '403 rbac-denied'],
    ['/a', 'bob', '403 rbac-denied'],
    ['/a', 'eve', '401 eve'],
  ] as const) {
    const decision = session.decide(headOf(path, user));
    assert.ok(!(decision instanceof Promise));
    assert.equal(said(decision), expected, `${user} at ${path}`);
  }
});

test('what a gate found out about one request is not known of the next', () => {
  const session = sessionOf(runtimeOf([gateOf()]));
  void session.decide(headOf('/a', 'ann'));
  session.setRuntime(runtimeOf([]));
  const next = session.decide(headOf('/a', 'ann'));
  assert.ok(!(next instanceof Promise));
  assert.equal(said(next), '403 rbac-denied');
});

test('requests that wait at a gate are judged each by its own facts, in whatever order they come back', async () => {
  const waiting = new Map<string, () => void>();
  const wait = (user: string): Promise<void> =>
    new Promise((resolve) => void waiting.set(user, resolve));
  const session = sessionOf(runtimeOf([gateOf(wait)]));
  const pending = (['ann', 'bob', 'eve'] as const).map((user) =>
    session.decide(headOf(user === 'ann' ? '/a' : '/b', user)),
  );
  const late = session.decide(headOf('/b', 'cid'));
  for (const user of ['cid', 'eve', 'bob', 'ann']) waiting.get(user)?.();
  const decisions = await Promise.all([...pending, late]);
  assert.deepEqual(decisions.map(said), [
    'forward',
    '403 rbac-denied',
    '401 eve',
    '403 rbac-denied',
  ]);
});

test('rules that change while a request waits at a gate are the ones it is judged by', async () => {
  let release = (): void => undefined;
  const opened = new Promise<void>((resolve) => (release = resolve));
  const session = sessionOf(runtimeOf([gateOf(() => opened)]));
  const decision = session.decide(headOf('/a', 'ann'));
  assert.ok(decision instanceof Promise);
  const closed = { ...ANN_AT_A, policies: [] };
  session.setRuntime(runtimeOf([gateOf(() => opened)], [closed]));
  release();
  assert.equal(said(await decision), '403 rbac-denied');
});

test('a request under way is judged again only by rules that it was not judged by', async () => {
  let asked = 0;
  const gate = gateOf(async () => void asked++);
  const runtime = runtimeOf([gate]);
  const session = sessionOf(runtime);
  const head = headOf('/a', 'ann');
  const decision = await session.decide(head);
  assert.equal(await session.isStillAllowed(head, decision), true);
  assert.equal(asked, 1);
  session.setRuntime(runtimeOf([gate]));
  assert.equal(await session.isStillAllowed(head, decision), true);
  assert.equal(asked, 2);
  session.setRuntime(runtimeOf([gate], [{ ...ANN_AT_A, policies: [] }]));
  assert.equal(await session.isStillAllowed(head, decision), false);
});

test('what a gate takes out and puts in is what the rules see and what is sent on', () => {
  const gate: RequestGate = {
    check: (request) => {
      const edits = request.edits();
      edits.set('x-seen', 'nobody');
      edits.remove('x-user');
      edits.target = '/a?rest';
      request.facts.setMetadata(FILTER, { user: { name: 'ann' } });
      return PASSED;
    },
    checkLater: () => assert.fail('it never waits'),
  };
  const session = sessionOf(runtimeOf([gate]));
  const refused = session.decide(headOf('/a', 'x'));
  assert.ok(!(refused instanceof Promise));
  assert.equal(said(refused), '403 rbac-denied');
  session.setRuntime(runtimeOf([gate], []));
  const decision = session.decide(headOf('/a?token=secret&rest', 'x'));
  assert.ok(!(decision instanceof Promise) && decision.kind === 'forward');
  assert.equal(decision.target, '/a?rest');
  assert.equal(decision.edits?.isRemoved('x-user'), true);
  assert.deepEqual(decision.added.slice(-2), ['x-seen', 'nobody']);
});

test('a request under way is judged again as of when it came', async () => {
  const times: number[] = [];
  const gate: RequestGate = {
    check: ({ atMs }) => {
      times.push(atMs);
      return PASSED;
    },
    checkLater: () => assert.fail('it never waits'),
  };
  const session = sessionOf(runtimeOf([gate], []));
  const head = headOf('/a', 'ann');
  const decision = await session.decide(head);
  const startedAt = performance.now();
  while (performance.now() - startedAt < 2) await Promise.resolve();
  session.setRuntime(runtimeOf([gate], []));
  assert.equal(await session.isStillAllowed(head, decision), true);
  assert.equal(times.length, 2);
  assert.equal(times[1], times[0]);
});
