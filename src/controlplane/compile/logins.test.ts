// Which workloads ask for a login, by which users, and what is said where that cannot work.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { readObjects } from '../registry/read-objects.ts';
import { buildInboundListener } from '../resources/inbound-listener.ts';
import { decodeResource, encodeResource } from '@weft/xds/codec/resource-codec';
import { compileMesh } from './compile-mesh.ts';
import { MeshCompiler } from './mesh-compiler.ts';

const TAIL = 'abcdefghijklmnopqrstuuVRZU0c9TbLU.stULl4UFfNeqU1c7wNm';
const OTHER_TAIL = TAIL.replace('a', 'b');

const POD = `
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: a, ports: [{name: http, containerPort: 8080}, {name: tcp, containerPort: 5432}]}]}
status: {podIP: 10.0.0.1, phase: Running}
`;
const LOGIN = `
apiVersion: security.weft.dev/v1
kind: BasicAuthentication
metadata: {name: login, namespace: shop}
spec: {users: {secretName: users}, exemptPaths: [/healthz]}
`;
const secret = (line: string): string => `
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: shop}
stringData: {auth: '${line}'}
`;
const USERS = secret(`ann:$2b$10$${TAIL}`);

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain !== undefined);
const identity = { trustDomain, rootNamespace: 'weft-system' };

function objectsOf(...texts: readonly string[]): ReadonlyMap<string, RegistryObject> {
  const { objects, problems } = readObjects(texts.join('---'), 'a.yaml');
  assert.deepEqual(problems, []);
  return new Map(
    objects.flatMap(({ key, outcome }) =>
      outcome.kind === 'good' && outcome.object !== undefined ? [[key, outcome.object]] : [],
    ),
  );
}

const compile = (...texts: readonly string[]): Mesh =>
  compileMesh({ revision: 1, objects: objectsOf(...texts) }, identity);

const inboundOf = (mesh: Mesh) => {
  const inbound = mesh.workloads.get('web-0.shop')?.inbound;
  assert.ok(inbound !== undefined);
  return inbound;
};

const codesOf = (mesh: Mesh): readonly string[] => mesh.problems.map(({ code }) => code);

test('a BasicAuthentication is compiled with the users that its Secret names now', () => {
  const compiler = new MeshCompiler(identity);
  const first = compiler.compile({ revision: 1, objects: objectsOf(POD, LOGIN, USERS) });
  assert.deepEqual(codesOf(first), []);
  assert.equal(inboundOf(first).login?.users[0]?.hash.reveal(), `$2b$10$${TAIL}`);
  const changed = objectsOf(POD, LOGIN, secret(`ann:$2b$10$${OTHER_TAIL}`));
  const second = compiler.compile({ revision: 2, objects: changed });
  assert.equal(inboundOf(second).login?.users[0]?.hash.reveal(), `$2b$10$${OTHER_TAIL}`);
  const gone = compiler.compile({ revision: 3, objects: objectsOf(POD, LOGIN) });
  assert.deepEqual(inboundOf(gone).login?.users, []);
  assert.deepEqual(codesOf(gone), ['no-users']);
  const without = compiler.compile({ revision: 4, objects: objectsOf(POD) });
  assert.equal(inboundOf(without).login, undefined);
});

test('what cannot be asked for a login is closed: TCP, and TLS that the application would take itself', () => {
  const listener = buildInboundListener(inboundOf(compile(POD, LOGIN, USERS)));
  for (const { name, filters } of listener.filterChains) {
    const end = filters.at(-1);
    if (end?.kind !== 'tcpProxy') continue;
    assert.deepEqual(
      filters.filter(({ kind }) => kind === 'rbac').map((one) => 'rules' in one && one.rules),
      [{ action: 'ALLOW', policies: [] }],
      name,
    );
  }
});

test('the login goes over the wire as it is, and an Envoy is told to close all but the exempt paths', () => {
  const listener = buildInboundListener(inboundOf(compile(POD, LOGIN, USERS)));
  const { bytes } = encodeResource('listener', listener);
  const decoded = decodeResource('listener', bytes);
  assert.ok(decoded.ok, JSON.stringify(decoded.problems));
  assert.deepEqual(JSON.parse(JSON.stringify(decoded.value)), JSON.parse(JSON.stringify(listener)));
  const text = Buffer.from(bytes).toString('latin1');
  assert.ok(text.includes('weft.twin/basic_auth') && text.includes('/healthz'));
  assert.ok(!JSON.stringify(listener).includes(TAIL), 'no dump shows a hash');
});

test('a workload without a login has not a byte of it', () => {
  const { bytes } = encodeResource('listener', buildInboundListener(inboundOf(compile(POD))));
  assert.ok(!Buffer.from(bytes).toString('latin1').includes('basic_auth'));
});

test('a policy that names the user where nobody logs in is warned of, and not where somebody does', () => {
  const policy = `
apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata: {name: admins, namespace: shop}
spec: {rules: [{when: [{key: request.auth.basic.user, values: [ann]}]}]}
`;
  assert.ok(codesOf(compile(POD, policy)).includes('user-without-login'));
  assert.ok(!codesOf(compile(POD, policy, LOGIN, USERS)).includes('user-without-login'));
});

test('two of one scope close the workload, and both say so', () => {
  const other = LOGIN.replace('name: login', 'name: other');
  const mesh = compile(POD, LOGIN, other, USERS);
  assert.equal(inboundOf(mesh).login, undefined);
  assert.equal(inboundOf(mesh).broken.length, 2);
  assert.deepEqual(codesOf(mesh), ['several-logins', 'several-logins']);
});
