// The algebra of policies, for any policies and any request: what is added to deny denies more, what is taken from allow allows less, and order says nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  caseArbitrary,
  FUZZ_ROOT_NAMESPACE,
  FUZZ_WORKLOAD,
  policiesArbitrary,
  policyArbitrary,
} from '../../../test/support/policy-arbitraries.ts';
import { runs } from '../../../test/support/runs.ts';
import { evaluateGroup, type CaseRequest } from './eval-cases.ts';
import { readBrokenPolicy } from './broken.ts';
import { compilePolicies } from './compile.ts';
import { decisionInputOf } from './decision-request.ts';
import { compileRbac } from './evaluate.ts';
import { parseAuthorizationPolicy } from './parse-authorization-policy.ts';
import { normalizeTarget } from './path.ts';
import type { PlainObject } from './reader.ts';
import { selectPolicies } from './select.ts';

const RUNS = runs(120);
const MAX_POLICIES = 5;
const requests = fc.array(caseArbitrary, { minLength: 1, maxLength: 12 });

/** Whether each request is allowed. */
function decisions(
  policies: readonly PlainObject[],
  asked: readonly CaseRequest[],
): readonly boolean[] {
  const cases = asked.map((request, index) => ({
    name: String(index),
    request,
    expect: 'deny' as const,
  }));
  const group = {
    name: 'property',
    workload: FUZZ_WORKLOAD,
    rootNamespace: FUZZ_ROOT_NAMESPACE,
    trustDomain: 'cluster.local',
    cases,
  };
  const { results, problems } = evaluateGroup(group, policies);
  assert.deepEqual(problems, []);
  return results.map(({ actual }) => actual === 'allow');
}

const specOf = (policy: PlainObject): PlainObject => policy['spec'] as PlainObject;
const named = (policy: PlainObject, name: string): PlainObject => ({
  ...policy,
  metadata: { ...(policy['metadata'] as object), name },
});
const withAction = (policy: PlainObject, action: string): PlainObject => ({
  ...policy,
  spec: { ...specOf(policy), action },
});

/** No request that was denied is allowed. */
function assertNoWider(before: readonly boolean[], after: readonly boolean[]): void {
  for (const [index, isAllowed] of after.entries()) {
    assert.ok(!isAllowed || before[index], `request ${index} is allowed now`);
  }
}

test('adding a DENY never allows more', () => {
  fc.assert(
    fc.property(
      policiesArbitrary(MAX_POLICIES),
      policyArbitrary,
      requests,
      (policies, more, asked) => {
        const added = named(withAction(more, 'DENY'), 'added');
        assertNoWider(decisions(policies, asked), decisions([...policies, added], asked));
      },
    ),
    { numRuns: RUNS },
  );
});

/** Of this workload; others leave it as it is. */
const selectsWorkload = (policy: PlainObject): boolean => {
  const parsed = parseAuthorizationPolicy(policy);
  if (!parsed.ok) return false;
  return selectPolicies([parsed.value], workload, FUZZ_ROOT_NAMESPACE).length > 0;
};
const workload = {
  namespace: FUZZ_WORKLOAD.namespace,
  labels: new Map(Object.entries(FUZZ_WORKLOAD.labels)),
};

test('removing an ALLOW never allows more, unless it was the last that selects the workload', () => {
  fc.assert(
    fc.property(policiesArbitrary(MAX_POLICIES), requests, fc.nat(), (policies, asked, at) => {
      const allowing = policies.filter((policy) => specOf(policy)['action'] === 'ALLOW');
      const removed = allowing[at % Math.max(allowing.length, 1)];
      fc.pre(removed !== undefined);
      const rest = policies.filter((policy) => policy !== removed);
      const isLast =
        selectsWorkload(removed) &&
        !rest.some((policy) => specOf(policy)['action'] === 'ALLOW' && selectsWorkload(policy));
      fc.pre(!isLast);
      assertNoWider(decisions(policies, asked), decisions(rest, asked));
    }),
    { numRuns: RUNS },
  );
});

