// A Pod whose gRPC programs need no proxy: whose the key is, what its containers are told, that nothing is redirected, that it is undone exactly, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import type { PlainObject } from '@weft/model/policy/reader';
import { injectPod } from './inject-pod.ts';
import { containersOf, listAt, objectAt } from './pod-shape.ts';
import { defaultInjectionSettings } from './settings.ts';
import { uninjectPod } from './uninject-pod.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const settings = defaultInjectionSettings({ version: '1.0.0', trustDomain, rootNamespace: 'weft' });

const ASKED = { 'weft.dev/proxy': 'none' };
const FOLDER = '/var/run/weft/grpc';
const MOUNT = { name: 'weft-grpc', mountPath: FOLDER };
const BOOTSTRAP = { name: 'GRPC_XDS_BOOTSTRAP', value: `${FOLDER}/bootstrap.json` };
const RULES = { name: 'GRPC_XDS_EXPERIMENTAL_RBAC', value: 'true' };
const NAMES = { name: 'GRPC_EXPERIMENTAL_XDS_SNI', value: 'true' };

const podOf = (annotations: PlainObject, spec: PlainObject = {}): PlainObject => ({
  metadata: { name: 'prices', annotations: { ...ASKED, ...annotations } },
  spec: {
    securityContext: { runAsUser: 1000 },
    initContainers: [{ name: 'migrate' }],
    containers: [
      {
        name: 'app',
        env: [{ name: 'A', value: 'b' }],
        readinessProbe: { tcpSocket: { port: 8080 } },
      },
    ],
    ...spec,
  },
});

function outcomeOf(pod: PlainObject) {
  const outcome = injectPod(pod, settings);
  assert.equal(outcome.kind, 'injected', 'reason' in outcome ? outcome.reason : '');
  assert.ok(outcome.kind === 'injected');
  const spec = objectAt(outcome.pod, 'spec');
  const named = new Map(containersOf(spec).map((placed) => [placed.name, placed.container]));
  return { ...outcome, spec, named, agent: named.get('weft-sidecar') ?? {} };
}

const CURES: readonly (readonly [string, PlainObject, PlainObject, number])[] = [
  ['the one that all containers run as', {}, {}, 1000],
  [
    'the one that is named where images decide',
    { 'weft.dev/grpc-user': '7' },
    { securityContext: {} },
    7,
  ],
  ['root, without a right, where the program is root', { 'weft.dev/grpc-user': '0' }, {}, 0],
];
for (const [what, annotations, change, uid] of CURES) {
  test(`the agent runs as the user whose the key is: ${what}`, () => {
    const { agent, spec } = outcomeOf(podOf(annotations, change));
    const { runAsUser, runAsGroup, runAsNonRoot, capabilities, readOnlyRootFilesystem } = objectAt(
      agent,
      'securityContext',
    );
    assert.deepEqual([runAsUser, runAsGroup, runAsNonRoot], [uid, uid, uid !== 0]);
    assert.deepEqual([capabilities, readOnlyRootFilesystem], [{ drop: ['ALL'] }, true]);
    assert.deepEqual(
      listAt(spec, 'volumes').find(({ name }) => name === MOUNT.name),
      { name: MOUNT.name, emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } },
    );
    assert.deepEqual(listAt(agent, 'volumeMounts').at(-1), MOUNT, 'it alone may write');
  });
}

test('nothing is redirected and no probe is turned: the agent is there before the program, and asked at its own port', () => {
  const { agent, named, spec } = outcomeOf(podOf({}));
  assert.deepEqual(
    listAt(spec, 'initContainers').map(({ name }) => name),
    ['weft-sidecar', 'migrate'],
  );
  assert.equal(agent['restartPolicy'], 'Always');
  const args = agent['args'] as readonly string[];
  assert.deepEqual(args.slice(-4), ['--proxy', 'none', '--grpc-bootstrap', BOOTSTRAP.value]);
  assert.ok(!args.includes('--transparent') && !args.includes('--access-log'));
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
    assert.equal(objectAt(objectAt(agent, probe), 'httpGet')['port'], 15_021);
  }
  assert.deepEqual(named.get('app')?.['readinessProbe'], { tcpSocket: { port: 8080 } });
  assert.doesNotMatch(JSON.stringify(listAt(agent, 'env')), /WEFT_APP_PROBES/);
});

