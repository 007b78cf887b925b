// What the wire does to rules: decided after it as before it, for any policies and requests; and never wider for what it may hold besides.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePolicies } from '@weft/model/policy/compile';
import { decisionInputOf } from '@weft/model/policy/decision-request';
import { compileRbac } from '@weft/model/policy/evaluate';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import { normalizeTarget } from '@weft/model/policy/path';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';
import { caseArbitrary, policiesArbitrary } from '../../../test/support/policy-arbitraries.ts';
import { runs } from '../../../test/support/runs.ts';
import { encodeMessage } from '../registry.ts';
import { createReading, readMessage } from './fields.ts';
import { encodeRbac, readRbac } from './rbac.ts';

const RUNS = runs(80);
const TYPE = 'envoy.config.rbac.v3.RBAC';
const requests = fc.array(caseArbitrary, { minLength: 1, maxLength: 12 });

function compiled(policies: readonly PlainObject[], protocol: 'http' | 'tcp') {
  const sound = policies.flatMap((policy) => {
    const parsed = parseAuthorizationPolicy(policy);
    return parsed.ok ? [parsed.value] : [];
  });
  const options = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol } as const;
  return compilePolicies(sound, [], options);
}

function readBytes(bytes: Uint8Array, protocol: 'http' | 'tcp') {
  const reading = createReading();
  const value = readMessage(TYPE, bytes, { reading, path: '' }, (fields) =>
    readRbac(fields, protocol),
  );
  return { problems: reading.problems, value };
}

function carried(rules: RbacRules, protocol: 'http' | 'tcp'): RbacRules {
  const { problems, value } = readBytes(encodeMessage(TYPE, encodeRbac(rules)), protocol);
  assert.deepEqual(problems, []);
  assert.ok(value !== undefined);
  return value;
}

test('rules decide after encoding and decoding as they did before', () => {
  fc.assert(
    fc.property(policiesArbitrary(4), requests, (policies, asked) => {
      for (const protocol of ['http', 'tcp'] as const) {
        const chain = compiled(policies, protocol);
        const before = compileRbac(chain);
        const after = compileRbac(chain.map((rules) => carried(rules, protocol)));
        for (const request of asked.filter((one) => one.protocol === protocol)) {
          const normalized = normalizeTarget(request.path ?? '/', 'BASE');
          if (!normalized.ok) continue;
          const input = decisionInputOf(request, normalized.target);
          assert.deepEqual(after.decide(input), before.decide(input));
        }
      }
    }),
    { numRuns: RUNS },
  );
});

/** Field 99 of no message of ours, a string: `99 << 3 | 2` as a varint, a length and a byte. */
const UNKNOWN_FIELD = Buffer.of(0x9a, 0x06, 0x01, 0x78);

test('rules with a field that nobody knows are refused whole, so that none of them is taken without it', () => {
  fc.assert(
    fc.property(policiesArbitrary(3), (policies) => {
      for (const rules of compiled(policies, 'http')) {
        const bytes = encodeMessage(TYPE, encodeRbac(rules));
        const { problems } = readBytes(Buffer.concat([bytes, UNKNOWN_FIELD]), 'http');
        assert.ok(problems.length > 0);
      }
    }),
    { numRuns: RUNS },
  );
});
