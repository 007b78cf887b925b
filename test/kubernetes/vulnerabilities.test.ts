// Images with vulnerabilities are refused when something is made of them, under a real API server, and found where they run.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { VulnerabilityWatch } from '@weft/controlplane/vulnerabilities/vulnerability-watch';
import { PODS } from '@weft/kube/resource';
import { findInVulnerabilities } from '@weft/model/admission/check-vulnerabilities';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { systemClock } from '@weft/model/clock';
import type { PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { weft } from '../support/installation.ts';
import { whyNot } from '../support/kube-objects.ts';
import { kubelabMissing } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { VULNERABILITY_REPORT_CRD, vulnerabilityReport } from '../support/trivy-reports.ts';
import { openWorkloadRig, type WorkloadRig, workloadPolicy } from '../support/workload-rig.ts';

const only = { skip: kubelabMissing() ?? false };
const BAD = `sha256:${'b'.repeat(64)}`;
const GOOD = `sha256:${'a'.repeat(64)}`;
const imageOf = (digest: string): string => `registry.test/shop/web@${digest}`;

let rig: WorkloadRig;
let watch: VulnerabilityWatch;
before(async () => {
  if (only.skip !== false) return;
  rig = await openWorkloadRig({
    namespaces: { shop: {}, bank: {} },
    looks: [
      (policy, request, context) =>
        findInVulnerabilities(policy, request, {
          context,
          reportOf: (image, section) => watch.reportOf(request.workload.namespace, image, section),
        }),
    ],
  });
  watch = new VulnerabilityWatch({
    client: rig.lab.client,
    source: rig.source,
    rootNamespace: 'weft-system',
    clock: systemClock,
    log: pino({ level: 'silent' }),
  });
  assert.equal((await rig.apply(VULNERABILITY_REPORT_CRD)).code, 0);
  const crd = 'crd/vulnerabilityreports.aquasecurity.github.io';
  const waited = await rig.lab.kubectl(['wait', '--for=condition=Established', crd]);
  assert.equal(waited.code, 0, waited.stderr);
  await report(BAD, 'bad', [
    {
      vulnerabilityID: 'CVE-2026-0001',
      severity: 'CRITICAL',
      fixedVersion: '2.0',
      publishedDate: '2026-01-01T00:00:00Z',
    },
  ]);
  await report(GOOD, 'good', []);
});
after(async () => {
  await watch?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]();
});

async function report(
  digest: string,
  name: string,
  vulnerabilities: readonly PlainObject[],
): Promise<void> {
  const artifact = { repository: 'shop/web', digest };
  const object = vulnerabilityReport({
    name,
    namespace: 'shop',
    registry: 'registry.test',
    artifact,
    vulnerabilities,
  });
  const applied = await rig.apply(object);
  assert.equal(applied.code, 0, applied.stderr);
}

const podOf = (name: string, image: string, namespace = 'shop'): PlainObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: { automountServiceAccountToken: false, containers: [{ name: 'web', image }] },
});

test(
  'a Pod of an image that crosses is refused by counts, ids and cure; others are made',
  only,
  async () => {
    const before = await rig.apply(podOf('early', imageOf(BAD)));
    assert.equal(before.code, 0, before.stderr);
    await rig.enforce(
      workloadPolicy('scanned', 'shop', {
        vulnerabilities: { threshold: { CRITICAL: 0 }, fixableOnly: true, olderThan: '7d' },
      }),
    );
    const said = await rig.untilRefused(podOf('p', imageOf(BAD)), 'an image that crosses');
    assert.match(
      said,
      /WorkloadPolicy shop\/scanned refuses Pod shop\/p: container "web": image "registry\.test\/shop\/web@sha256:b+" has 1 CRITICAL vulnerability where 0 may be: CVE-2026-0001; by VulnerabilityReport shop\/bad \(vulnerabilities, spec\.vulnerabilities\.threshold\) — use an image in which they are fixed/,
    );
    for (const [image, namespace] of [
      [imageOf(GOOD), 'shop'],
      ['registry.test/shop/web:latest', 'shop'],
      [imageOf(BAD), 'bank'],
    ] as const) {
      const end = await rig.tryOut(podOf('p', image, namespace));
      assert.equal(end.code, 0, `${image}: ${end.stderr}`);
    }
  },
);

