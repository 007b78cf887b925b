// Which endpoint is chosen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import { Balancer } from './balancer.ts';
import { UpstreamEndpoint } from './endpoint.ts';

const NONE: ReadonlySet<string> = new Set();

const endpointOf = (port: number, more: Partial<Endpoint> = {}): UpstreamEndpoint =>
  new UpstreamEndpoint({
    address: '10.0.0.1',
    port,
    health: 'healthy',
    weight: 1,
    tlsMode: 'disabled',
    ...more,
  });

function chooseEndpoint(
  endpoints: readonly UpstreamEndpoint[],
  choice: {
    readonly tried?: ReadonlySet<string>;
    readonly now?: number;
    readonly random: () => number;
  },
): UpstreamEndpoint | undefined {
  const { tried = NONE, now = 0, random } = choice;
  const balancer = new Balancer(random, undefined);
  balancer.setEndpoints(endpoints);
  return balancer.choose({ tried, now, hash: undefined });
}

/** Deterministic and even: a linear congruential generator. */
function createRandom(): () => number {
  let state = 1;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

/** Starts so many requests that do not end; counts them by port. */
function spread(endpoints: readonly UpstreamEndpoint[], requests: number): Map<number, number> {
  const random = createRandom();
  const counts = new Map<number, number>();
  for (let count = 0; count < requests; count++) {
    const chosen = chooseEndpoint(endpoints, { random });
    assert.ok(chosen);
    chosen.active++;
    counts.set(chosen.definition.port, (counts.get(chosen.definition.port) ?? 0) + 1);
  }
  return counts;
}

test('Balancer.choose() of two takes the one with less under way', () => {
  const [busy, free] = [endpointOf(1), endpointOf(2)];
  busy.active = 3;
  free.active = 2;
  for (const value of [0, 0.3, 0.6, 0.99]) {
    const choice = { random: () => value };
    assert.equal(chooseEndpoint([busy, free], choice), free);
    assert.equal(chooseEndpoint([free, busy], choice), free);
  }
});

test('Balancer.choose() spreads evenly over endpoints that are alike', () => {
  const counts = spread([endpointOf(1), endpointOf(2), endpointOf(3)], 3_000);
  for (const [port, count] of counts) assert.ok(Math.abs(count - 1_000) < 30, `${port}: ${count}`);
});

test('Balancer.choose() gives an endpoint of twice the weight twice the work', () => {
  const counts = spread([endpointOf(1), endpointOf(2, { weight: 2 })], 3_000);
  assert.ok(Math.abs((counts.get(2) ?? 0) - 2_000) < 30, String(counts.get(2)));
});

test('Balancer.choose() takes a weight of 0 for 1, and divides by nothing', () => {
  const counts = spread([endpointOf(1, { weight: 0 }), endpointOf(2)], 100);
  assert.equal(counts.get(1), 50);
});

test('Balancer.choose() avoids what is unhealthy or ejected while another is well', () => {
  const [ill, ejected, well] = [
    endpointOf(1, { health: 'unhealthy' }),
    endpointOf(2),
    endpointOf(3),
  ];
  ejected.ejectedUntil = 1_000;
  well.active = 100;
  const random = createRandom();
  for (let count = 0; count < 50; count++) {
    const chosen = chooseEndpoint([ill, ejected, well], { now: 999, random });
    assert.equal(chosen, well);
  }
  const later = chooseEndpoint([ill, ejected, well], { now: 1_000, random });
  assert.equal(later, ejected, 'the ejection is over');
});

test('Balancer.choose() takes a bad chance rather than none, but never what drains or was tried', () => {
  const [draining, ejected, tried] = [
    endpointOf(1, { health: 'draining' }),
    endpointOf(2),
    endpointOf(3),
  ];
  ejected.ejectedUntil = 1_000;
  const choice = { tried: new Set([tried.key]), now: 0, random: () => 0 };
  assert.equal(chooseEndpoint([draining, ejected, tried], choice), ejected);
  assert.equal(chooseEndpoint([draining, tried], choice), undefined);
  assert.equal(chooseEndpoint([draining], choice), undefined);
  assert.equal(chooseEndpoint([tried], choice), undefined);
  assert.equal(chooseEndpoint([ejected], choice), ejected);
  assert.equal(chooseEndpoint([], choice), undefined);
});

test('Balancer.choose() takes the nearest that are well where that is asked for: zone, region, any', () => {
  const at = (region: string, zone: string): Partial<Endpoint> => ({ locality: { region, zone } });
  const endpoints = [
    endpointOf(1, at('eu', 'a')),
    endpointOf(2, at('eu', 'b')),
    endpointOf(3, at('us', 'a')),
    endpointOf(4),
  ];
  const balancer = new Balancer(createRandom(), { region: 'eu', zone: 'a' });
  balancer.setEndpoints(endpoints);
  const chosen = (tried: ReadonlySet<string> = NONE): readonly number[] => {
    const ports = Array.from(
      { length: 60 },
      () => balancer.choose({ tried, now: 0, hash: undefined })?.definition.port ?? 0,
    );
    return [...new Set(ports)].sort((a, b) => a - b);
  };
  balancer.setBalancing({ balancing: 'random' });
  assert.deepEqual(chosen(), [1, 2, 3, 4], 'nobody asked for it');
  balancer.setBalancing({ balancing: 'random', prefersLocal: true });
  assert.deepEqual(chosen(), [1]);
  assert.deepEqual(chosen(new Set([endpoints[0]!.key])), [2], 'the region');
  endpoints[0]!.ejectedUntil = 1;
  assert.deepEqual(chosen(), [2]);
  endpoints[1]!.definition = { ...endpoints[1]!.definition, health: 'draining' };
  assert.deepEqual(chosen(), [3, 4], 'wherever they are');
  const nowhere = new Balancer(createRandom(), undefined);
  nowhere.setBalancing({ balancing: 'random', prefersLocal: true });
  nowhere.setEndpoints(endpoints.slice(2));
  assert.ok(nowhere.choose({ tried: NONE, now: 0, hash: undefined }), 'it knows not where it is');
});
