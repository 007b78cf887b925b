import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createLineLog } from './log-lines.ts';

function logged(line: string): Record<string, unknown> | undefined {
  const lines: string[] = [];
  createLineLog(pino({ level: 'trace' }, { write: (text: string) => void lines.push(text) }))(line);
  const [first] = lines;
  return first === undefined ? undefined : JSON.parse(first);
}

const access = (fields: object): string =>
  JSON.stringify({
    weft: 'access',
    direction: 'inbound',
    source: 'spiffe://mesh.test/ns/shop/sa/web',
    sourceIp: '10.0.0.1',
    port: '8080',
    upstream: '10.0.0.2:8080',
    cluster: 'inbound|8080||',
    flags: null,
    received: 1,
    sent: 2,
    duration: 3,
    ...fields,
  });
const http = (fields: object): string =>
  access({ protocol: 'HTTP/1.1', method: 'GET', path: '/a', status: 200, grpc: null, ...fields });

const LEVELS = [
  ['warning', 40],
  ['critical', 60],
  ['info', 30],
  ['nonsense', 40],
] as const;
for (const [level, number] of LEVELS) {
  test(`a line of Envoy's level ${level} is one of ours`, () => {
    const line = logged(JSON.stringify({ weft: 'log', level, logger: 'main', text: 'so it is' }));
    assert.deepEqual([line?.['level'], line?.['text']], [number, 'so it is']);
  });
}

test('what is written past the log is told, and cut', () => {
  assert.equal(logged('Caught Segmentation fault')?.['text'], 'Caught Segmentation fault');
  assert.equal(logged('{"weft":"log"')?.['text'], '{"weft":"log"');
  assert.equal(String(logged('x'.repeat(10_000))?.['text']).length, 4_097);
  assert.equal(logged(''), undefined);
});

const RULE = 'ns[shop]-policy[a]-rule[0]';
const DECISIONS: readonly (readonly [string, string, object])[] = [
  [
    'a rule that allows',
    http({ details: 'via_upstream', policy: RULE, decision: 'allowed' }),
    { decision: 'allow', decisionReason: 'allow-rule', policy: RULE },
  ],
  [
    'a rule that denies, whatever its name has in it',
    http({ status: 403, details: `rbac_access_denied_matched_policy[${RULE}]`, policy: RULE }),
    { decision: 'deny', decisionReason: 'deny-rule', policy: RULE },
  ],
  [
    'no rule that allows',
    http({ status: 403, details: 'rbac_access_denied_matched_policy[none]' }),
    { decision: 'deny', decisionReason: 'no-allow-match', policy: undefined },
  ],
  [
    'a refused connection',
    access({ details: 'rbac_access_denied_matched_policy[none]', decision: null }),
    { decision: 'deny', decisionReason: 'no-allow-match', policy: undefined },
  ],
  [
    'nobody that decides',
    access({ details: '-', policy: null, decision: null }),
    { decision: 'none', decisionReason: undefined, policy: undefined },
  ],
];
for (const [what, text, expected] of DECISIONS) {
  test(`an access line says of ${what} what was decided, and by what`, () => {
    const { decision, decisionReason, policy } = logged(text) ?? {};
    assert.deepEqual({ decision, decisionReason, policy }, { policy: undefined, ...expected });
  });
}

test("an access line has the words of Weft's sidecar", () => {
  const line = logged(http({ grpc: 7, id: 'r-1', authority: 'web.shop', flags: 'UF' })) ?? {};
  const { msg, direction, protocol, destinationPort, requestId, grpcStatus, reasonCode } = line;
  assert.deepEqual(
    { msg, direction, protocol, destinationPort, requestId, grpcStatus, reasonCode },
    {
      msg: 'access',
      direction: 'inbound',
      protocol: 'http1',
      destinationPort: 8080,
      requestId: 'r-1',
      grpcStatus: '7',
      reasonCode: 'UF',
    },
  );
});
