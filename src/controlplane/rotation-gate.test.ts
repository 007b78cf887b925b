import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId } from '@weft/model/identity';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { BUNDLE_SECRET } from '@weft/xds/resources/secret';
import { createTestPki } from '../../test/support/mesh-pki.ts';
import { connectedProxies } from './rotation-gate.ts';

type Parts = Parameters<typeof connectedProxies>[0];

const pem = createTestPki().bundlePem;
const bundle = { version: 'v2', pem };
const inForce = encodeResource('secret', { name: BUNDLE_SECRET, trustedCaPem: pem }).version;
const web = parseSpiffeId('spiffe://mesh.test/ns/shop/sa/web')!;

const renewingOf = (acked: string | undefined, issuerKeyId: string | undefined) => ({
  identity: web,
  peer: '10.0.0.1:9',
  ackedBundleVersion: acked,
  issuerKeyId,
});

function gate(parts: {
  readonly isGrpc?: boolean;
  readonly hasOthers?: boolean;
  readonly renewing?: ReturnType<Parts['renewal']['connected']>;
  readonly sessions?: readonly string[];
  readonly acked?: readonly (readonly [string, string | undefined])[];
}) {
  const asked: (readonly [string, string])[] = [];
  const proxies = connectedProxies({
    bundle,
    ...(parts.hasOthers === true && { hasOthers: true }),
    renewal: { connected: () => parts.renewing ?? [] },
    ads: {
      proxies: () => {
        const { sessions = [], isGrpc = false } = parts;
        return sessions.map((proxyId) => ({ proxyId, identity: web, isGrpc }));
      },
      statusOf(kind, name) {
        asked.push([kind, name]);
        return (parts.acked ?? []).map(([proxyId, version]) => ({
          proxyId,
          identity: web,
          acked: version,
          refused: undefined,
        }));
      },
    },
  });
  assert.deepEqual(asked, [['secret', BUNDLE_SECRET]]);
  return proxies;
}

const read = (proxies: ReturnType<typeof gate>) =>
  proxies.map((proxy) => ({
    id: proxy.proxyId,
    has: proxy.hasBundle('v2'),
    issuer: proxy.issuerKeyId,
  }));

test('connectedProxies() takes a renewal stream at its word: the bundle it acknowledged, the issuer of its certificate', () => {
  const streams = [
    renewingOf(undefined, 'old'),
    renewingOf('v1', 'old'),
    renewingOf('v2', 'new'),
    renewingOf('v2', undefined),
  ];
  assert.deepEqual(
    read(gate({ renewing: streams })).map(({ has, issuer }) => [has, issuer]),
    [
      [false, 'old'],
      [false, 'old'],
      [true, 'new'],
      [true, undefined],
    ],
  );
});

test('connectedProxies() counts a discovery stream in only with the very secret that carries the bundle of now', () => {
  const sessions = ['a.shop', 'b.shop', 'c.shop', 'd.shop'];
  const acked = [
    ['a.shop', inForce],
    ['b.shop', 'other'],
    ['c.shop', undefined],
  ] as const;
  const proxies = gate({ sessions, acked, renewing: [renewingOf('v2', 'new')] });
  assert.deepEqual(read(proxies).slice(1), [
    { id: 'a.shop', has: true, issuer: 'new' },
    { id: 'b.shop', has: false, issuer: 'new' },
    { id: 'c.shop', has: false, issuer: 'new' },
    { id: 'd.shop', has: false, issuer: 'new' },
  ]);
  assert.equal(proxies[1]?.hasBundle('v1'), false, 'of another bundle it says nothing');
});

test('connectedProxies() knows no issuer of a proxy without renewal stream: it holds the rotation up', () => {
  const proxies = gate({ sessions: ['a.shop'], acked: [['a.shop', inForce]] });
  assert.deepEqual(read(proxies), [{ id: 'a.shop', has: true, issuer: undefined }]);
});

test('connectedProxies() is empty when nobody is connected', () => {
  assert.deepEqual(gate({}), []);
});

test('connectedProxies() believes a gRPC program to have the bundle that its agent has acknowledged, and no other', () => {
  const has = (acked: string | undefined): boolean | undefined =>
    read(gate({ isGrpc: true, sessions: ['a.shop'], renewing: [renewingOf(acked, 'old')] })).find(
      ({ id }) => id === 'a.shop',
    )?.has;
  assert.deepEqual([has(undefined), has('v1'), has('v2')], [false, false, true]);
  const lone = { isGrpc: true, sessions: ['a.shop'] };
  assert.deepEqual(read(gate(lone))[0]?.has, false);
  assert.deepEqual(read(gate({ ...lone, hasOthers: true }))[0]?.has, true);
});
