// A Pod that asks for the Workload API: what it gets, that it is undone exactly, and what is refused.
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

const ASKED = { 'weft.dev/workload-api': 'true' };
const MOUNT = { name: 'weft-workload-api', mountPath: '/var/run/weft/workload-api' };
const VARIABLE = {
  name: 'SPIFFE_ENDPOINT_SOCKET',
  value: 'unix:/var/run/weft/workload-api/socket',
};

const podOf = (annotations: PlainObject, spec: PlainObject = {}): PlainObject => ({
  metadata: { name: 'web', annotations },
  spec: {
    securityContext: { runAsUser: 1000 },
    initContainers: [{ name: 'migrate' }],
    containers: [
      { name: 'app', env: [{ name: 'A', value: 'b' }] },
      { name: 'shipper', securityContext: { runAsUser: 1001 } },
    ],
    ...spec,
  },
});

function injected(pod: PlainObject): PlainObject {
  const outcome = injectPod(pod, settings);
  assert.equal(outcome.kind, 'injected', 'reason' in outcome ? outcome.reason : '');
  return outcome.kind === 'injected' ? objectAt(outcome.pod, 'spec') : {};
}

test('the sidecar alone can write where the socket is, and answers the users that the Pod runs as', () => {
  const spec = injected(podOf(ASKED));
  assert.deepEqual(
    listAt(spec, 'volumes').find(({ name }) => name === MOUNT.name),
    { name: MOUNT.name, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  );
  const all = [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')];
  const sidecar = all.find(({ name }) => name === 'weft-sidecar');
  assert.ok(sidecar);
  assert.deepEqual(listAt(sidecar, 'volumeMounts').at(-1), MOUNT);
  const args = sidecar['args'] as readonly string[];
  assert.deepEqual(args.slice(args.indexOf('--workload-api')), [
    '--workload-api',
    VARIABLE.value,
    '--workload-api-mode',
    '0666',
    '--workload-api-allow',
    'uid=1000',
    '--workload-api-allow',
    'uid=1001',
  ]);
  for (const name of ['migrate', 'app', 'shipper']) {
    const container = all.find((one) => one['name'] === name);
    assert.ok(container);
    assert.deepEqual(listAt(container, 'volumeMounts').at(-1), { ...MOUNT, readOnly: true });
    assert.deepEqual(listAt(container, 'env').at(-1), VARIABLE);
  }
});

test('without the annotation, or where it says no, nothing of it is there', () => {
  for (const annotations of [{}, { 'weft.dev/workload-api': 'false' }]) {
    assert.doesNotMatch(JSON.stringify(injected(podOf(annotations))), /workload-api|SPIFFE/);
  }
});

test('uninjectPod() gives back the Pod; a Pod that asks no more is injected anew without', () => {
  for (const mode of ['native', 'classic']) {
    const pod = podOf({
      ...ASKED,
      'weft.dev/credentials': 'url',
      'weft.dev/sidecar-mode': mode,
    });
    const once = injectPod(pod, settings);
    assert.ok(once.kind === 'injected');
    assert.equal(injectPod(once.pod, settings).kind, 'left', 'it has its sidecar already');
    const back = uninjectPod(once.pod);
    assert.deepEqual(back.kind === 'uninjected' && back.pod, pod);
  }
  const own = podOf({ other: 'yes' }, { containers: [{ name: 'app', env: [VARIABLE] }] });
  const once = injectPod(own, settings);
  assert.ok(once.kind === 'injected');
  const back = uninjectPod(once.pod);
  assert.deepEqual(back.kind === 'uninjected' && back.pod, own, "the author's own stays");
});

const REFUSED: readonly (readonly [string, PlainObject, RegExp])[] = [
  ['without a known user', podOf(ASKED, { securityContext: {} }), /no-users/],
  [
    'with a variable of its own',
    podOf(ASKED, {
      containers: [{ name: 'app', env: [{ name: VARIABLE.name, value: 'unix:/x' }] }],
    }),
    /workload-api-variable/,
  ],
  [
    'with something mounted there',
    podOf(ASKED, {
      containers: [
        { name: 'app', volumeMounts: [{ name: 'x', mountPath: `${MOUNT.mountPath}/socket` }] },
      ],
    }),
    /workload-api-folder/,
  ],
  [
    'with a volume of that name',
    podOf(ASKED, { volumes: [{ name: MOUNT.name, emptyDir: {} }] }),
    /reserved-name/,
  ],
];
for (const [what, pod, code] of REFUSED) {
  test(`a Pod ${what} is refused`, () => {
    const outcome = injectPod(pod, settings);
    assert.equal(outcome.kind, 'refused');
    assert.match(JSON.stringify(outcome), code);
  });
}

test('named users are answered where an image says as whom it runs', () => {
  const pod = podOf({ ...ASKED, 'weft.dev/workload-api-users': '7' }, { securityContext: {} });
  assert.match(JSON.stringify(injected(pod)), /"--workload-api-allow","uid=7"/);
});
