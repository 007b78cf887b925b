// Which addresses a name outside may lead to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDialGuard } from './dial-guard.ts';

const cases: readonly (readonly [string, boolean])[] = [
  ['203.0.113.7', true],
  ['10.1.2.3', true],
  ['2001:db8::7', true],
  ['127.0.0.1', false],
  ['::1', false],
  ['::ffff:127.0.0.1', false],
  ['0.0.0.0', false],
  ['::', false],
  ['169.254.169.254', false],
  ['fe80::1', false],
  ['fd00:ec2::254', false],
  ['100.100.100.200', false],
  ['168.63.129.16', false],
  ['64:ff9b::a9fe:a9fe', false],
  ['2002:7f00:1::', false],
  ['255.255.255.255', false],
  ['ff02::1', false],
  ['no address', false],
];
for (const [address, isAllowed] of cases) {
  test(`createDialGuard() ${isAllowed ? 'lets names lead to' : 'refuses'} ${address} (SSRF, CVE-2026-41413)`, () => {
    assert.equal(createDialGuard([])(address), isAllowed);
  });
}

test('createDialGuard() lets names lead where somebody has listed it, and to nothing beside', () => {
  const guard = createDialGuard(['127.0.0.1/32', '169.254.0.0/16']);
  assert.equal(guard('127.0.0.1'), true);
  assert.equal(guard('169.254.169.254'), true);
  assert.equal(guard('127.0.0.2'), false);
});
