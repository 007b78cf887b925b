// A real Envoy behind Weft's agent, beside Weft's own sidecars, in network namespaces of their own.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type EnvoyLab, envoyLab, openEnvoyLab } from '../support/envoy-lab.ts';

const { skip } = envoyLab;
let lab: EnvoyLab;

before(async () => {
  if (skip !== false) return;
  lab = await openEnvoyLab({
    pods: [
      { name: 'web', proxy: 'envoy' },
      { name: 'cart', proxy: 'envoy' },
      { name: 'old', proxy: 'weft' },
    ],
  });
});

after(async () => {
  if (skip !== false) return;
  await lab?.[Symbol.asyncDispose]();
});

test('requests go through', { skip }, async () => {
  const answer = await lab
    .pod('web')
    .echo({ kind: 'http1', host: lab.pod('cart').vip, port: 80, path: '/x' });
  assert.equal(answer['name'], 'cart');
  await lab.checkNothingRefused();
});
