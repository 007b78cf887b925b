// What is asked of vulnerabilities: what is read, what counts, and what is said of images that have too many.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PlainObject } from '../policy/reader.ts';
import { describeProblem } from '../problem.ts';
import { excessOf, findInVulnerabilities, judgeReport } from './check-vulnerabilities.ts';
import { parseWorkloadPolicy } from './parse-workload-policy.ts';
import type { WorkloadPolicy } from './types.ts';
import {
  SEVERITIES,
  type VulnerabilitiesSection,
  type Vulnerability,
  type VulnerabilityReport,
} from './vulnerability-types.ts';
import { readWorkload } from './workload.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-06-01T00:00:00Z');

const parsed = (vulnerabilities: unknown, more: PlainObject = {}) =>
  parseWorkloadPolicy(
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'WorkloadPolicy',
      metadata: { name: 'p', namespace: 'shop' },
      spec: { vulnerabilities, ...more },
    },
    'WorkloadPolicy',
  );

function policyOf(vulnerabilities: unknown, more: PlainObject = {}): WorkloadPolicy {
  const read = parsed(vulnerabilities, more);
  assert.ok(read.ok, JSON.stringify(read));
  return read.value;
}
function sectionOf(vulnerabilities: unknown): VulnerabilitiesSection {
  const { vulnerabilities: section } = policyOf(vulnerabilities);
  assert.ok(section);
  return section;
}

const cve = (id: string, more: Partial<Vulnerability> = {}): Vulnerability => ({
  id,
  severity: 'CRITICAL',
  isFixable: true,
  publishedMs: NOW - 100 * DAY,
  ...more,
});
const reportOf = (...vulnerabilities: readonly Vulnerability[]): VulnerabilityReport => ({
  origin: 'VulnerabilityReport shop/r',
  madeAtMs: NOW - DAY,
  vulnerabilities,
  more: new Map(),
});

const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ['nothing that is counted', {}, /^spec\.vulnerabilities: asks for nothing — set maxSeverity/],
  ['conditions alone', { fixableOnly: true }, /asks for nothing/],
  ['an empty threshold', { threshold: {} }, /threshold: counts nothing/],
  ['a severity that is none', { threshold: { SEVERE: 1 } }, /threshold\.SEVERE: unknown field/],
  ['less than none', { threshold: { HIGH: -1 } }, /threshold\.HIGH/],
  ['no number', { threshold: { HIGH: null } }, /threshold\.HIGH: names no number/],
  ['a severity in small letters', { maxSeverity: 'high' }, /maxSeverity: "high" is not known/],
  ['no age', { maxSeverity: 'HIGH', olderThan: '30' }, /olderThan: "30" is no age/],
  ['an age below zero', { maxSeverity: 'HIGH', olderThan: '-3d' }, /olderThan: "-3d" is no age/],
  ['an age of ages', { maxSeverity: 'HIGH', maxReportAge: '9999d' }, /maxReportAge: "9999d"/],
  ['a misspelt choice', { maxSeverity: 'HIGH', whenUnknown: 'deny' }, /write one of allow, refuse/],
  [
    'a flag that is a text',
    { maxSeverity: 'HIGH', onCrossing: { revokeIdentity: 'yes' } },
    /onCrossing\.revokeIdentity: expected true or false/,
  ],
  [
    'what is ignored without a reason',
    { maxSeverity: 'HIGH', ignore: [{ id: 'CVE-1', expires: '2027-01-31' }] },
    /ignore\[0\]\.reason: what is ignored needs a reason/,
  ],
  [
    'what is ignored for ever (threat: an exemption for ever)',
    { maxSeverity: 'HIGH', ignore: [{ id: 'CVE-1', reason: 'r' }] },
    /ignore\[0\]\.expires: what is ignored needs an end/,
  ],
  [
    'a wildcard',
    { maxSeverity: 'HIGH', ignore: [{ id: 'CVE-*', reason: 'r', expires: '2027-01-31' }] },
    /"CVE-\*" names no vulnerability/,
  ],
];
for (const [what, spec, said] of REFUSED) {
  test(`${what} is refused with field and cure`, () => {
    const read = parsed(spec);
    assert.ok(!read.ok);
    assert.match(read.problems.map(describeProblem).join('\n'), said);
  });
}

test('what is worse than what may be there may not be there, unless it is counted', () => {
  const limitsOf = (spec: unknown): unknown => Object.fromEntries(sectionOf(spec).limits);
  assert.deepEqual(limitsOf({ maxSeverity: 'CRITICAL' }), {});
  assert.deepEqual(limitsOf({ maxSeverity: 'MEDIUM' }), { CRITICAL: 0, HIGH: 0 });
  assert.deepEqual(limitsOf({ threshold: { HIGH: 5 } }), { CRITICAL: 0, HIGH: 5 });
  assert.deepEqual(limitsOf({ threshold: { CRITICAL: 2 } }), { CRITICAL: 2 });
  assert.deepEqual(limitsOf({ maxSeverity: 'MEDIUM', threshold: { LOW: 9, CRITICAL: 1 } }), {
    CRITICAL: 1,
    HIGH: 0,
    MEDIUM: 0,
    LOW: 9,
  });
});