test('every container of the Pod is told where the bootstrap is, and cannot write there', () => {
  const { named } = outcomeOf(podOf({}));
  for (const name of ['migrate', 'app']) {
    const container = named.get(name) ?? {};
    assert.deepEqual(listAt(container, 'volumeMounts').at(-1), { ...MOUNT, readOnly: true });
    assert.deepEqual(listAt(container, 'env').slice(-3), [BOOTSTRAP, RULES, NAMES]);
  }
});

test('a program that throws a switch itself is told once, and keeps its word when it is undone', () => {
  const silent = { ...NAMES, value: 'false' };
  const own = podOf({}, { containers: [{ name: 'app', env: [RULES, silent] }] });
  const once = outcomeOf(own);
  const env = listAt(once.named.get('app') ?? {}, 'env');
  assert.deepEqual(env, [RULES, silent, BOOTSTRAP]);
  const back = uninjectPod(once.pod);
  assert.deepEqual(back.kind === 'uninjected' && back.pod, own);
});

test('uninjectPod() gives back the Pod, in every mode, and injecting twice changes nothing', () => {
  for (const mode of ['native', 'classic']) {
    const pod = podOf({ 'weft.dev/sidecar-mode': mode });
    const { pod: once } = outcomeOf(pod);
    assert.equal(injectPod(once, settings).kind, 'left', 'it has its agent already');
    const back = uninjectPod(once);
    assert.deepEqual(back.kind === 'uninjected' && back.pod, pod);
  }
});

test('a Pod that only says that it has its agent, or whose program could write what the agent does, is injected', () => {
  const { pod: real, spec } = outcomeOf(podOf({}));
  const changed = (change: (container: PlainObject) => PlainObject): PlainObject => ({
    ...real,
    spec: { ...spec, containers: listAt(spec, 'containers').map(change) },
  });
  for (const forged of [
    changed((app) => ({ ...app, volumeMounts: [], env: listAt(app, 'env').slice(0, 1) })),
    changed((app) => ({ ...app, volumeMounts: [MOUNT] })),
    { ...real, spec: objectAt(podOf({}), 'spec') },
  ]) {
    const outcome = injectPod(forged, settings);
    assert.ok(outcome.kind === 'injected', 'reason' in outcome ? outcome.reason : '');
    assert.deepEqual(outcome.pod['spec'], spec);
  }
});

test('a Pod that turns from a proxy to none, and back, has the parts of the one it asks for', () => {
  const plain = podOf({ 'weft.dev/proxy': 'weft' });
  const proxied = outcomeOf(plain);
  const annotations = objectAt(objectAt(proxied.pod, 'metadata'), 'annotations');
  const asking = (proxy: string): PlainObject => ({
    annotations: { ...annotations, 'weft.dev/proxy': proxy },
  });
  const turned = outcomeOf({ ...proxied.pod, metadata: asking('none') });
  assert.deepEqual(turned.spec, outcomeOf(podOf({})).spec);
  const back = outcomeOf({ ...turned.pod, metadata: asking('weft') });
  assert.deepEqual(back.spec, proxied.spec);
  assert.doesNotMatch(JSON.stringify(back.spec), /grpc/i);
});

test('it takes less, and what the Pod says of that holds and is judged by what it takes', () => {
  const { agent } = outcomeOf(podOf({}));
  assert.deepEqual(agent['resources'], {
    requests: { cpu: '10m', memory: '64Mi' },
    limits: { memory: '128Mi' },
  });
  const outcome = injectPod(podOf({ 'weft.dev/sidecar-memory': '200Mi' }), settings);
  assert.match(JSON.stringify(outcome), /request-above-limit.*128Mi/);
});

test('what would take traffic past a proxy is no matter where there is none: users, rights and its ports', () => {
  const app = {
    name: 'app',
    ports: [{ containerPort: 15_006 }],
    securityContext: { runAsUser: 1337, privileged: true },
  };
  const { warnings } = outcomeOf(podOf({}, { initContainers: [], containers: [app] }));
  assert.deepEqual(warnings, []);
});

