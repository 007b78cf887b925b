import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { issueTokens, policyFilesOf } from './mesh-policies.ts';
import type { AppName, MeshSpec } from './scenario.ts';

const tokens = issueTokens();
const mesh = (app: AppName, rules: MeshSpec['rules'], isJwtRequired = false): MeshSpec => ({
  name: '',
  app,
  port: 'http',
  rules,
  isJwtRequired,
});
const textOf = (spec: MeshSpec, workload = 'prices'): string =>
  policyFilesOf(spec, workload, tokens).flat().join('\n');

test('policyFilesOf() denies by path and allows by caller and by the methods of the protocol', () => {
  assert.match(textOf(mesh('http1', 'two')), /paths: \["\/denied"\]/);
  assert.match(textOf(mesh('http1', 'two')), /methods: \["GET","PUT"\]/);
  assert.match(textOf(mesh('grpc', 'two')), /methods: \["POST"\]/);
});

test('policyFilesOf() names neither paths nor methods on TCP: a DENY of them would deny everybody', () => {
  assert.doesNotMatch(textOf(mesh('tcp', 'two')), /paths|methods/);
  assert.match(textOf(mesh('tcp', 'two')), /principals/);
});

test('policyFilesOf() makes as many rules as asked for, selects the workload, and none for none', () => {
  const text = textOf(mesh('http1', 1_000), 'other');
  assert.equal(text.split('"kind":"AuthorizationPolicy"').length - 1, 1_000);
  assert.equal(text.split('"app":"other"').length - 1, 1_000);
  assert.equal(textOf(mesh('http1', 0)), '');
});

test('policyFilesOf() wants the token of the subject where one is required', () => {
  const text = textOf(mesh('http1', 'two', true));
  assert.ok(text.includes(`requestPrincipals: ["${tokens.issuer}/${tokens.subject}"]`));
  assert.match(text, /RequestAuthentication/);
  assert.doesNotMatch(textOf(mesh('http1', 'two')), /requestPrincipals|RequestAuthentication/);
});

test('issueTokens() gives one token that its key has signed and one that it has not', () => {
  const isSigned = (token: string): boolean => {
    const at = token.lastIndexOf('.');
    const signature = Buffer.from(token.slice(at + 1), 'base64url');
    const key = createPublicKey(tokens.publicKeyPem);
    return verify('sha256', Buffer.from(token.slice(0, at)), key, signature);
  };
  assert.ok(isSigned(tokens.valid));
  assert.ok(!isSigned(tokens.forged));
});
