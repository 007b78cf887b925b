// What is attested of images: by whom it is believed, which of several holds, and what stays known when a registry is away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImagePattern } from '@weft/model/admission/image-reference';
import type { SignatureRule } from '@weft/model/admission/image-types';
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import {
  dockerRegistryMissing,
  pushImage,
  startDockerRegistry,
  startFakeRegistry,
  type TestRegistry,
} from '../../../test/support/oci-registry.ts';
import { attestUnderTag, createSigner, signAsBundle } from '../../../test/support/sign-images.ts';
import { createAddressGuard } from '../fetch/guard-address.ts';
import { AttestedReports } from './attested-reports.ts';
import { readAttestation, VULNERABILITY_PREDICATE } from './read-attestation.ts';
import { Registry } from './registry.ts';

const repository = 'shop/web';

const scan = (ids: readonly string[], finished = '2026-06-01T00:00:00Z'): object => ({
  scanner: {
    uri: 'pkg:github/aquasecurity/trivy@0.60.0',
    result: {
      SchemaVersion: 2,
      Results: [
        {
          Target: 'alpine',
          Vulnerabilities: ids.map((VulnerabilityID) => ({
            VulnerabilityID,
            Severity: 'CRITICAL',
            FixedVersion: '1.2.3',
            PublishedDate: '2026-01-01T00:00:00Z',
          })),
        },
      ],
    },
  },
  metadata: { scanStartedOn: finished, scanFinishedOn: finished },
});

function rigOf(registry: TestRegistry, keys: readonly string[]) {
  const pattern = parseImagePattern(`${registry.name}/*`);
  assert.ok(pattern);
  const rule: SignatureRule = { images: [pattern], keys, certificates: undefined };
  let nowMs = Date.now();
  const reports = new AttestedReports({
    registry: new Registry({
      isAllowed: createAddressGuard(['127.0.0.0/8']),
      credentialsOf: () => undefined,
      plainRegistries: [registry.name],
    }),
    nowMs: () => nowMs,
  });
  return {
    reports,
    later: (ms: number) => {
      nowMs += ms;
    },
    know: (digest: string) =>
      reports.know({ place: { registry: registry.name, repository }, digest, rule }),
    rule,
  };
}

const idsOf = (report: VulnerabilityReport | undefined): readonly string[] | undefined =>
  report?.vulnerabilities.map(({ id }) => id);

const missing = await dockerRegistryMissing();
for (const [which, start, why] of [
  ['in the process', startFakeRegistry, undefined],
  ['of Debian', startDockerRegistry, missing],
] as const) {
  test(`registry ${which}: a scan that a trusted key attests is known, of either form`, {
    skip: why ?? false,
  }, async () => {
    await using registry: TestRegistry = await start();
    const signer = createSigner();
    const [one, two] = [
      await pushImage(registry, repository, '1'),
      await pushImage(registry, repository, '2'),
    ];
    const predicateType = VULNERABILITY_PREDICATE;
    await attestUnderTag(registry, signer, {
      repository,
      digest: one,
      predicateType,
      predicate: scan(['CVE-1', 'CVE-2']),
    });
    await signAsBundle(registry, signer, {
      repository,
      digest: two,
      predicateType,
      predicate: scan(['CVE-3']),
    });
    const { know } = rigOf(registry, [signer.publicPem]);
    assert.deepEqual(idsOf(await know(one)), ['CVE-1', 'CVE-2']);
    assert.deepEqual(idsOf(await know(two)), ['CVE-3']);
    const stranger = rigOf(registry, [createSigner().publicPem]);
    assert.equal(await stranger.know(one), undefined);
    assert.equal(await stranger.know(two), undefined);
  });
}

