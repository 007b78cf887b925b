// Names of images as runtimes read them, what a policy may say of them, and what it finds in a workload.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestKey } from '../../../test/support/tokens.ts';
import type { PlainObject } from '../policy/reader.ts';
import { findInImages } from './check-images.ts';
import type { CheckContext } from './check-workload.ts';
import { fitsPattern, parseImagePattern, parseImageReference } from './image-reference.ts';
import { parseWorkloadPolicy } from './parse-workload-policy.ts';
import type { WorkloadPolicy } from './types.ts';
import { readWorkload } from './workload.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

const REFERENCES: readonly (readonly [string, string | undefined])[] = [
  ['nginx', 'docker.io library/nginx - -'],
  ['nginx:1.27', 'docker.io library/nginx 1.27 -'],
  ['acme/web', 'docker.io acme/web - -'],
  ['index.docker.io/nginx', 'docker.io library/nginx - -'],
  ['registry.example.com/a/b:v1', 'registry.example.com a/b v1 -'],
  ['localhost:5000/a', 'localhost:5000 a - -'],
  ['localhost/a', 'localhost a - -'],
  ['Registry.Example.com/a', 'registry.example.com a - -'],
  [`registry.example.com/a:v1@${DIGEST}`, `registry.example.com a v1 ${DIGEST}`],
  [`nginx@${DIGEST}`, `docker.io library/nginx - ${DIGEST}`],
  ['', undefined],
  ['NGINX', undefined],
  ['a//b', undefined],
  ['a/../b', undefined],
  ['registry.example.com:99999/a', undefined],
  ['registry.example.com/', undefined],
  ['nginx:', undefined],
  ['nginx:-x', undefined],
  ['nginx@sha256:abc', undefined],
  [`nginx@sha512:${'ab'.repeat(64)}`, undefined],
  [`nginx@${DIGEST}@${DIGEST}`, undefined],
  ['http://registry.example.com/a', undefined],
  ['registry.example.com/a b', undefined],
];
for (const [text, expected] of REFERENCES) {
  test(`the image ${JSON.stringify(text)} is ${expected ?? 'refused'}`, () => {
    const found = parseImageReference(text);
    const shown = found && [
      found.registry,
      found.repository,
      found.tag ?? '-',
      found.digest ?? '-',
    ];
    assert.equal(shown?.join(' '), expected);
  });
}

const FITS: readonly (readonly [pattern: string, image: string, fits: boolean])[] = [
  ['registry.example.com/*', 'registry.example.com/a/b', true],
  ['registry.example.com/*', 'registry.example.com.evil.test/a', false],
  ['registry.example.com/*', 'evil.test/registry.example.com/a', false],
  ['registry.example.com/shop/*', 'registry.example.com/shop/web', true],
  ['registry.example.com/shop/*', 'registry.example.com/shop', false],
  ['registry.example.com/shop/*', 'registry.example.com/shopping/web', false],
  ['registry.example.com/shop', 'registry.example.com/shop/web', false],
  ['docker.io/nginx', 'nginx', true],
  ['docker.io/library/*', 'nginx:1', true],
  ['docker.io/library/*', 'acme/nginx', false],
];
for (const [pattern, image, fits] of FITS) {
  test(`${pattern} ${fits ? 'takes' : 'does not take'} ${image}`, () => {
    const [of, reference] = [parseImagePattern(pattern), parseImageReference(image)];
    assert.ok(of !== undefined && reference !== undefined);
    assert.equal(fitsPattern(reference, of), fits);
  });
}

test('a pattern that leaves open which registry is meant is none', () => {
  for (const text of [
    '*',
    'nginx',
    'shop/*',
    '*/a',
    'registry.example.com',
    'registry.example.com/a*',
  ]) {
    assert.equal(parseImagePattern(text), undefined, text);
  }
});

const manifest = (images: object): PlainObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'WorkloadPolicy',
  metadata: { name: 'images', namespace: 'shop' },
  spec: { images },
});

function policyOf(images: object): WorkloadPolicy {
  const parsed = parseWorkloadPolicy(manifest(images), 'WorkloadPolicy');
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  return parsed.value;
}

