// Arbitrary retry policies, hash policies, balancing and circuit breakers, in the form that decoding gives back.
import { type Balancing, type CircuitBreakers } from '@weft/xds/resources/cluster';
import type { HashRule } from '@weft/model/traffic/call-types';
import { RETRY_CONDITIONS } from '@weft/model/traffic/retry-conditions';
import type { RetryPolicy } from '@weft/xds/resources/retry';
import fc from 'fast-check';
import { durationMs, present, record, word } from './rbac-arbitraries.ts';

export const hashPolicy: fc.Arbitrary<HashRule> = fc.oneof(
  record({ kind: fc.constant('header' as const), name: word }),
  record({
    kind: fc.constant('cookie' as const),
    name: word,
    path: fc.constantFrom('', '/a'),
    ttlMs: fc.option(durationMs, { nil: undefined }),
  }).map((value) => present<HashRule>(value)),
);

export const retryPolicy: fc.Arbitrary<RetryPolicy> = record({
  on: fc.subarray([...RETRY_CONDITIONS], { minLength: 1 }),
  statusCodes: fc.array(fc.integer({ min: 100, max: 599 }), { maxLength: 3 }),
  retries: fc.integer({ min: 1, max: 100 }),
  perTryTimeoutMs: durationMs,
  backOff: fc
    .tuple(fc.integer({ min: 1, max: 9_999 }), fc.nat(9_999))
    .map(([baseMs, more]) => ({ baseMs, maxMs: baseMs + more })),
  methods: fc.array(word, { maxLength: 3 }),
});

export const balancing: fc.Arbitrary<Balancing> = fc.oneof(
  fc.constantFrom('leastRequest' as const, 'roundRobin' as const, 'random' as const),
  fc.tuple(fc.integer({ min: 1, max: 4_000 }), fc.nat(4_000)).map(([minimumRingSize, more]) => ({
    kind: 'ringHash' as const,
    minimumRingSize,
    maximumRingSize: minimumRingSize + more,
  })),
);

const limit = fc.option(fc.nat(0xffff_fffe), { nil: undefined });

export const circuitBreakers: fc.Arbitrary<CircuitBreakers> = record({
  maxConnections: limit,
  maxPendingRequests: limit,
  maxRequests: limit,
  retryBudget: fc.option(
    record({ percent: fc.double({ min: 0, max: 100, noNaN: true }), minConcurrency: fc.nat(99) }),
    { nil: undefined },
  ),
}).map((value) => present<CircuitBreakers>(value));

export const locality = record({
  region: fc.constantFrom('', 'eu', 'us'),
  zone: fc.constantFrom('', 'a', 'b'),
}).filter(({ region, zone }) => region !== '' || zone !== '');
