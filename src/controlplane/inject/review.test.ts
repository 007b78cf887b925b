// The injector's answers to admission requests: who decides, what is said, and that nothing but the creation of a Pod is touched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import { reviewInjection } from './review.ts';
import { defaultInjectionSettings } from './settings.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const settings = defaultInjectionSettings({
  version: '1.0.0',
  trustDomain,
  rootNamespace: 'weft-system',
});

interface Case {
  readonly what: string;
  readonly request?: PlainObject;
  readonly metadata?: PlainObject;
  readonly spec?: PlainObject;
  readonly label?: string;
  readonly expected: 'injected' | 'left' | 'refused';
  readonly audit: RegExp;
  readonly warnings?: number;
}

const inject = (value: string): PlainObject => ({ 'weft.dev/inject': value });

const CASES: readonly Case[] = [
  { what: 'a Pod that says nothing', expected: 'injected', audit: /^injected$/ },
  { what: 'a namespace that is enabled', label: 'enabled', expected: 'injected', audit: /^inj/ },
  {
    what: 'a namespace whose label is not known yet',
    label: 'something',
    expected: 'injected',
    audit: /^injected$/,
  },
  { what: 'a namespace that is disabled', label: 'disabled', expected: 'left', audit: /namespace/ },
  {
    what: "the Pod's own word against a namespace that is disabled",
    label: 'disabled',
    metadata: { annotations: inject('true') },
    expected: 'injected',
    audit: /^injected$/,
  },
  {
    what: "the Pod's own word against a namespace that is enabled",
    label: 'enabled',
    metadata: { labels: inject('false') },
    expected: 'left',
    audit: /weft.dev\/inject: "false"/,
  },
  {
    what: 'an annotation that says no against a label that says yes',
    metadata: { annotations: inject('false'), labels: inject('true') },
    expected: 'left',
    audit: /weft.dev\/inject/,
  },
  {
    what: 'a label that says no against an annotation that says yes',
    metadata: { annotations: inject('true'), labels: inject('false') },
    expected: 'left',
    audit: /weft.dev\/inject/,
  },
  {
    what: 'a word that is no answer, in a namespace that is disabled',
    label: 'disabled',
    metadata: { annotations: inject('maybe') },
    expected: 'refused',
    audit: /"maybe"/,
  },
  {
    what: 'a Pod of kube-system, whatever it says',
    request: { namespace: 'kube-system' },
    metadata: { annotations: inject('true') },
    expected: 'left',
    audit: /kube-system/,
    warnings: 1,
  },
  {
    what: 'a Pod of the control plane',
    request: { namespace: 'weft-system' },
    label: 'enabled',
    expected: 'left',
    audit: /control plane/,
  },
  {
    what: 'a Pod on the network of its node',
    spec: { hostNetwork: true, containers: [{ name: 'web' }] },
    expected: 'left',
    audit: /hostNetwork/,
    warnings: 1,
  },
  {
    what: 'a Pod that goes past the sidecar',
    spec: { securityContext: { runAsUser: 1337 }, containers: [{ name: 'web' }] },
    expected: 'refused',
    audit: /user 1337/,
  },
  { what: 'no Pod', request: { object: undefined }, expected: 'left', audit: /not to create/ },
  { what: 'a change', request: { operation: 'UPDATE' }, expected: 'left', audit: /not to create/ },
  {
    what: 'a subresource',
    request: { subResource: 'ephemeralcontainers' },
    expected: 'left',
    audit: /not to create/,
  },
  {
    what: 'another resource',
    request: { resource: { group: 'apps', version: 'v1', resource: 'deployments' } },
    expected: 'left',
    audit: /not to create/,
  },
];

for (const { what, request, metadata, spec, label, expected, audit, warnings = 0 } of CASES) {
  test(`reviewInjection(): ${what} is ${expected}`, () => {
    const object = {
      metadata: { generateName: 'web-', ...metadata },
      spec: spec ?? { containers: [{ name: 'web' }] },
    };
    const labels = label === undefined ? undefined : new Map([['weft.dev/injection', label]]);
    const review = reviewInjection(
      {
        uid: 'u',
        operation: 'CREATE',
        namespace: 'shop',
        resource: { group: '', version: 'v1', resource: 'pods' },
        object,
        ...request,
      },
      settings,
      labels,
    );
    assert.equal(review.allowed, expected !== 'refused');
    assert.equal(review.patch !== undefined, expected === 'injected');
    assert.equal(review.message !== undefined, expected === 'refused');
    assert.equal(review.code, expected === 'refused' ? 422 : undefined);
    assert.match(review.auditAnnotations['injection'] ?? '', audit);
    assert.equal(review.warnings.length, warnings);
    assert.ok(review.warnings.every((text) => text.length <= 256));
  });
}
