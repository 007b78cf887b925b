// The validating webhook under a real API server: what is misspelt never gets in, and without the webhook it closes what it selects.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Authority, openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { reviewPolicy } from '@weft/controlplane/admission/review-policy';
import { openWebhookServer, type ReviewOutcome } from '@weft/controlplane/admission/webhook-server';
import {
  startWebhookCaBundles,
  VALIDATOR,
  type WebhookCaBundles,
} from '@weft/controlplane/kubernetes/webhook-ca-bundle';
import { openKubernetesSource } from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { objectAt, textAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  NAMESPACES,
  VALIDATING_WEBHOOKS,
} from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { installCrds, whyNot } from '../support/kube-objects.ts';
import { type Kubelab, type KubectlEnd, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = kubelabMissing() ?? false;
const only = { skip };
const log = pino({ level: 'silent' });
const ROOT = 'weft-system';

const owned = new AsyncDisposableStack();
let lab: Kubelab;
let authority: Authority;
let bundles: WebhookCaBundles;
let warnings: readonly string[] = [];
const outcomes: ReviewOutcome[] = [];

const policy = (name: string, spec: object, namespace = 'shop'): PlainObject => ({
  apiVersion: apiVersionOf(AUTHORIZATION_POLICIES),
  kind: AUTHORIZATION_POLICIES.kind,
  metadata: { name, namespace },
  spec,
});
/** Sent as by a client that asks for no check of its own. */
const apply = (object: PlainObject): Promise<KubectlEnd> =>
  lab.kubectl(['apply', '--validate=false', '-f', '-'], { input: JSON.stringify(object) });

const MISSPELT = { rules: [{ from: [{ source: { namespaces: ['shop'], principal: ['x'] } }] }] };

before(async () => {
  if (skip !== false) return;
  lab = owned.use(await startKubelab({ controllers: [] }));
  await installCrds(lab);
  for (const name of ['shop', ROOT]) {
    const made = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    const created = await lab.client.create(NAMESPACES, made);
    assert.ok(created.ok, whyNot(created));
  }
  const before_ = await apply(policy('older', MISSPELT));
  assert.equal(before_.code, 0, before_.stderr);
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  authority = owned.use(await openAuthority({ store: createMemoryStore(), trustDomain }));
  const server = owned.use(
    await openWebhookServer({
      address: { host: '127.0.0.1', port: 0 },
      authority,
      dnsNames: ['weft-control-plane.weft-system.svc'],
      ipAddresses: ['127.0.0.1'],
      reviews: new Map([
        [
          '/validate',
          (request) => {
            const decision = reviewPolicy(request, { rootNamespace: ROOT });
            return { ...decision, warnings: [...decision.warnings, ...warnings] };
          },
        ],
      ]),
      onOutcome: (_path, outcome) => outcomes.push(outcome),
      log,
    }),
  );
  const configured = await lab.client.create(VALIDATING_WEBHOOKS, {
    apiVersion: apiVersionOf(VALIDATING_WEBHOOKS),
    kind: VALIDATING_WEBHOOKS.kind,
    metadata: { name: VALIDATOR },
    webhooks: [
      {
        name: 'policy.validator.weft.dev',
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Fail',
        clientConfig: { url: `https://127.0.0.1:${server.address.port}/validate` },
        rules: [
          {
            apiGroups: ['security.weft.dev', 'mesh.weft.dev'],
            apiVersions: ['v1'],
            operations: ['CREATE', 'UPDATE'],
            resources: ['*'],
          },
        ],
      },
    ],
  });
  assert.ok(configured.ok, whyNot(configured));
  bundles = owned.use(
    startWebhookCaBundles({
      client: lab.client,
      bundle: () => authority.bundle(),
      onBundleChange: (listener) => authority.onBundleChange(() => listener()),
      configurations: [{ resource: VALIDATING_WEBHOOKS, name: VALIDATOR }],
      log,
      clock: systemClock,
    }),
  );
  // The API server lets by whatever it is asked before it knows of the webhook.
  await eventually(
    async () =>
      (await apply(policy('first', { rules: [{}] }))).code === 0 && outcomes.includes('allowed'),
    {
      what: 'a webhook that is reached',
      withinMs: 20_000,
      told: () => bundles.problems.join(),
    },
  );
});
after(() => owned.disposeAsync());

test(
  'a misspelt field is refused by the webhook, though the client asked for no check',
  only,
  async () => {
    const { code, stderr } = await apply(policy('p', MISSPELT));
    assert.equal(code, 1);
    assert.match(
      stderr,
      /admission webhook "policy\.validator\.weft\.dev" denied the request: AuthorizationPolicy shop\/p cannot be in force as written: spec\.rules\[0\]\.from\[0\]\.source\.principal: unknown field "principal" — did you mean "principals"\?/,
    );
  },
);

test('what passes the schema and not the parser is refused with its field', only, async () => {
  const spec = { rules: [{ from: [{ source: { ipBlocks: ['10.0.0.0/99'] } }] }] };
  const { code, stderr } = await apply(policy('p', spec));
  assert.equal(code, 1);
  assert.match(stderr, /spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]: .*no IP address/);
});

