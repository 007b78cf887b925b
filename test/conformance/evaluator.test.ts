// The decisions of Istio with Envoy, through our parser, compiler and evaluator. Skipped where the corpus is not at hand.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { evaluateGroup, type CaseGroup } from '@weft/model/policy/eval-cases';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { parseAllDocuments } from 'yaml';

const folder = join(import.meta.dirname, '../../../shared/conformance');
const skip = existsSync(folder) ? false : 'the conformance corpus is not beside this checkout';

const readCorpus = (name: string): unknown =>
  skip === false ? JSON.parse(readFileSync(join(folder, name), 'utf8')) : [];

function objectsOf(text: string): readonly PlainObject[] {
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter(isPlainObject);
}

describe('recorded decisions', { skip }, () => {
  const groups = readCorpus('authz-decisions.json') as readonly (CaseGroup & {
    readonly policies: string;
  })[];
  for (const group of groups) {
    test(`evaluator decides ${group.cases.length} requests alike: ${group.name}`, () => {
      const { results, problems } = evaluateGroup(group, objectsOf(group.policies));
      assert.deepEqual(problems, []);
      const differing = results.filter((result) => result.actual !== result.expect);
      assert.deepEqual(differing, []);
    });
  }
  test('the corpus is whole: 746 decisions', () => {
    assert.equal(
      groups.reduce((sum, group) => sum + group.cases.length, 0),
      746,
    );
  });
});

describe('policies that must be refused', { skip }, () => {
  const policies = readCorpus('policies-invalid.json') as readonly {
    readonly name: string;
    readonly yaml: string;
    readonly mustReject: boolean;
  }[];
  for (const { name, yaml } of policies.filter(({ mustReject }) => mustReject)) {
    test(`parser refuses and names the field: ${name}`, () => {
      const [object] = objectsOf(yaml);
      assert.ok(object);
      const parsed = parseAuthorizationPolicy(object);
      assert.equal(parsed.ok, false);
      for (const problem of parsed.problems) {
        assert.match(problem.field ?? '', /^(spec|metadata)/);
        assert.ok(problem.message.length > 0);
      }
    });
  }
  test('the corpus is whole: 162 of them', () => {
    assert.equal(policies.filter(({ mustReject }) => mustReject).length, 162);
  });
});

describe('policies that must be accepted', { skip }, () => {
  const policies = readCorpus('policies-valid.json') as readonly {
    readonly name: string;
    readonly yaml: string;
  }[];
  for (const { name, yaml } of policies) {
    test(`parser accepts ${name}`, () => {
      const [object] = objectsOf(yaml);
      assert.ok(object);
      assert.deepEqual(parseAuthorizationPolicy(object).problems, []);
    });
  }
});
