// Which tokens a workload reads: by the policies that select it, with the keys that were fetched, before the rules that ask for claims.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject, RequestAuthenticationObject } from '@weft/model/mesh/objects';
import { readJwks, type VerificationKey } from '@weft/model/policy/jwks';
import { parseRequestAuthentication } from '@weft/model/policy/parse-request-authentication';
import { keyOf, type FetchedKeys } from '@weft/model/policy/token-rules';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { authorizationOf, podOf, snapshotOf } from '../../../test/support/mesh-objects.ts';
import { createTestKey, jwksOf } from '../../../test/support/tokens.ts';
import { buildInboundListener } from '../resources/inbound-listener.ts';
import { compileMesh } from './compile-mesh.ts';
import { createMeshViews, type KeySource } from './mesh-views.ts';

function trustDomainOf(text: string) {
  const trustDomain = parseTrustDomain(text);
  assert.ok(trustDomain !== undefined);
  return trustDomain;
}
const identity = {
  trustDomain: trustDomainOf('cluster.local'),
  rootNamespace: 'weft-system',
};
const compile = (objects: readonly RegistryObject[], keys?: FetchedKeys, previous?: Mesh): Mesh =>
  compileMesh({ ...snapshotOf(objects), ...(keys && { keys }) }, identity, previous);

const URI = 'https://a.test/keys';
const FETCHED = keyOf({ kind: 'jwks', uri: URI, timeoutMs: 0 });

function keysOf(): readonly VerificationKey[] {
  const read = readJwks(jwksOf(createTestKey()));
  assert.ok(read.ok);
  return read.keys;
}

function tokensOf(
  over: { readonly name?: string; readonly namespace?: string; readonly spec?: object } = {},
): RequestAuthenticationObject {
  const { name = 'jwt', namespace = 'shop', spec = {} } = over;
  const parsed = parseRequestAuthentication({
    apiVersion: 'security.weft.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { name, namespace },
    spec: { jwtRules: [{ issuer: `https://${name}.test`, jwksUri: URI }], ...spec },
  });
  assert.ok(parsed.ok);
  return { kind: 'RequestAuthentication', policy: parsed.value };
}

const issuersOf = (mesh: Mesh, pod = 'web-1.shop'): readonly string[] =>
  (mesh.workloads.get(pod)?.inbound.tokens ?? []).map(({ issuer }) => issuer);

test('a workload reads the tokens of its namespace, of the root namespace, and of policies with its labels', () => {
  const mesh = compile([
    podOf('web'),
    tokensOf({ name: 'own' }),
    tokensOf({ name: 'all', namespace: 'weft-system' }),
    tokensOf({ name: 'other', namespace: 'other' }),
    tokensOf({ name: 'cart', spec: { selector: { matchLabels: { app: 'cart' } } } }),
    tokensOf({ name: 'web', spec: { selector: { matchLabels: { app: 'web' } } } }),
    tokensOf({ name: 'gate', spec: { targetRefs: [{ kind: 'Service', name: 'web' }] } }),
  ]);
  assert.deepEqual(issuersOf(mesh), ['https://all.test', 'https://own.test', 'https://web.test']);
});

test('keys come from what was fetched, and a change of keys is a change of the workload alone', () => {
  const objects = [
    podOf('web'),
    podOf('cart', { ips: ['10.0.0.2'] }),
    tokensOf({ spec: { selector: { matchLabels: { app: 'web' } } } }),
  ];
  const before = compile(objects);
  assert.equal(before.workloads.get('web-1.shop')?.inbound.tokens?.[0]?.jwks, '{"keys":[]}');
  const keys = new Map([[FETCHED, keysOf()]]);
  const after = compile(objects, keys, before);
  assert.match(after.workloads.get('web-1.shop')?.inbound.tokens?.[0]?.jwks ?? '', /"kty":"EC"/);
  assert.equal(after.workloads.get('cart-1.shop'), before.workloads.get('cart-1.shop'));
  const again = compile(objects, new Map(keys), after);
  assert.equal(again.workloads.get('web-1.shop'), after.workloads.get('web-1.shop'));
});

