// What the compiler makes of real policies goes over the wire and comes back the same. Skipped where the corpus is not at hand.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compilePolicies } from '@weft/model/policy/compile';
import type { CaseGroup } from '@weft/model/policy/eval-cases';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import { isPlainObject } from '@weft/model/policy/reader';
import { createReading, readMessage } from '@weft/xds/codec/fields';
import { encodeRbac, type RbacLayer, readRbac } from '@weft/xds/codec/rbac';
import { encodeMessage } from '@weft/xds/registry';
import { parseAllDocuments } from 'yaml';

const corpus = join(import.meta.dirname, '../../../shared/conformance/authz-decisions.json');
const skip = existsSync(corpus) ? false : 'the conformance corpus is not beside this checkout';
const TYPE = 'envoy.config.rbac.v3.RBAC';

function check(group: CaseGroup & { readonly policies: string }, protocol: RbacLayer): void {
  const policies = parseAllDocuments(group.policies)
    .map((document): unknown => document.toJS())
    .filter(isPlainObject)
    .map((object) => parseAuthorizationPolicy(object))
    .flatMap((parsed) => (parsed.ok ? [parsed.value] : []));
  const { trustDomain, trustDomainAliases = [] } = group;
  for (const rules of compilePolicies(policies, [], {
    trustDomain,
    trustDomainAliases,
    protocol,
  })) {
    const reading = createReading();
    const bytes = encodeMessage(TYPE, encodeRbac(rules));
    const value = readMessage(TYPE, bytes, { reading, path: '' }, (fields) =>
      readRbac(fields, protocol),
    );
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(value, rules);
  }
}

test('readRbac() gives back what the compiler made of every recorded policy', {
  skip,
}, async (t) => {
  const groups: readonly (CaseGroup & { readonly policies: string })[] = JSON.parse(
    readFileSync(corpus, 'utf8'),
  );
  for (const group of groups) {
    await t.test(group.name, () => {
      check(group, 'http');
      check(group, 'tcp');
    });
  }
});
