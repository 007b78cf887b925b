// What must hold: a gRPC server lets in whom the mesh's TLS and all rules let in, and closes what only a proxy could do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { parseTrustDomain } from '@weft/model/identity';
import type { InboundSpec } from '@weft/model/mesh/mesh';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { compileRbac } from '@weft/model/policy/evaluate';
import { encodeMessage } from '@weft/xds/registry';
import { SHOP } from '../../../../test/support/mesh-bench.ts';
import {
  authorizationOf,
  peerAuthenticationOf,
  snapshotOf,
} from '../../../../test/support/mesh-objects.ts';
import { httpRequest } from '../../../../test/support/policies.ts';
import { buildServerListener } from './grpc-server.ts';
import { serverRules } from './grpc-server-rules.ts';

function specOf(more: readonly RegistryObject[] = []): InboundSpec {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const { revision, objects } = snapshotOf([...SHOP, ...more]);
  const mesh = compileMesh({ revision, objects }, { trustDomain, rootNamespace: 'weft-system' });
  const inbound = mesh.workloads.get('cart-1.shop')?.inbound;
  assert.ok(inbound !== undefined);
  return inbound;
}

const listenerOf = (inbound: InboundSpec): string => {
  const at = { address: '0.0.0.0', port: 8080 };
  const message = buildServerListener({ name: 'grpc/server', at, inbound, library: 'go' });
  assert.ok(encodeMessage('envoy.config.listener.v3.Listener', message).length > 0);
  const [chain] = Array.isArray(message['filter_chains']) ? message['filter_chains'] : [];
  const { filters, transport_socket: socket } = Object(chain);
  return Buffer.from(filters[0].typed_config.value).toString('latin1') + (socket ? ' TLS' : '');
};

test('a certificate of the roots that is no identity of the mesh is nobody, with and without policies', () => {
  assert.match(listenerOf(specOf()), /weft-mesh[^]*spiffe:\/\/cluster\.local\/[^]*Router[^]* TLS$/);
});

test('where mutual TLS is disabled nobody is anybody, whatever certificate the program itself has taken', () => {
  const web = { source: { principals: ['cluster.local/ns/shop/sa/web'] } };
  const allow = authorizationOf({ action: 'ALLOW', rules: [{ from: [web] }] }, 'allow');
  const strict = listenerOf(specOf([allow]));
  assert.match(strict, /ns\/shop\/sa\/web[^]* TLS$/);
  const plain = listenerOf(specOf([allow, peerAuthenticationOf('DISABLE')]));
  assert.doesNotMatch(plain, /sa\/web|weft-mesh| TLS$/);
});

const decide = (inbound: InboundSpec, request: Parameters<typeof httpRequest>[0]): boolean =>
  serverRules(inbound, 'go').sets.every(
    (set) => compileRbac([set]).decide(httpRequest(request)).isAllowed,
  );

test('paths that are no /SERVICE/METHOD are denied where there are rules, one without its slash too (CVE-2026-33186)', () => {
  const deny = authorizationOf(
    { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/a.B/Secret'] } }] }] },
    'deny',
  );
  const inbound = specOf([deny]);
  assert.equal(decide(inbound, { target: '/a.B/Other' }), true);
  for (const target of [
    '/a.B/Secret',
    'a.B/Secret',
    '/a.B//Secret',
    '/a.B/%53ecret',
    '/a.B/./Secret',
  ])
    assert.equal(decide(inbound, { target }), false, target);
});

test('who must log in cannot, for nobody asks', () => {
  const inbound = specOf();
  assert.equal(decide(inbound, { target: '/a.B/C' }), true);
  const login = { source: 'shop/login', users: [], exemptPaths: [], realm: '' };
  const asked = { ...inbound, login: { ...Object(login) } };
  assert.equal(decide(asked, { target: '/a.B/C' }), false);
});

test('what an authorizer was to be asked about is denied, and told of its rule', () => {
  const custom = authorizationOf(
    {
      action: 'CUSTOM',
      provider: { name: 'authz' },
      rules: [{ to: [{ operation: { paths: ['/a.B/*'] } }] }],
    },
    'ask',
  );
  const provider = {
    name: 'authz',
    protocol: 'grpc',
    host: 'authz.shop.svc.cluster.local',
    port: 9000,
    timeoutMs: 1_000,
    failOpen: true,
    statusOnError: 403,
    http: undefined,
  } as const;
  const inbound = { ...specOf([custom]), authorizers: [provider] };
  assert.equal(decide(inbound, { target: '/a.B/C' }), false);
  assert.equal(decide(inbound, { target: '/z.Z/C' }), true);
  const [shortfall, ...others] = serverRules(inbound, 'go').shortfalls.filter(
    ({ kind }) => kind === 'AuthorizationPolicy',
  );
  assert.deepEqual(others, []);
  assert.deepEqual(shortfall, {
    kind: 'AuthorizationPolicy',
    policy: { namespace: 'shop', name: 'ask' },
    field: 'spec.rules[0]',
    effect: 'closed',
    what: 'denies all that it names',
    why: 'no authorizer is asked',
  });
});
