// A Pod that asks for credentials: what it gets, that it is undone exactly, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import { injectPod } from './inject-pod.ts';
import { listAt, objectAt } from './pod-shape.ts';
import { defaultInjectionSettings } from './settings.ts';
import { uninjectPod } from './uninject-pod.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const settings = defaultInjectionSettings({ version: '1.0.0', trustDomain, rootNamespace: 'weft' });

const podOf = (annotations: PlainObject, spec: PlainObject = {}): PlainObject => ({
  metadata: { name: 'web', annotations },
  spec: {
    securityContext: { runAsUser: 1000, fsGroup: 2000 },
    initContainers: [{ name: 'migrate' }],
    containers: [
      { name: 'app', volumeMounts: [{ name: 'data', mountPath: '/data' }] },
      { name: 'shipper', securityContext: { runAsUser: 1001 } },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
    ...spec,
  },
});

function injected(pod: PlainObject): PlainObject {
  const outcome = injectPod(pod, settings);
  assert.equal(outcome.kind, 'injected', 'reason' in outcome ? outcome.reason : '');
  return outcome.kind === 'injected' ? objectAt(outcome.pod, 'spec') : {};
}

const BOTH = { 'weft.dev/credentials': 'files,url' };
const MOUNT = { name: 'weft-credentials', mountPath: '/var/run/weft/credentials' };
const isOwn = ({ name }: PlainObject): boolean => name === 'weft-sidecar';

test('the sidecar alone can write to the volume in memory, and answers the users that the Pod runs as', () => {
  const spec = injected(podOf(BOTH));
  const volume = listAt(spec, 'volumes').find(({ name }) => name === MOUNT.name);
  assert.deepEqual(volume, {
    name: MOUNT.name,
    emptyDir: { medium: 'Memory', sizeLimit: '16Mi' },
  });
  const all = [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')];
  const sidecar = all.find(isOwn);
  assert.ok(sidecar);
  assert.ok(listAt(sidecar, 'volumeMounts').some((mount) => mount['readOnly'] === undefined));
  const args = sidecar['args'] as readonly string[];
  assert.deepEqual(args.slice(args.indexOf('--credentials-dir')), [
    '--credentials-dir',
    MOUNT.mountPath,
    '--credentials-socket',
    `${MOUNT.mountPath}/.socket`,
    '--credentials-allow',
    'uid=1000',
    '--credentials-allow',
    'uid=1001',
  ]);
  for (const name of ['migrate', 'app', 'shipper']) {
    const container = all.find((one) => one['name'] === name);
    assert.ok(container);
    assert.deepEqual(listAt(container, 'volumeMounts').at(-1), { ...MOUNT, readOnly: true });
  }
});

test('without the annotation nothing of it is there', () => {
  assert.doesNotMatch(JSON.stringify(injected(podOf({}))), /credentials/);
});

test('uninjectPod() gives back the Pod; a Pod that asks no more is injected anew without', () => {
  for (const mode of ['native', 'classic']) {
    const pod = podOf({ ...BOTH, 'weft.dev/sidecar-mode': mode });
    const once = injectPod(pod, settings);
    assert.ok(once.kind === 'injected');
    assert.equal(injectPod(once.pod, settings).kind, 'left', 'it has its sidecar already');
    const back = uninjectPod(once.pod);
    assert.deepEqual(back.kind === 'uninjected' && back.pod, pod);
    const metadata = objectAt(once.pod, 'metadata');
    const annotations = { ...objectAt(metadata, 'annotations') };
    delete annotations['weft.dev/credentials'];
    const asked = { ...once.pod, metadata: { ...metadata, annotations } };
    assert.doesNotMatch(JSON.stringify(injected(asked)), /credentials/);
  }
});

const REFUSED: readonly (readonly [string, PlainObject, RegExp])[] = [
  [
    'files without a group that could read them',
    podOf(BOTH, { securityContext: { runAsUser: 1 } }),
    /fsGroup: .* — set fsGroup/,
  ],
  [
    'a socket that nobody knows whom to answer',
    podOf(BOTH, { securityContext: { fsGroup: 1 } }),
    /does not say as which user it runs.* — set runAsUser, or name the users/,
  ],
  ['a way that is none', podOf({ 'weft.dev/credentials': 'env' }), /is no value of/],
  [
    'users by name',
    podOf({ ...BOTH, 'weft.dev/credentials-users': 'root' }),
    /is no value of .*write numbers/,
  ],
  [
    'a mount in its place',
    podOf(BOTH, {
      containers: [
        { name: 'app', volumeMounts: [{ name: 'data', mountPath: '/var/run/weft/credentials/x' }] },
      ],
    }),
    /is where credentials will be — mount it elsewhere/,
  ],
  [
    "a volume of injection's own name",
    podOf(BOTH, { volumes: [{ name: 'weft-credentials', hostPath: { path: '/tmp' } }] }),
    /weft-credentials is a name that only injection may use/,
  ],
];
for (const [what, pod, reason] of REFUSED) {
  test(`injectPod() refuses ${what}`, () => {
    const outcome = injectPod(pod, settings);
    assert.equal(outcome.kind, 'refused');
    assert.match(outcome.kind === 'refused' ? outcome.reason : '', reason);
  });
}

test('named users are answered where the image says as whom it runs', () => {
  const annotations = { 'weft.dev/credentials': 'url', 'weft.dev/credentials-users': '0, 1000' };
  const text = JSON.stringify(injected(podOf(annotations, { securityContext: {} })));
  assert.match(text, /"--credentials-allow","uid=0","--credentials-allow","uid=1000"/);
});