test(
  'a misspelt policy that came in before the webhook closes what it selects (threat: fail open)',
  only,
  async () => {
    await using source = await openKubernetesSource({
      client: lab.client,
      rootNamespace: ROOT,
      log,
      clock: systemClock,
      random: Math.random,
    });
    const key = 'AuthorizationPolicy/shop/older';
    assert.equal(source.state.snapshot.objects.get(key)?.kind, 'BrokenPolicy');
    assert.equal(source.state.origins?.get(key)?.isGood, false);
  },
);

test(
  'one that is bad already can be labelled, and not changed into another bad one',
  only,
  async () => {
    const labelled = await lab.kubectl(['label', 'wap', 'older', '-n', 'shop', 'team=a']);
    assert.equal(labelled.code, 0, labelled.stderr);
    assert.match(labelled.stderr, /still not in force as written/);
    const worse = await apply(policy('older', { ...MISSPELT, action: 'DENY' }));
    assert.equal(worse.code, 1);
  },
);

test('warnings are shown by kubectl', only, async () => {
  warnings = ['weft: would newly refuse somebody'];
  const { code, stderr } = await apply(policy('warned', { rules: [{}] }));
  warnings = [];
  assert.equal(code, 0);
  assert.match(stderr, /Warning: weft: would newly refuse somebody/);
});

test('a policy near the size that etcd takes is reviewed', only, async () => {
  const values = Array.from({ length: 4_000 }, (_, at) => `${'x'.repeat(200)}${at}`);
  const spec = { rules: [{ from: [{ source: { principals: values } }] }] };
  const created = await lab.client.create(AUTHORIZATION_POLICIES, policy('large', spec));
  assert.ok(created.ok, whyNot(created));
});

const kept = async (): Promise<string> => {
  const found = await lab.client.get(VALIDATING_WEBHOOKS, { name: VALIDATOR });
  assert.ok(found.ok, whyNot(found));
  const [first]: readonly unknown[] = Array.isArray(found.value['webhooks'])
    ? found.value['webhooks']
    : [];
  const text = isPlainObject(first) ? textAt(objectAt(first, 'clientConfig'), 'caBundle') : '';
  return Buffer.from(text ?? '', 'base64').toString();
};
const isKept = (): Promise<true> =>
  eventually(async () => (await kept()) === authority.bundle().pem, {
    what: 'the bundle in the webhook configuration',
    withinMs: 20_000,
    told: () => bundles.problems.join(),
  });

test(
  'a bundle that somebody edits is put back, and meanwhile nothing is let by',
  only,
  async () => {
    await using other = await openAuthority({
      store: createMemoryStore(),
      trustDomain: authority.trustDomain,
    });
    const value = Buffer.from(other.bundle().pem).toString('base64');
    const path = '/webhooks/0/clientConfig/caBundle';
    const edited = await lab.client.patch(
      VALIDATING_WEBHOOKS,
      { name: VALIDATOR },
      { type: 'json', patch: [{ op: 'replace', path, value }] },
    );
    assert.ok(edited.ok, whyNot(edited));
    assert.equal((await apply(policy('p', MISSPELT))).code, 1);
    await isKept();
  },
);

test(
  'a new root is in the webhook configuration, and reviews go on with its certificates',
  only,
  async () => {
    const before_ = await kept();
    const started = await authority.startRotation();
    assert.ok(started.ok);
    await isKept();
    const both = await kept();
    assert.ok(both.length > before_.length, 'both roots');
    await eventually(async () => (await apply(policy('first', { rules: [] }))).code === 0, {
      what: 'a review after the rotation began',
      withinMs: 20_000,
    });
    assert.deepEqual(bundles.problems, []);
  },
);

test('nothing was asked that could not be answered', only, () => {
  assert.deepEqual(
    outcomes.filter((outcome) => outcome === 'refused' || outcome === 'failed'),
    [],
  );
});