test('removing a rule of an ALLOW never allows more', () => {
  fc.assert(
    fc.property(policiesArbitrary(MAX_POLICIES), requests, fc.nat(), (policies, asked, at) => {
      const narrowed = policies.map((policy) => {
        const rules = specOf(policy)['rules'] as readonly unknown[];
        if (specOf(policy)['action'] !== 'ALLOW') return policy;
        const kept = rules.filter((_, index) => index !== at % rules.length);
        return { ...policy, spec: { ...specOf(policy), rules: kept } };
      });
      assertNoWider(decisions(policies, asked), decisions(narrowed, asked));
    }),
    { numRuns: RUNS },
  );
});

test('the order of policies and of their rules never matters', () => {
  fc.assert(
    fc.property(policiesArbitrary(MAX_POLICIES), requests, (policies, asked) => {
      const turned = policies.toReversed().map((policy) => {
        const rules = specOf(policy)['rules'] as readonly unknown[];
        return { ...policy, spec: { ...specOf(policy), rules: rules.toReversed() } };
      });
      assert.deepEqual(decisions(turned, asked), decisions(policies, asked));
    }),
    { numRuns: RUNS },
  );
});

/** Every object inside a policy's spec, the spec itself first. */
function objectsIn(value: unknown): PlainObject[] {
  if (Array.isArray(value)) return value.flatMap(objectsIn);
  if (typeof value !== 'object' || value === null) return [];
  const object = value as PlainObject;
  return [object, ...Object.values(object).flatMap(objectsIn)];
}

/** A copy with a field that nobody knows somewhere in its spec. */
function withUnknownField(policy: PlainObject, at: number): PlainObject {
  const copy = structuredClone(policy);
  const places = objectsIn({ ...specOf(copy), selector: undefined }).slice(1);
  const place = at === 0 ? specOf(copy) : places[at % Math.max(places.length, 1)];
  Object.assign(place ?? specOf(copy), { unheardOf: ['x'] });
  return copy;
}

/** What the workload enforces: sound policies as they are, others by what closes in their place. */
function enforced(policies: readonly PlainObject[], protocol: 'http' | 'tcp') {
  const parsed = policies.map((policy) => ({ policy, read: parseAuthorizationPolicy(policy) }));
  const sound = parsed.flatMap(({ read }) => (read.ok ? [read.value] : []));
  const broken = parsed.flatMap(({ policy, read }) => {
    const closed = read.ok ? undefined : readBrokenPolicy(policy);
    return closed === undefined ? [] : [closed];
  });
  const select = <T extends { readonly namespace: string }>(all: readonly T[]): readonly T[] =>
    all.filter(({ namespace }) => namespace === 'foo' || namespace === FUZZ_ROOT_NAMESPACE);
  const options = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol } as const;
  const selected = selectPolicies(sound, workload, FUZZ_ROOT_NAMESPACE);
  return {
    evaluator: compileRbac(compilePolicies(selected, select(broken), options)),
    refused: broken.length,
  };
}

test('a field that nobody knows is refused, and what stands in for its policy never allows more', () => {
  fc.assert(
    fc.property(
      policiesArbitrary(MAX_POLICIES),
      requests,
      fc.nat(),
      fc.nat(),
      (policies, asked, which, at) => {
        const index = which % policies.length;
        const changed = policies.map((policy, position) =>
          position === index ? withUnknownField(policy, at) : policy,
        );
        assert.equal(enforced(changed, 'http').refused, 1);
        const chosen = policies[index];
        // One that is for others closes others.
        fc.pre(chosen !== undefined && selectsWorkload(chosen));
        const before = decisions(policies, asked);
        for (const [position, request] of asked.entries()) {
          const { evaluator } = enforced(changed, request.protocol);
          const normalized = normalizeTarget(request.path ?? '/', 'BASE');
          if (!normalized.ok) continue;
          const { isAllowed } = evaluator.decide(decisionInputOf(request, normalized.target));
          assert.ok(!isAllowed || before[position], `request ${position} is allowed now`);
        }
      },
    ),
    { numRuns: RUNS },
  );
});