test('a scan of another image, or of another kind, says nothing of this one', async () => {
  await using registry = await startFakeRegistry();
  const signer = createSigner();
  const digest = await pushImage(registry, repository, 'x');
  const { know, later } = rigOf(registry, [signer.publicPem]);
  const predicate = scan(['CVE-1']);
  const says = `sha256:${'0'.repeat(64)}`;
  const common = { repository, digest, predicate };
  await attestUnderTag(registry, signer, {
    ...common,
    predicateType: VULNERABILITY_PREDICATE,
    says,
  });
  assert.equal(await know(digest), undefined);
  await attestUnderTag(registry, signer, { ...common, predicateType: 'https://spdx.dev/Document' });
  later(600_000);
  assert.equal(await know(digest), undefined);
});

test('of two scans the later holds; it is asked for again, and what was bad stays known when a registry is away', async () => {
  await using registry = await startFakeRegistry();
  const signer = createSigner();
  const digest = await pushImage(registry, repository, 'x');
  const { know, later, reports } = rigOf(registry, [signer.publicPem]);
  let told = 0;
  using _ = reports.subscribe(() => told++);
  const attest = (ids: readonly string[], finished: string): Promise<void> =>
    attestUnderTag(registry, signer, {
      repository,
      digest,
      predicateType: VULNERABILITY_PREDICATE,
      predicate: scan(ids, finished),
    });
  await attest(['CVE-1'], '2026-06-02T00:00:00Z');
  assert.deepEqual(idsOf(await know(digest)), ['CVE-1']);
  assert.equal(told, 1);
  await attest([], '2026-06-01T00:00:00Z');
  const asked = registry.asked.length;
  assert.deepEqual(idsOf(await know(digest)), ['CVE-1'], 'it was asked for just now');
  assert.equal(registry.asked.length, asked);
  later(600_000);
  assert.deepEqual(idsOf(await know(digest)), ['CVE-1'], 'an older scan takes nothing back');
  registry.intercept = (_request, response) => {
    response.writeHead(500).end();
    return true;
  };
  later(600_000);
  assert.deepEqual(idsOf(await know(digest)), ['CVE-1'], 'nobody says otherwise');
  registry.intercept = () => false;
  await attest([], '2026-06-03T00:00:00Z');
  later(30_000);
  assert.deepEqual(idsOf(await know(digest)), [], 'it was asked again soon');
});

test('readAttestation() takes each vulnerability once, by its worst, and refuses what is no scan', () => {
  const predicate = {
    scanner: {
      result: {
        Results: [
          { Vulnerabilities: [{ VulnerabilityID: 'CVE-1', Severity: 'LOW' }] },
          {
            Vulnerabilities: [
              { VulnerabilityID: 'CVE-1', Severity: 'HIGH', FixedVersion: '2' },
              { Severity: 'CRITICAL' },
              'x',
            ],
          },
          {},
        ],
      },
    },
    metadata: { scanFinishedOn: '2026-06-01T00:00:00Z' },
  };
  const report = readAttestation(predicate, 'o');
  assert.deepEqual(report?.vulnerabilities, [
    { id: 'CVE-1', severity: 'HIGH', isFixable: true, publishedMs: undefined },
  ]);
  assert.deepEqual([...(report?.more ?? [])], [['CRITICAL', 1]]);
  for (const wrong of [
    undefined,
    {},
    { ...predicate, metadata: {} },
    { ...predicate, metadata: { scanFinishedOn: 'yesterday' } },
    { ...predicate, scanner: { result: { Results: {} } } },
    { ...predicate, scanner: {} },
  ]) {
    assert.equal(readAttestation(wrong, 'o'), undefined, JSON.stringify(wrong));
  }
});

test('an attested id that is none is counted, and shown to nobody (threat: reports that write into terminals)', () => {
  const ids = ['\u001b[2J', 'CVE-1\nok', 'C'.repeat(129), 'CVE-2'];
  const report = readAttestation(scan(ids), 'o');
  assert.deepEqual(idsOf(report), ['CVE-2']);
  assert.deepEqual([...(report?.more ?? [])], [['CRITICAL', 3]]);
});
