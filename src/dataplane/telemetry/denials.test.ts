import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccessRecord } from './access-log.ts';
import { Denials } from './denials.ts';

const refused = (requestId: string, more: Partial<AccessRecord> = {}): AccessRecord => ({
  direction: 'inbound',
  protocol: 'http1',
  source: 'spiffe://cluster.local/ns/shop/sa/web',
  sourceIp: '10.0.0.1',
  destinationPort: 8080,
  upstream: '',
  verdict: { isAllowed: false, reason: 'deny-rule', decidedBy: 'ns[shop]-policy[p]-rule[0]' },
  reasonCode: 'rbac-denied',
  bytesReceived: 0,
  bytesSent: 0,
  durationMs: 1,
  http: {
    requestId,
    method: 'GET',
    path: '/admin?token=secret',
    authority: 'web',
    status: 403,
    grpcStatus: '',
  },
  ...more,
});

const http = refused('x').http!;

test('a refusal is found by its request id, with the rule and without the query', () => {
  const denials = new Denials({ now: () => 0 });
  denials.add(refused('a'));
  denials.add(refused('b'));
  const found = denials.find('a');
  assert.equal(found.length, 1);
  assert.equal(found[0]?.policy, 'ns[shop]-policy[p]-rule[0]');
  assert.equal(found[0].path, '/admin');
  assert.equal(found[0].time, '1970-01-01T00:00:00.000Z');
  assert.deepEqual(denials.find('c'), []);
});

test('no more than the newest are kept, however many there were', () => {
  const denials = new Denials({ now: () => 0, max: 3 });
  for (const id of ['1', '2', '3', '4', '5']) denials.add(refused(id));
  assert.deepEqual(
    denials.find().map(({ requestId }) => requestId),
    ['5', '4', '3'],
  );
});

test('long texts of a client are cut before they are kept', () => {
  const denials = new Denials({ now: () => 0 });
  denials.add(refused('a', { http: { ...http, requestId: 'a', path: `/${'x'.repeat(60_000)}` } }));
  assert.ok(JSON.stringify(denials.find()).length < 2_000);
});

const OTHERS: readonly (readonly [string, AccessRecord, number])[] = [
  [
    'an answer of the application is no refusal',
    refused('a', { verdict: undefined, reasonCode: '' }),
    0,
  ],
  [
    'an allowed request is none',
    refused('a', { verdict: undefined, reasonCode: '', http: { ...http, status: 200 } }),
    0,
  ],
  [
    'an upstream that cannot be reached is none',
    refused('a', {
      verdict: undefined,
      reasonCode: 'connect-refused',
      http: { ...http, status: 503 },
    }),
    0,
  ],
  [
    'an ambiguous path is one, before any policy',
    refused('a', { verdict: undefined, reasonCode: 'path-null', http: { ...http, status: 400 } }),
    1,
  ],
];
for (const [claim, record, count] of OTHERS) {
  test(claim, () => {
    const denials = new Denials({ now: () => 0 });
    denials.add(record);
    assert.equal(denials.find().length, count);
  });
}

test('a connection that was refused is one, without a request', () => {
  const denials = new Denials({ now: () => 0 });
  const { http: _, ...tcp } = refused('');
  denials.add({ ...tcp, protocol: 'tcp', nearest: 'ns[shop]-policy[q]-rule[0]: no' });
  const [found] = denials.find();
  assert.equal(found?.requestId, undefined);
  assert.equal(found?.nearest, 'ns[shop]-policy[q]-rule[0]: no');
});