test('a probe of the kubelet by gRPC is warned of, but where the port is said to be outside the mesh', () => {
  const containers = [{ name: 'app', ports: [], livenessProbe: { grpc: { port: 8081 } } }];
  const { warnings } = outcomeOf(podOf({}, { containers }));
  assert.match(warnings.join(), /^spec\.containers\[0\]\.livenessProbe\.grpc: /);
  const excluded = { 'weft.dev/exclude-inbound-ports': '8081' };
  assert.deepEqual(outcomeOf(podOf(excluded, { containers })).warnings, []);
});

test('whose the key is has no effect beside a proxy, and is warned of', () => {
  const { warnings, spec } = outcomeOf(
    podOf({ 'weft.dev/proxy': 'weft', 'weft.dev/grpc-user': '7' }),
  );
  assert.match(warnings.join(), /grpc-user has no effect/);
  assert.doesNotMatch(JSON.stringify(spec), /GRPC|weft-grpc/);
});

const withEnv = (entry: PlainObject): PlainObject => ({
  containers: [{ name: 'app', env: [entry] }],
});
const REFUSED: readonly (readonly [string, PlainObject, RegExp])[] = [
  ['without a known user', podOf({}, { securityContext: {} }), /no-user.*does not say/],
  [
    'of several users',
    podOf({}, { containers: [{ name: 'a', securityContext: { runAsUser: 1 } }] }),
    /no-user.*\(1000, 1\)/,
  ],
  [
    'with a bootstrap of its own',
    podOf({}, withEnv({ ...BOOTSTRAP, value: '/x' })),
    /grpc-variable/,
  ],
  ['that names our bootstrap itself', podOf({}, withEnv(BOOTSTRAP)), /grpc-variable/],
  ['that switches rules off', podOf({}, withEnv({ ...RULES, value: 'false' })), /grpc-variable/],
  [
    'that takes from elsewhere whether rules are on',
    podOf(
      {},
      withEnv({ name: RULES.name, valueFrom: { configMapKeyRef: { name: 'x', key: 'y' } } }),
    ),
    /grpc-variable/,
  ],
  [
    'with something mounted there',
    podOf(
      {},
      {
        containers: [
          { name: 'a', volumeMounts: [{ name: 'x', mountPath: `${FOLDER}/bootstrap.json.d` }] },
        ],
      },
    ),
    /grpc-folder/,
  ],
  ['with a volume of that name', podOf({}, { volumes: [{ name: MOUNT.name }] }), /reserved-name/],
  [
    "with the agent's port",
    podOf({}, { containers: [{ name: 'a', ports: [{ containerPort: 15_020 }] }] }),
    /sidecar-port/,
  ],
  ['with a user that is no number', podOf({ 'weft.dev/grpc-user': '1000,1001' }), /bad-annotation/],
  ...(
    [
      ['capture', 'none'],
      ['capture', 'init'],
      ['exclude-outbound-ports', '5432'],
      ['exclude-outbound-cidrs', '10.0.0.0/8'],
      ['access-log', 'all'],
      ['credentials', 'url'],
      ['credentials-users', '1000'],
      ['workload-api', 'true'],
      ['workload-api-users', '1000'],
    ] as const
  ).map(
    ([name, value]) =>
      [
        `that asks for weft.dev/${name}: ${value}`,
        podOf({ [`weft.dev/${name}`]: value }),
        /not-without-proxy/,
      ] as const,
  ),
];
for (const [what, pod, code] of REFUSED) {
  test(`a Pod without a proxy ${what} is refused`, () => {
    const outcome = injectPod(pod, settings);
    assert.equal(outcome.kind, 'refused');
    assert.match(JSON.stringify(outcome), code);
  });
}

test('what says no, or steers the agent, is taken', () => {
  const { agent } = outcomeOf(
    podOf({
      'weft.dev/workload-api': 'false',
      'weft.dev/log-level': 'debug',
      'weft.dev/drain-time': '3s',
      'weft.dev/exclude-inbound-ports': '9100',
    }),
  );
  const args = (agent['args'] as readonly string[]).join(' ');
  assert.match(args, /--log-level debug --drain-limit 3s --proxy none/);
});
