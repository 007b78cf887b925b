// Asked who may call a gRPC server without a proxy, the control plane answers by the rules that the server has: what it closes is denied, and said to be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import { parseRequestAuthentication } from '@weft/model/policy/parse-request-authentication';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { type CallExplanation, explainCalls } from '@weft/model/policy/explain-calls';
import { formatExplanation } from '@weft/model/policy/format-explanation';
import { type CallQuestion, DEFAULT_QUESTION } from '@weft/model/policy/question';
import {
  authorizationOf,
  peerAuthenticationOf,
  podOf,
  snapshotOf,
} from '../../../test/support/mesh-objects.ts';
import { compileMesh } from '../compile/compile-mesh.ts';
import { ownServersOf } from './grpc-answers.ts';

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const identity = { trustDomain, rootNamespace: 'weft-system' };

const ADMINS = authorizationOf({
  rules: [
    { when: [{ key: 'request.auth.claims[role]', values: ['admin'] }] },
    { to: [{ operation: { paths: ['/a.B/Open'] } }] },
  ],
});

function tokens(): RegistryObject {
  const parsed = parseRequestAuthentication({
    apiVersion: 'security.weft.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'tokens', namespace: 'shop' },
    spec: { jwtRules: [{ issuer: 'https://i.test', jwksUri: 'https://i.test/keys' }] },
  });
  assert.ok(parsed.ok);
  return { kind: 'RequestAuthentication', policy: parsed.value };
}

function ask(
  objects: readonly RegistryObject[],
  more: Partial<CallQuestion>,
  serving: readonly string[] = ['web-1.shop'],
): CallExplanation & { readonly text: string } {
  const snapshot = snapshotOf([podOf('web'), ...objects]);
  const mesh = compileMesh(snapshot, identity);
  const servers = new Map(serving.map((id) => [id, new Set(['go' as const])]));
  const question: CallQuestion = {
    ...DEFAULT_QUESTION,
    from: 'shop/client',
    to: 'shop/web',
    path: '/a.B/C',
    ...more,
  };
  const explained = explainCalls({ mesh, snapshot }, question, ownServersOf(mesh, servers));
  assert.ok(explained.ok, JSON.stringify(explained));
  const [only] = explained.value;
  assert.ok(only !== undefined);
  return { ...only, text: formatExplanation(question, only) };
}

const CLAIMS = { claims: [['iss', 'https://i.test'] as const, ['role', 'admin'] as const] };

test('what a sidecar would allow by a claim is denied at a gRPC server, and the answer says which rule it closes', () => {
  const objects = [ADMINS, tokens()];
  const sidecar = ask(objects, CLAIMS, []);
  assert.deepEqual([sidecar.isAllowed, sidecar.reason], [true, 'allow-rule']);
  assert.doesNotMatch(sidecar.text, /gRPC/);
  const grpc = ask(objects, CLAIMS);
  assert.deepEqual([grpc.isAllowed, grpc.reason], [false, 'closed-at-grpc']);
  assert.match(grpc.text, /^DENIED[^]*its gRPC server has none, and closes what it cannot judge/);
  assert.match(
    grpc.text,
    /AuthorizationPolicy shop\/p spec\.rules\[0\] allows less than it says: tokens/,
  );
  assert.match(grpc.text, /RequestAuthentication shop\/tokens denies every call with a token/);
});

test('what gRPC can judge is answered as ever, with the notes', () => {
  const open = ask([ADMINS], { path: '/a.B/Open' });
  assert.deepEqual([open.isAllowed, open.reason], [true, 'allow-rule']);
  assert.match(open.text, /it serves gRPC without a proxy; /);
  assert.deepEqual(ask([ADMINS], {}).reason, 'no-allow-match');
});

test('a token that nobody checks is denied also where no rule asks for it', () => {
  const { isAllowed, reason } = ask([tokens()], CLAIMS);
  assert.deepEqual([isAllowed, reason], [false, 'closed-at-grpc']);
  assert.equal(ask([tokens()], {}).isAllowed, true);
});

test('plaintext is denied at a PERMISSIVE port, and is let in where mutual TLS is disabled', () => {
  const plain = { from: undefined };
  const permissive = [peerAuthenticationOf('PERMISSIVE')];
  assert.equal(ask(permissive, plain, []).isAllowed, true);
  assert.equal(ask(permissive, plain).reason, 'closed-at-grpc');
  assert.equal(ask([peerAuthenticationOf('DISABLE')], plain).isAllowed, true);
});

test('a path that is no method is denied at a gRPC server that has rules', () => {
  const deny = authorizationOf({
    action: 'DENY',
    rules: [{ to: [{ operation: { paths: ['/a.B/D'] } }] }],
  });
  assert.equal(ask([deny], { path: '/a.B/100%25' }, []).isAllowed, true);
  assert.equal(ask([deny], { path: '/a.B/100%25' }).reason, 'closed-at-grpc');
});
