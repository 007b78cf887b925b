// What injection adds passes the strictest of the Pod Security Standards, but for the step that redirects traffic, which a policy can let.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findInPod } from '@weft/model/admission/check-workload';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { readWorkload } from '@weft/model/admission/workload';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import { injectPod } from './inject-pod.ts';
import { defaultInjectionSettings } from './settings.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const rootNamespace = 'weft-system';
const settings = defaultInjectionSettings({ version: '1.0.0', trustDomain, rootNamespace });

/** What `restricted`, a read-only root and named resources find in a Pod that has a sidecar. */
function findings(annotations: PlainObject, allowWeftCapture: boolean): readonly string[] {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', annotations },
    spec: {
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'web',
          image: 'shop/web:1',
          readinessProbe: { httpGet: { path: '/', port: 8080 } },
          resources: { limits: { cpu: '1', memory: '64Mi' } },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  };
  const outcome = injectPod(pod, settings);
  assert.ok(outcome.kind === 'injected', 'reason' in outcome ? outcome.reason : '');
  const parsed = parseWorkloadPolicy(
    {
      apiVersion: 'security.weft.dev/v1',
      kind: 'WorkloadPolicy',
      metadata: { name: 'p', namespace: 'shop' },
      spec: {
        pod: {
          preset: 'restricted',
          readOnlyRootFilesystem: true,
          resources: { requests: ['cpu', 'memory'], limits: ['memory'] },
          allowWeftCapture,
        },
      },
    },
    'WorkloadPolicy',
  );
  assert.ok(parsed.ok);
  const workload = readWorkload(outcome.pod);
  assert.ok(workload);
  const context = { nowMs: 0, rootNamespace, captureImage: settings.captureImage };
  return findInPod(parsed.value, { workload }, context).map(({ container, check }) =>
    [container, check].join(' '),
  );
}

const ANNOTATIONS: readonly PlainObject[] = [
  {},
  { 'weft.dev/exclude-inbound-ports': '9090', 'weft.dev/exclude-outbound-ports': '5432,6379' },
];
for (const annotations of ANNOTATIONS) {
  test(`an injected Pod passes restricted where Weft's own step may ${JSON.stringify(annotations)}`, () => {
    assert.deepEqual(findings(annotations, true), []);
    assert.deepEqual(
      [...new Set(findings(annotations, false))],
      ['weft-capture runAsNonRoot', 'weft-capture runAsUser', 'weft-capture capabilities'],
    );
  });
}

test('a Pod of gRPC programs without a proxy passes as it is', () => {
  assert.deepEqual(findings({ 'weft.dev/proxy': 'none', 'weft.dev/grpc-user': '1000' }, false), []);
});

test('a Pod whose traffic something else redirects passes as it is', () => {
  assert.deepEqual(findings({ 'weft.dev/capture': 'none' }, false), []);
});
