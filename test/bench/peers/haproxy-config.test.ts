import assert from 'node:assert/strict';
import { test } from 'node:test';
import { issueTokens } from '../mesh-policies.ts';
import { POLICY } from '../policies.ts';
import type { AppName, MeshSpec } from '../scenario.ts';
import { type HaproxyHalf, inboundHaproxy, outboundHaproxy } from './haproxy-config.ts';

const half = (app: AppName): HaproxyHalf => ({
  listen: { host: '127.0.0.1', port: 1 },
  upstream: { host: '127.0.0.1', port: 2 },
  app,
  ownFile: '/own.pem',
  rootsFile: '/roots.pem',
});
const tokens = issueTokens();
const inbound = (app: AppName, rules: MeshSpec['rules'], isJwtRequired = false): string => {
  const mesh = { name: '', app, port: 'http', rules, isJwtRequired };
  return inboundHaproxy(half(app), { policy: POLICY, mesh, tokens, publicKeyFile: '/key.pem' });
};

test('both halves of HAProxy demand a certificate under the root and TLS 1.3', () => {
  for (const text of [inbound('http1', 'two'), outboundHaproxy(half('http1'))]) {
    assert.match(text, /ca-file \/roots\.pem verify required ssl-min-ver TLSv1\.3/);
  }
});

test('HAProxy looks for the whole name of the caller, its tag and length before it', () => {
  const [, bytes = ''] = /ssl_c_der,hex -m sub ([0-9A-F]+)/.exec(inbound('http1', 'two')) ?? [];
  const found = Buffer.from(bytes, 'hex');
  assert.equal(found[0], 0x86);
  assert.equal(found[1], POLICY.callerId.length);
  assert.equal(found.subarray(2).toString(), POLICY.callerId);
});

test('HAProxy judges what each protocol has: paths and methods, POST for gRPC, identities on TCP, nothing without rules', () => {
  assert.match(inbound('http1', 'two'), /deny_status 403 if { path \/denied }/);
  assert.match(inbound('http1', 'two'), /{ method GET PUT }/);
  assert.match(inbound('grpc', 'two'), /{ method POST }/);
  assert.match(inbound('tcp', 'two'), /tcp-request session reject unless/);
  assert.doesNotMatch(inbound('tcp', 'two'), /http-request deny/);
  assert.doesNotMatch(inbound('http1', 0), /deny/);
});

test('HAProxy asks for the signature, the issuer and the time of a token where one is needed', () => {
  const text = inbound('http1', 'two', true);
  for (const word of ['jwt_verify(txn.alg,"/key.pem")', tokens.issuer, "'$.exp'"]) {
    assert.ok(text.includes(word), word);
  }
  assert.doesNotMatch(inbound('http1', 'two'), /jwt/);
});
