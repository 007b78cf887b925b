import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { readCsr } from '@weft/ca/csr';
import { createKeyAndRequest } from './csr.ts';

test('createKeyAndRequest() asks for no identity: a request names nobody (CVE-2022-40716)', async () => {
  const { csrDer, keyPem, publicKeyDer } = await createKeyAndRequest();
  const read = readCsr(csrDer);
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual(read.uriSans, []);
  const own = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  assert.deepEqual(own, publicKeyDer);
  assert.ok(csrDer.includes(publicKeyDer), 'the key asked for is ours');
});

test('createKeyAndRequest() makes another key each time', async () => {
  const [one, other] = await Promise.all([createKeyAndRequest(), createKeyAndRequest()]);
  assert.notEqual(one.keyPem, other.keyPem);
});
