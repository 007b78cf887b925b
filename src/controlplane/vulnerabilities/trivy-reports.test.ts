// Which report is found for an image, and what is kept of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageReference } from '@weft/model/admission/image-reference';
import type { PlainObject } from '@weft/model/policy/reader';
import { readTrivyReport } from './read-trivy-report.ts';
import type { ImageInUse } from './source.ts';
import { ReportIndex } from './trivy-reports.ts';

const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;

function reportOf(name: string, more: PlainObject = {}, namespace = 'shop'): PlainObject {
  return {
    metadata: {
      name,
      namespace,
      labels: {
        'trivy-operator.resource.kind': 'ReplicaSet',
        'trivy-operator.resource.name': 'web-1',
        'trivy-operator.resource.namespace': namespace,
        'trivy-operator.container.name': 'web',
      },
    },
    report: {
      updateTimestamp: '2026-06-01T00:00:00Z',
      registry: { server: 'index.docker.io' },
      artifact: { repository: 'library/nginx', tag: '1.16' },
      vulnerabilities: [],
      ...more,
    },
  };
}
function indexOf(...objects: readonly PlainObject[]): ReportIndex {
  const index = new ReportIndex();
  for (const object of objects) index.set(readTrivyReport(object, index.share));
  return index;
}
const image = (name: string, more: Partial<ImageInUse> = {}): ImageInUse => ({
  namespace: 'shop',
  digests: [],
  reference: parseImageReference(name),
  ...more,
});
const RUN = { workloads: ['Pod/web-1-x', 'ReplicaSet/web-1'], container: 'web' };

test('one vulnerability of many packages counts once, as bad as it is anywhere', () => {
  const vulnerabilities = [
    { vulnerabilityID: 'CVE-1', severity: 'HIGH', fixedVersion: '', publishedDate: '2026-05-01' },
    {
      vulnerabilityID: 'CVE-1',
      severity: 'CRITICAL',
      fixedVersion: '2',
      publishedDate: '2026-04-01',
    },
    { vulnerabilityID: 'CVE-2', severity: 'NEW-WORD' },
    { severity: 'HIGH' },
    'nonsense',
  ];
  const { report } = readTrivyReport(reportOf('r', { vulnerabilities }), (one) => one);
  assert.deepEqual(report.vulnerabilities, [
    {
      id: 'CVE-1',
      severity: 'CRITICAL',
      isFixable: true,
      publishedMs: Date.parse('2026-04-01'),
    },
    { id: 'CVE-2', severity: 'LOW', isFixable: false, publishedMs: undefined },
  ]);
  assert.deepEqual([...report.more], [['HIGH', 1]]);
});

test('a report without end is kept as counts beyond a bound, the worst by name (threat: memory by reports)', () => {
  const vulnerabilities = Array.from({ length: 5_000 }, (_, index) => ({
    vulnerabilityID: `CVE-${index}`,
    severity: index === 4_999 ? 'CRITICAL' : 'LOW',
  }));
  const { report } = readTrivyReport(reportOf('r', { vulnerabilities }), (one) => one);
  assert.equal(report.vulnerabilities.length, 2_048);
  assert.equal(report.vulnerabilities[0]?.id, 'CVE-4999');
  assert.deepEqual([...report.more], [['LOW', 5_000 - 2_048]]);
});

test('an id that is none is counted, and shown to nobody (threat: reports that write into terminals)', () => {
  const vulnerabilities = ['\u001b[2J', 'CVE-1\nok', 'C'.repeat(129)].map((vulnerabilityID) => ({
    vulnerabilityID,
    severity: 'CRITICAL',
  }));
  const { report } = readTrivyReport(reportOf('r', { vulnerabilities }), (one) => one);
  assert.deepEqual(report.vulnerabilities, []);
  assert.deepEqual([...report.more], [['CRITICAL', 3]]);
});

test('what is no report is read as one that found nothing, and is as old as can be', () => {
  const { report, digest, runBy } = readTrivyReport({ metadata: { name: 'r' } }, (one) => one);
  assert.deepEqual(
    [report.madeAtMs, report.vulnerabilities, digest, runBy],
    [0, [], undefined, undefined],
  );
});

test('the same vulnerability of many images is kept once', () => {
  const vulnerabilities = [{ vulnerabilityID: 'CVE-1', severity: 'HIGH' }];
  const index = new ReportIndex();
  const [one, two] = ['a', 'b'].map((name) =>
    readTrivyReport(reportOf(name, { vulnerabilities }), index.share),
  );
  assert.equal(one?.report.vulnerabilities[0], two?.report.vulnerabilities[0]);
});

test('an image is found by its digest first, then by who runs it under the same name', () => {
  const artifact = { repository: 'library/nginx', digest: digestOf('a') };
  const index = indexOf(reportOf('by-digest', { artifact }, 'bank'), reportOf('by-owner'));
  const found = (one: ImageInUse): string | undefined => index.find(one)?.origin;
  assert.equal(
    found(image('nginx:1.16', { digests: [digestOf('a')], runBy: RUN })),
    'VulnerabilityReport bank/by-digest',
  );
  assert.equal(found(image('nginx:1.16', { runBy: RUN })), 'VulnerabilityReport shop/by-owner');
  assert.equal(found(image('nginx:1.16')), undefined, 'a tag alone may be another image by now');
  assert.equal(found(image('nginx:1.17', { runBy: RUN })), undefined);
  assert.equal(found(image('other/nginx:1.16', { runBy: RUN })), undefined);
  assert.equal(found(image('nginx:1.16', { runBy: { ...RUN, container: 'side' } })), undefined);
  assert.equal(found(image('nginx:1.16', { namespace: 'blog', runBy: RUN })), undefined);
});

test('the newest report holds, and that of the own namespace before others (threat: a report elsewhere that whitewashes)', () => {
  const artifact = { repository: 'library/nginx', digest: digestOf('a') };
  const index = indexOf(
    reportOf('old', { artifact, updateTimestamp: '2026-05-01T00:00:00Z' }),
    reportOf('new', { artifact }),
    reportOf('newest', { artifact, updateTimestamp: '2026-07-01T00:00:00Z' }, 'evil'),
  );
  const used = image('nginx:1.16', { digests: [digestOf('a')] });
  assert.equal(index.find(used)?.origin, 'VulnerabilityReport shop/new');
  index.delete('shop/new');
  index.delete('shop/old');
  assert.equal(index.find(used)?.origin, 'VulnerabilityReport evil/newest');
  index.delete('evil/newest');
  assert.equal(index.find(used), undefined);
  assert.equal(index.size, 0);
});

test('a report says nothing about who runs what in another namespace', () => {
  const object = reportOf('r', {}, 'evil');
  const labels = { 'trivy-operator.resource.namespace': 'shop' };
  const metadata = object['metadata'] as { labels: PlainObject };
  const forged = {
    ...object,
    metadata: { ...metadata, labels: { ...metadata.labels, ...labels } },
  };
  assert.equal(readTrivyReport(forged, (one) => one).runBy, undefined);
});

test('a new list of a namespace replaces what was there, and there alone', () => {
  const index = indexOf(reportOf('a'), reportOf('b'), reportOf('c', {}, 'bank'));
  index.replace([readTrivyReport(reportOf('b'), index.share)], 'shop');
  assert.equal(index.size, 2);
  index.replace([], undefined);
  assert.equal(index.size, 0);
});
