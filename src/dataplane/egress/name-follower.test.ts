// How long answers of DNS are used, what of them is, and what callers wait for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DnsDiscovery } from '@weft/xds/resources/egress';
import type { Endpoint } from '@weft/xds/resources/endpoint';
import { NameFollower, type NameProblem } from './name-follower.ts';
import type { Answer } from './resolve-host.ts';

const DISCOVERY: DnsDiscovery = {
  kind: 'dns',
  host: 'api.pay.example',
  port: 443,
  minTtlMs: 5_000,
  maxTtlMs: 60_000,
  allowedNetworks: [],
};

class Rig {
  now = 0;
  asked = 0;
  endpoints: readonly Endpoint[] = [];
  readonly problems: NameProblem[] = [];
  answer: Answer | Error = { addresses: ['203.0.113.7'], ttlMs: 10_000 };
  readonly follower: NameFollower;

  constructor(discovery: DnsDiscovery = DISCOVERY) {
    this.follower = new NameFollower(discovery, {
      resolve: async () => {
        this.asked++;
        if (this.answer instanceof Error) throw this.answer;
        return this.answer;
      },
      now: () => this.now,
      setEndpoints: (endpoints) => (this.endpoints = endpoints),
      onProblem: (problem) => this.problems.push(problem),
    });
  }

  get addresses(): readonly string[] {
    return this.endpoints.map(({ address }) => address);
  }
}

test('the first call waits for the answer, later ones use it for as long as it says', async () => {
  const rig = new Rig();
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, ['203.0.113.7']);
  rig.now = 9_999;
  assert.equal(rig.follower.ready(), undefined);
  assert.equal(rig.asked, 1);
});

test('calls at the same time ask once', async () => {
  const rig = new Rig();
  await Promise.all([rig.follower.ready(), rig.follower.ready(), rig.follower.ready()]);
  assert.equal(rig.asked, 1);
});

const lives: readonly (readonly [string, number | undefined, number])[] = [
  ['shorter than the shortest', 0, 5_000],
  ['longer than the longest', 86_400_000, 60_000],
  ['unsaid', undefined, 5_000],
];
for (const [what, ttlMs, heldMs] of lives) {
  test(`a life that is ${what} is held to the bounds`, async () => {
    const rig = new Rig();
    rig.answer = { addresses: ['203.0.113.7'], ttlMs };
    await rig.follower.ready();
    rig.now = heldMs - 1;
    assert.equal(rig.follower.ready(), undefined);
    assert.equal(rig.asked, 1);
    rig.now = heldMs;
    void rig.follower.ready();
    assert.equal(rig.asked, 2);
  });
}

test('an answer that has just run out is used once more while the next is on its way, one that is old is not', async () => {
  const rig = new Rig();
  await rig.follower.ready();
  rig.now = 10_001;
  rig.answer = { addresses: ['203.0.113.8'], ttlMs: 10_000 };
  assert.equal(rig.follower.ready(), undefined);
  await Promise.resolve();
  rig.now = 60_000;
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, ['203.0.113.8']);
});

test('while DNS fails the last addresses stay for ten minutes, and nobody asks more than once a second', async () => {
  const rig = new Rig();
  await rig.follower.ready();
  rig.answer = new Error('SERVFAIL');
  rig.now = 60_000;
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, ['203.0.113.7']);
  assert.equal(rig.problems[0]?.reasonCode, 'name-not-resolved');
  const { asked } = rig;
  rig.now += 999;
  await rig.follower.ready();
  assert.equal(rig.asked, asked);
  rig.now = 10_000 + 10 * 60_000;
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, [], 'too old to be believed');
});

test('addresses that names must not lead to are left out and told; those that are listed are used (SSRF, DNS rebinding, CVE-2026-41413)', async () => {
  const rig = new Rig({ ...DISCOVERY, allowedNetworks: ['127.0.0.1/32'] });
  rig.answer = {
    addresses: ['169.254.169.254', '::1', '127.0.0.1', '203.0.113.7', '203.0.113.7'],
    ttlMs: 1_000,
  };
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, ['127.0.0.1', '203.0.113.7']);
  assert.equal(rig.problems[0]?.reasonCode, 'address-forbidden');
});

test('an answer of thousands of addresses is cut', async () => {
  const rig = new Rig();
  const addresses = Array.from({ length: 5_000 }, (_, at) => `10.1.${at >> 8}.${at & 255}`);
  rig.answer = { addresses, ttlMs: 1_000 };
  await rig.follower.ready();
  assert.equal(rig.endpoints.length, 64);
});

test('a name that is withdrawn from the list of allowed networks is not dialled any more', async () => {
  const rig = new Rig({ ...DISCOVERY, allowedNetworks: ['127.0.0.0/8'] });
  rig.answer = { addresses: ['127.0.0.1'], ttlMs: 60_000 };
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, ['127.0.0.1']);
  rig.follower.update(DISCOVERY);
  assert.deepEqual(rig.addresses, []);
  await rig.follower.ready();
  assert.deepEqual(rig.addresses, []);
});