test(
  'where what is not known is refused, an image without a report or a digest is',
  only,
  async () => {
    await rig.enforce(
      workloadPolicy('known', 'bank', {
        vulnerabilities: { maxSeverity: 'HIGH', whenUnknown: 'refuse' },
      }),
    );
    const tagged = podOf('p', 'registry.test/shop/web:1', 'bank');
    assert.match(
      await rig.untilRefused(tagged, 'an image by its tag'),
      /is not known to be good: no report of it is known, for it is not named by its digest/,
    );
    const unheard = imageOf(`sha256:${'c'.repeat(64)}`);
    const unknown = await rig.tryOut(podOf('p', unheard, 'bank'));
    assert.match(unknown.stderr, /no report of it is known \(vulnerabilities,/);
    const good = await rig.tryOut(podOf('p', imageOf(GOOD), 'bank'));
    assert.equal(good.code, 0, good.stderr);
  },
);

test('weft admission report finds what runs already, and ends with 1', only, async () => {
  const told = await weft(rig.lab, ['admission', 'report', '--in', 'shop'], { isHelm: false });
  assert.equal(told.code, 1, told.stderr);
  assert.match(
    told.stdout,
    /REFUSED {2}Pod shop\/early: .*1 CRITICAL vulnerability where 0 may be/,
  );
});

test(
  'without Weft Pods are made where what is not known is let by, and only there',
  only,
  async () => {
    await rig.hangUp();
    const open = await rig.tryOut(podOf('p', imageOf(GOOD)));
    assert.equal(open.code, 0, open.stderr);
    const closed = await rig.tryOut(podOf('p', imageOf(GOOD), 'bank'));
    assert.equal(closed.code, 1);
    assert.match(closed.stderr, /failed calling webhook/);
    await rig.listen();
  },
);

test(
  'a Pod that runs crosses by what was pulled for it, and is good by a newer report',
  only,
  async () => {
    const made = await rig.apply(podOf('tagged', 'registry.test/shop/web:2'));
    assert.equal(made.code, 0, made.stderr);
    const status = {
      phase: 'Running',
      containerStatuses: [
        {
          name: 'web',
          image: 'registry.test/shop/web:2',
          imageID: imageOf(BAD),
          ready: true,
          restartCount: 0,
        },
      ],
    };
    const patched = await rig.lab.client.patch(
      PODS,
      { namespace: 'shop', name: 'tagged' },
      { type: 'merge', subresource: 'status', patch: { status } },
    );
    assert.ok(patched.ok, whyNot(patched));
    const crossed = (): string[] =>
      [...watch.standings].flatMap(([policy, standing]) =>
        policy.name === 'scanned' ? standing.crossed.map(({ pod }) => pod.key) : [],
      );
    const until = (what: string, keys: readonly string[]): Promise<boolean> =>
      eventually(async () => crossed().join() === keys.join(), {
        what,
        withinMs: 20_000,
        everyMs: 50,
      });
    await until('both Pods', ['shop/early', 'shop/tagged']);
    await report(BAD, 'bad', []);
    await until('neither', []);
  },
);

const EVERYTHING = {
  maxSeverity: 'MEDIUM',
  threshold: { CRITICAL: 0, HIGH: 1, MEDIUM: 2, LOW: 3 },
  fixableOnly: true,
  olderThan: '30d',
  ignore: [{ id: 'CVE-2026-1', reason: 'r', expires: '2027-01-01T00:00:00+01:00' }],
  maxReportAge: '7d',
  whenUnknown: 'allow',
  onCrossing: { revokeIdentity: true },
};

test(
  'all that can be said of vulnerabilities is taken by parser, schema and API server alike',
  only,
  async () => {
    const object = workloadPolicy('everything', 'shop', {
      mode: 'audit',
      vulnerabilities: EVERYTHING,
    });
    const parsed = parseWorkloadPolicy(object, 'WorkloadPolicy');
    assert.ok(parsed.ok, JSON.stringify(parsed));
    const strict = await rig.apply(object, ['--dry-run=server', '--validate=strict']);
    assert.equal(strict.code, 0, strict.stderr);
  },
);