test('what cannot be fixed, is new, or is ignored does not count, and each alone for as long as it is so', () => {
  const section = sectionOf({
    threshold: { CRITICAL: 0 },
    fixableOnly: true,
    olderThan: '30d',
    ignore: [{ id: 'CVE-4', reason: 'not reached', expires: '2026-06-02' }],
  });
  const report = reportOf(
    cve('CVE-2', { isFixable: false }),
    cve('CVE-3', { publishedMs: NOW - 29 * DAY }),
    cve('CVE-4'),
  );
  assert.deepEqual(excessOf(section, report, NOW), []);
  const later = excessOf(section, report, NOW + 2 * DAY);
  assert.deepEqual(later[0]?.ids, ['CVE-3', 'CVE-4']);
  // Nobody says since when: in doubt it counts.
  const undated = reportOf(cve('CVE-5', { publishedMs: undefined }));
  assert.equal(excessOf(section, undated, NOW)[0]?.count, 1);
});

test('excessOf() finds no less in a report that has more', () => {
  const section = sectionOf({ threshold: { CRITICAL: 1, HIGH: 2 }, fixableOnly: true });
  const one = fc.record({
    id: fc.uuid(),
    severity: fc.constantFrom(...SEVERITIES),
    isFixable: fc.boolean(),
    publishedMs: fc.option(fc.integer({ min: 0, max: NOW }), { nil: undefined }),
  });
  const sum = (list: readonly Vulnerability[]): number =>
    excessOf(section, reportOf(...list), NOW).reduce((all, { count }) => all + count, 0);
  fc.assert(fc.property(fc.array(one), one, (list, more) => sum([...list, more]) >= sum(list)));
});

test('a good report that is too old says nothing, and a bad one stays bad (threat: a scanner that stopped)', () => {
  const section = sectionOf({ maxSeverity: 'HIGH', maxReportAge: '7d' });
  const later = NOW + 30 * DAY;
  assert.equal(judgeReport(section, reportOf(), NOW).kind, 'good');
  assert.equal(judgeReport(section, reportOf(), later).kind, 'unknown');
  assert.equal(judgeReport(section, reportOf(cve('CVE-1')), later).kind, 'crossed');
  assert.equal(judgeReport(section, undefined, NOW).kind, 'unknown');
});

const IMAGE = `shop/web@sha256:${'a'.repeat(64)}`;
function find(policy: WorkloadPolicy, report: VulnerabilityReport | undefined, labels = {}) {
  const workload = readWorkload({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', labels },
    spec: { containers: [{ name: 'web', image: IMAGE }] },
  });
  assert.ok(workload);
  const context = { nowMs: NOW, rootNamespace: 'weft-system' };
  return findInVulnerabilities(policy, { workload }, { context, reportOf: () => report });
}

test('a finding names container, image, counts, ids, report and cure; no more ids than can be read', () => {
  const many = Array.from({ length: 9 }, (_, index) => cve(`CVE-${index}`));
  const [finding] = find(policyOf({ maxSeverity: 'MEDIUM' }), reportOf(...many));
  assert.match(
    finding?.text ?? '',
    /^container "web": image "shop\/web@sha256:a+" has 9 CRITICAL vulnerabilities where 0 may be: CVE-0, CVE-1, CVE-2, CVE-3, CVE-4, …; by VulnerabilityReport shop\/r$/,
  );
  assert.equal(finding?.check, 'vulnerabilities');
  assert.match(finding?.cure ?? '', /spec\.vulnerabilities\.ignore/);
});

test('vulnerabilities that are counted alone are told as a number', () => {
  const report = { ...reportOf(), more: new Map([['CRITICAL', 3] as const]) };
  const [finding] = find(policyOf({ maxSeverity: 'HIGH' }), report);
  assert.match(finding?.text ?? '', /has 3 CRITICAL vulnerabilities where 0 may be; by Vuln/);
});

test('an image of which nothing is known is let by or refused as the policy says', () => {
  assert.deepEqual(find(policyOf({ maxSeverity: 'HIGH' }), undefined), []);
  const [finding] = find(policyOf({ maxSeverity: 'HIGH', whenUnknown: 'refuse' }), undefined);
  assert.match(finding?.text ?? '', /is not known to be good: no report of it is known/);
});

test('where tags are resolved, what makes Pods is not refused for images of which nothing can be known yet', () => {
  const images = { allow: ['docker.io/*'], digests: 'resolve' };
  const vulnerabilities = { maxSeverity: 'HIGH', whenUnknown: 'refuse' };
  const metadata = { name: 'web', namespace: 'shop' };
  const spec = {
    containers: [
      { name: 'tag', image: 'shop/web:1' },
      { name: 'digest', image: IMAGE },
    ],
  };
  const found = (more: PlainObject): readonly (string | undefined)[] => {
    const template = { spec };
    const object = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { template } };
    const workload = readWorkload(object);
    assert.ok(workload);
    const context = { nowMs: NOW, rootNamespace: 'weft-system' };
    return findInVulnerabilities(
      policyOf(vulnerabilities, more),
      { workload },
      { context, reportOf: () => undefined },
    ).map(({ container }) => container);
  };
  assert.deepEqual(found({ images }), ['digest']);
  assert.deepEqual(found({}), ['tag', 'digest']);
});

test('an exemption from vulnerabilities leaves out, and one from another check does not', () => {
  const exemption = { who: { labels: { app: 'a' } }, reason: 'r', expires: '2027-01-31' };
  const held = (checks: readonly string[]): number =>
    find(
      policyOf({ maxSeverity: 'HIGH' }, { exemptions: [{ ...exemption, checks }] }),
      reportOf(cve('CVE-1')),
      { app: 'a' },
    ).length;
  assert.equal(held(['vulnerabilities']), 0);
  assert.equal(held(['imageDigest']), 1);
});
