import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage } from '@weft/xds/registry';
import fc from 'fast-check';
import { enrolmentMethod, readRenewRequest } from './enrolment-messages.ts';

const receive = (name: 'Enrol' | 'Renew', bytes: Uint8Array) =>
  enrolmentMethod(name)[name]!.requestDeserialize(Buffer.from(bytes));

test('what a peer sends is read or refused, and never thrown', () => {
  for (const name of ['Enrol', 'Renew'] as const) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const received = receive(name, bytes);
        if (received.ok) readRenewRequest(received.message);
      }),
    );
    assert.deepEqual(receive(name, Buffer.alloc(16_385)), { ok: false });
    assert.deepEqual(receive(name, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f])), { ok: false });
  }
});

test('readRenewRequest() tells a request for a certificate from an acknowledgement', () => {
  const read = (fields: Parameters<typeof encodeMessage>[1]) => {
    const received = receive('Renew', encodeMessage('weft.enrolment.v1.RenewRequest', fields));
    return received.ok ? readRenewRequest(received.message) : undefined;
  };
  assert.deepEqual(read({ bundle_ack: 'v1' }), { kind: 'bundle-ack', version: 'v1' });
  const csr = read({ csr_der: Buffer.of(1, 2) });
  assert.ok(csr?.kind === 'csr' && Buffer.from(csr.csrDer).equals(Buffer.of(1, 2)));
  assert.deepEqual(read({}), { kind: 'unknown' });
});

test('enrolmentMethod() gives each port its own method alone', () => {
  assert.deepEqual(Object.keys(enrolmentMethod('Enrol')), ['Enrol']);
  assert.deepEqual(Object.keys(enrolmentMethod('Renew')), ['Renew']);
});
