// An application is reached where its port was mapped to, else where the Pod is; never at what it shows on loopback alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appAddressOf } from './app-address.ts';

const listen = { host: '::', port: 0 };
const inbound = [{ port: 8080, app: { address: '127.0.0.1', port: 3000 } }];

test('a port that is mapped leads where the mapping says', () => {
  const of = appAddressOf({ inbound, transparent: undefined, podIp: '10.0.0.1' });
  assert.deepEqual(of({ address: '127.0.0.1', port: 8080 }), { address: '127.0.0.1', port: 3000 });
  assert.deepEqual(of({ address: '127.0.0.1', port: 9 }), { address: '127.0.0.1', port: 9 });
});

test('behind redirected ports what listens on loopback alone is not shown to the mesh', () => {
  const transparent = { inbound: listen, outbound: listen, proofPeriodMs: undefined };
  const of = appAddressOf({ inbound: [], transparent, podIp: '10.0.0.1' });
  assert.deepEqual(of({ address: '127.0.0.1', port: 9 }), { address: '10.0.0.1', port: 9 });
  assert.deepEqual(of({ address: '10.0.0.1', port: 9 }), { address: '10.0.0.1', port: 9 });
});