const KEY = createTestKey('ES256', 'k').privateKey;
const REFUSED: readonly (readonly [object, string, string])[] = [
  [{}, 'spec.images', 'empty-section'],
  [{ digests: 'any' }, 'spec.images', 'empty-section'],
  [{ allow: [] }, 'spec.images.allow', 'empty-list'],
  [{ allow: ['nginx'] }, 'spec.images.allow[0]', 'bad-image'],
  [{ digests: 'yes' }, 'spec.images.digests', 'unknown-value'],
  [{ digests: 'resolve' }, 'spec.images.digests', 'no-registry'],
  [{ signatures: [{ images: ['a.test/*'] }] }, 'spec.images.signatures[0]', 'no-signer'],
  [
    { signatures: [{ images: ['a.test/*'], keys: ['x'] }] },
    'spec.images.signatures[0].keys[0]',
    'bad-key',
  ],
  [
    {
      signatures: [{ images: ['a.test/*'], keys: [KEY.export({ type: 'pkcs8', format: 'pem' })] }],
    },
    'spec.images.signatures[0].keys[0]',
    'bad-key',
  ],
];
for (const [images, field, code] of REFUSED) {
  test(`${code} at ${field} is told`, () => {
    const { ok, problems } = parseWorkloadPolicy(manifest(images), 'WorkloadPolicy');
    assert.equal(ok, false);
    const found = problems.map((problem) => `${problem.field} ${problem.code}`);
    assert.ok(found.includes(`${field} ${code}`), found.join('; '));
  });
}

test('a policy that resolves images of no Pods is told so', () => {
  const { spec, ...rest } = manifest({ allow: ['a.test/*'], digests: 'resolve' });
  const kinds = { match: { kinds: ['Deployment'] }, ...(spec as object) };
  const { problems } = parseWorkloadPolicy({ ...rest, spec: kinds }, 'WorkloadPolicy');
  assert.deepEqual(
    problems.map(({ field, code }) => `${field} ${code}`),
    ['spec.images.digests no-pods'],
  );
});

function findings(
  images: object,
  spec: object,
  kind = 'Pod',
  more: Partial<CheckContext> = {},
): readonly string[] {
  const metadata = { name: 'web', namespace: 'shop' };
  const workload = readWorkload(
    kind === 'Pod'
      ? { apiVersion: 'v1', kind, metadata, spec }
      : { apiVersion: 'apps/v1', kind, metadata, spec: { template: { spec } } },
  );
  assert.ok(workload);
  const context = {
    nowMs: 0,
    rootNamespace: 'weft-system',
    captureImage: 'weft.test/weft:1',
    sidecarImage: 'weft.test/sidecar:1',
    ...more,
  };
  return findInImages(policyOf(images), { workload }, context).map(
    ({ check, text }) => `${check}: ${text}`,
  );
}

test('images of containers of every kind and of volumes are looked at', () => {
  const spec = {
    containers: [
      { name: 'good', image: `a.test/x@${DIGEST}` },
      { name: 'bad', image: 'b.test/x' },
    ],
    initContainers: [{ name: 'init', image: 'c.test/x' }],
    ephemeralContainers: [{ name: 'debug', image: 'd.test/x' }],
    volumes: [
      { name: 'models', image: { reference: 'e.test/x' } },
      { name: 'tmp', emptyDir: {} },
    ],
  };
  assert.deepEqual(findings({ allow: ['a.test/*'] }, spec), [
    'imageRegistry: container "bad": image "b.test/x" is from nowhere that is approved',
    'imageRegistry: init container "init": image "c.test/x" is from nowhere that is approved',
    'imageRegistry: ephemeral container "debug": image "d.test/x" is from nowhere that is approved',
    'imageRegistry: volume "models": image.reference "e.test/x" is from nowhere that is approved',
  ]);
  assert.equal(findings({ digests: 'required' }, spec).length, 4);
});

test('what is no name of an image is approved by nobody, and Weft’s own needs no approval where that is said', () => {
  const spec = {
    containers: [
      { name: 'a', image: 'A.test/X Y' },
      { name: 'w', image: 'weft.test/weft:1' },
      { name: 's', image: 'weft.test/sidecar:1' },
    ],
  };
  assert.equal(findings({ allow: ['a.test/*'] }, spec).length, 3);
  assert.equal(findings({ allow: ['a.test/*'], allowWeftImage: true }, spec).length, 1);
});

test('where tags are resolved, a Pod that got no digest is refused, and what makes Pods may name tags of what is approved', () => {
  const spec = {
    containers: [
      { name: 'tag', image: 'a.test/x:1' },
      { name: 'digest', image: `a.test/x:1@${DIGEST}` },
      { name: 'other', image: `b.test/x@${DIGEST}` },
    ],
  };
  const images = { allow: ['a.test/*'], digests: 'resolve' };
  const notApproved =
    'imageRegistry: container "other": image "b.test/x@' +
    DIGEST +
    '" is from nowhere that is approved';
  assert.deepEqual(findings(images, spec), [
    'imageDigest: container "tag": image "a.test/x:1" can become another image, and got no digest',
    notApproved,
  ]);
  assert.deepEqual(findings(images, spec, 'Deployment'), [notApproved]);
  assert.equal(findings({ ...images, digests: 'required' }, spec, 'Deployment').length, 2);
  const before = { isBeforeMutation: true };
  assert.deepEqual(findings(images, spec, 'Pod', before), [notApproved]);
  assert.equal(findings({ ...images, digests: 'required' }, spec, 'Pod', before).length, 2);
});
