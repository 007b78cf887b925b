// Which addresses are called for whoever may write a policy.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddressGuard } from './guard-address.ts';

const REFUSED = [
  '127.0.0.1',
  '127.1.2.3',
  '0.0.0.0',
  '10.96.0.1',
  '100.64.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::127.0.0.1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '64:ff9b::7f00:1',
  '64:ff9b:1::1',
  'fe80::1',
  'fd00::1',
  'fd00:ec2::254',
  'ff02::1',
  '2001:db8::1',
  '2001::1',
  '2002:7f00:1::1',
  '100::1',
  'localhost',
  '127.1',
  '2130706433',
  '',
];
const TAKEN = [
  '1.1.1.1',
  '8.8.8.8',
  '172.32.0.1',
  '192.0.1.1',
  '::ffff:1.1.1.1',
  '2606:4700::1111',
];

test('an address that is not public is refused (CVE-2026-41413)', () => {
  const isAllowed = createAddressGuard([]);
  assert.deepEqual(REFUSED.filter(isAllowed), []);
  assert.deepEqual(
    TAKEN.filter((address) => !isAllowed(address)),
    [],
  );
});

test('a listed network is called, and no other that is not public', () => {
  const isAllowed = createAddressGuard(['10.96.0.0/12', 'fd00::/8', 'nonsense']);
  assert.deepEqual(REFUSED.filter(isAllowed), ['10.96.0.1', 'fd00::1', 'fd00:ec2::254']);
});