test('tokens are verified before the rules are asked, on every HTTP chain and on no other', () => {
  const rules = [{ from: [{ source: { requestPrincipals: ['*'] } }] }];
  const mesh = compile([podOf('web'), tokensOf(), authorizationOf({ rules })]);
  const spec = mesh.workloads.get('web-1.shop')?.inbound;
  assert.ok(spec !== undefined);
  const { filterChains } = buildInboundListener(spec);
  const http = filterChains.flatMap(({ filters }) =>
    filters.flatMap((filter) => (filter.kind === 'http' ? [filter.http.filters] : [])),
  );
  assert.ok(http.length > 0);
  for (const filters of http) {
    assert.deepEqual(
      filters.map(({ kind }) => kind),
      ['jwt', 'rbac', 'router'],
    );
  }
});

test('a rule that asks for a token where none is read is told', () => {
  const rules = [{ when: [{ key: 'request.auth.claims[a]', values: ['b'] }] }];
  const policy = authorizationOf({ action: 'DENY', rules });
  const codesOf = (mesh: Mesh) => mesh.problems.map(({ code }) => code);
  assert.ok(codesOf(compile([podOf('web'), policy])).includes('identity-without-tokens'));
  const mesh = compile([podOf('web'), policy, tokensOf()]);
  assert.ok(!codesOf(mesh).includes('identity-without-tokens'));
});

test('rules that are too large to be carried close what they select, and say so', () => {
  const audiences = Array.from({ length: 64 }, (_, at) => `${at}`.padEnd(1_100, 'x'));
  const large = tokensOf({ spec: { jwtRules: [{ issuer: 'a', jwksUri: URI, audiences }] } });
  const mesh = compile([podOf('web'), large]);
  const { tokens, broken } = mesh.workloads.get('web-1.shop')?.inbound ?? {};
  assert.equal(tokens, undefined);
  assert.deepEqual(broken, [{ namespace: 'shop', name: 'jwt', action: undefined }]);
  assert.ok(mesh.problems.some(({ code }) => code === 'token-rules-too-large'));
});

test('keys are asked for by what is in force, and their arrival changes what proxies get', async () => {
  const wanted: string[] = [];
  let arrived = (): void => undefined;
  let held: FetchedKeys = new Map();
  const keys: KeySource = {
    get keys() {
      return held;
    },
    want: (policies, networks) =>
      void wanted.push(`${policies.map(({ name }) => name).join()} ${networks.join()}`),
    subscribe(listener) {
      arrived = listener;
      return { [Symbol.dispose]: () => undefined };
    },
    problems: () => [{ severity: 'error', code: 'keys-missing', message: 'x' }],
  };
  const state = { snapshot: snapshotOf([podOf('web'), tokensOf()]), problems: [] };
  const due: (() => void)[] = [];
  using views = createMeshViews({
    keys,
    source: { state, subscribe: () => ({ [Symbol.dispose]: () => undefined }) },
    ...identity,
    bundle: () => ({ pem: '', version: '1' }),
    onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
    clock: {
      now: () => 0,
      setTimeout: (run) => {
        due.push(run);
        return { [Symbol.dispose]: () => undefined };
      },
    },
  });
  const listenerOf = () => {
    const workload = views.mesh().workloads.get('web-1.shop');
    assert.ok(workload?.identity !== undefined);
    const { id, namespace, name } = workload;
    const proxy = { id, identity: workload.identity, namespace, workload: name };
    return views.viewFor(proxy).get('listener', 'inbound');
  };
  const before = listenerOf();
  assert.deepEqual(wanted, ['jwt ']);
  assert.ok(views.problems().some(({ code }) => code === 'keys-missing'));
  held = new Map([[FETCHED, keysOf()]]);
  arrived();
  for (const run of due.splice(0)) run();
  const after = listenerOf();
  assert.ok(before !== undefined && after !== undefined);
  assert.notEqual(after.version, before.version);
  assert.equal(decodeResource('listener', after.bytes).ok, true);
  assert.deepEqual(
    views.policies().map(({ kind, workloads }) => [kind, workloads[0]?.listenerVersion]),
    [['RequestAuthentication', after.version]],
  );
});
