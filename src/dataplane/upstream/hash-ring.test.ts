// Equal hashes find the same endpoint, the spread is by weight, and few keys move when endpoints come and go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UpstreamEndpoint } from './endpoint.ts';
import { HashRing } from './hash-ring.ts';
import { xxhash64 } from './xxhash64.ts';

const SIZES = { kind: 'ringHash', minimumRingSize: 1_024, maximumRingSize: 8_388_608 } as const;

const endpointsOf = (...weights: readonly number[]): readonly UpstreamEndpoint[] =>
  weights.map(
    (weight, index) =>
      new UpstreamEndpoint({
        address: '10.0.0.1',
        port: 8_001 + index,
        health: 'healthy',
        weight,
        tlsMode: 'disabled',
      }),
  );

const KEYS = Array.from({ length: 4_000 }, (_, at) => xxhash64(Buffer.from(`user-${at}`)));

const ownersOf = (ring: HashRing, usable: readonly UpstreamEndpoint[]) =>
  KEYS.map((key) => ring.find(key, new Set(usable)));

test('HashRing gives each endpoint a share of the keys by its weight', () => {
  const endpoints = endpointsOf(1, 1, 2);
  const owners = ownersOf(new HashRing(endpoints, SIZES), endpoints);
  const shareOf = (at: number): number =>
    owners.filter((owner) => owner === endpoints[at]).length / KEYS.length;
  assert.ok(Math.abs(shareOf(0) - 0.25) < 0.06, String(shareOf(0)));
  assert.ok(Math.abs(shareOf(1) - 0.25) < 0.06, String(shareOf(1)));
  assert.ok(Math.abs(shareOf(2) - 0.5) < 0.06, String(shareOf(2)));
});

test('HashRing moves no keys but those of an endpoint that is not usable', () => {
  const endpoints = endpointsOf(1, 1, 1, 1);
  const ring = new HashRing(endpoints, SIZES);
  const before = ownersOf(ring, endpoints);
  const after = ownersOf(ring, endpoints.slice(1));
  for (const [at, owner] of before.entries()) {
    if (owner === endpoints[0]) assert.notEqual(after[at], owner);
    else assert.equal(after[at], owner);
  }
});

test('HashRing leaves most keys where they are when an endpoint comes', () => {
  const five = endpointsOf(1, 1, 1, 1, 1);
  const before = ownersOf(new HashRing(five.slice(0, 4), SIZES), five);
  const after = ownersOf(new HashRing(five, SIZES), five);
  const moved = before.filter((owner, at) => owner !== after[at]).length;
  assert.ok(moved / KEYS.length < 0.35, `${moved} of ${KEYS.length}`);
});

test('HashRing has as many points as it is asked for, and no more than it may have', () => {
  assert.equal(new HashRing(endpointsOf(1, 1, 1, 1), SIZES).size, 1_024);
  const few = { ...SIZES, minimumRingSize: 4, maximumRingSize: 4 };
  assert.equal(new HashRing(endpointsOf(1, 1, 1, 1), few).size, 4);
  assert.equal(new HashRing([], SIZES).find(1n, new Set()), undefined);
});
