// The rule text: what is excluded, where the loop guard stands, which family a CIDR belongs to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { captureRules, DEFAULT_CAPTURE } from './capture.ts';
import { decodeSockaddr } from './original-dst.ts';

test('captureRules() lets the sidecar out before anything is redirected', () => {
  const rules = captureRules(DEFAULT_CAPTURE, 4).split('\n');
  const guard = rules.indexOf('-A WEFT_OUTPUT -m owner --uid-owner 1337 -j RETURN');
  const redirect = rules.indexOf('-A WEFT_OUTPUT -p tcp -j REDIRECT --to-ports 15001');
  assert.ok(guard > 0 && redirect > guard);
  const before = rules.slice(0, guard).filter((rule) => rule.startsWith('-A WEFT_OUTPUT'));
  assert.deepEqual(
    before.map((rule) => rule.includes('-d 192.0.2.1 ')),
    [true, true],
    "nothing but the sidecar's own proofs",
  );
});

test('captureRules() excludes ports and CIDRs, each CIDR in its own family', () => {
  const options = {
    ...DEFAULT_CAPTURE,
    excludeInboundPorts: [9090],
    excludeOutboundPorts: [5432],
    excludeOutboundCidrs: ['10.1.0.0/16', 'fd00::/8'],
  };
  const four = captureRules(options, 4);
  const six = captureRules(options, 6);
  assert.match(four, /-A WEFT_INBOUND -p tcp --dport 9090 -j RETURN/);
  assert.match(four, /-A WEFT_OUTPUT -p tcp --dport 5432 -j RETURN/);
  assert.match(four, /-d 10\.1\.0\.0\/16 -j RETURN/);
  assert.doesNotMatch(four, /fd00/);
  assert.match(six, /-d fd00::\/8 -j RETURN/);
  assert.doesNotMatch(six, /10\.1\.0\.0/);
});

test('decodeSockaddr() reads both families', () => {
  const four = Buffer.alloc(28);
  four.writeUInt16LE(2, 0);
  four.writeUInt16BE(8080, 2);
  four.set([10, 0, 0, 7], 4);
  assert.deepEqual(decodeSockaddr(four), { address: '10.0.0.7', port: 8080 });
  const six = Buffer.alloc(28);
  six.writeUInt16LE(10, 0);
  six.writeUInt16BE(443, 2);
  six.writeUInt16BE(0xfd00, 8);
  six.writeUInt16BE(7, 22);
  assert.deepEqual(decodeSockaddr(six), { address: 'fd00::7', port: 443 });
  six.writeUInt16BE(1, 14);
  assert.deepEqual(decodeSockaddr(six), { address: 'fd00:0:0:1::7', port: 443 });
  assert.equal(decodeSockaddr(Buffer.alloc(28)), undefined);
});
