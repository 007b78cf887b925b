// A request with a credential looks at its endpoints again at each try.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AcquireHandlers, AcquireWant } from '../http/h1-contract.ts';
import type { PickWant } from '../http2/http2-contract.ts';
import { securedHttp1, securedHttp2 } from './with-credentials.ts';

type Runtime = Parameters<typeof securedHttp1>[0];

function rig() {
  const asked: string[] = [];
  const tls = { tlsMode: 'mesh' as 'mesh' | 'disabled' };
  const cluster = {
    definition: { discovery: { kind: 'eds', serviceName: 'x' }, meshTls: {} },
    endpoints: [{ definition: tls }],
    http1: {
      connectRetries: 2,
      acquire: () => {
        asked.push('acquire');
        return { [Symbol.dispose]: () => undefined };
      },
    },
    http2: {
      connectRetries: 2,
      pick: () => void asked.push('pick'),
      report: () => void asked.push('report'),
    },
  } as never as Runtime;
  return { asked, tls, cluster };
}

test('an endpoint without TLS that has come since ends the request, before anything is sent', () => {
  const { asked, tls, cluster } = rig();
  const failures: string[] = [];
  const handlers: AcquireHandlers = {
    onConnection: () => assert.fail('a connection'),
    onFailure: (reasonCode) => failures.push(reasonCode),
  };
  const want = {} as AcquireWant;
  const http1 = securedHttp1(cluster);
  const http2 = securedHttp2(cluster);
  using _first = http1.acquire(want, handlers);
  http2.pick({} as PickWant);
  assert.deepEqual(asked, ['acquire', 'pick']);
  tls.tlsMode = 'disabled';
  using _second = http1.acquire(want, handlers);
  assert.equal(http2.pick({} as PickWant), undefined);
  assert.deepEqual(asked, ['acquire', 'pick']);
  assert.deepEqual(failures, ['credential-needs-tls']);
});
