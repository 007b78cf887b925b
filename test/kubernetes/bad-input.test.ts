// What people write wrongly around a mesh in a cluster: it is said where they look, and nothing is widened by it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { meshNodeMissing, type MeshNode, startMeshNode } from '../node/mesh-node.ts';
import { type GuardedShop, openGuardedShop, says, SHOP } from '../node/guarded-shop.ts';
import { container, podObject } from '../node/objects.ts';
import { agedToken, enrollingPod, shiftedClock, shiftMissing } from '../node/odd-enrolment.ts';
import { weft } from '../support/installation.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();

suite('bad input in a cluster', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  let shop: GuardedShop;
  before(async () => {
    mesh = await startMeshNode();
    shop = await openGuardedShop(mesh);
  });
  after(() => mesh[Symbol.asyncDispose]());

  test('without the validator, a policy that only the parser refuses says so and closes what it selects; a good version before it stays', async () => {
    await mesh.kubectl('delete', 'validatingwebhookconfiguration', 'weft-validator');
    await mesh.apply(
      shop.policy('shut', { rules: [{ from: [{ source: { ipBlocks: ['10.0.0.0/99'] } }] }] }),
    );
    await shop.waitFor('shut', 'Accepted=False');
    assert.match(
      await shop.conditionOf('shut', 'Accepted'),
      /spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]: .*10\.0\.0\.0\/99.* — /,
    );
    assert.match(await shop.conditionOf('shut', 'Enforced'), /False.*Invalid.*not in force/);
    await eventually(async () => !(await shop.mayCall('web')), {
      what: 'closed',
      withinMs: 10_000,
    });

    await mesh.apply(shop.policy('shut', { rules: [shop.from('web')] }));
    await shop.waitFor('shut', 'Enforced');
    assert.deepEqual([await shop.mayCall('web'), await shop.mayCall('cart')], [true, false]);

    await mesh.apply(
      shop.policy('shut', { rules: [{ to: [{ operation: { ports: ['70000'] } }] }] }),
    );
    await shop.waitFor('shut', 'Accepted=False');
    assert.deepEqual([await shop.mayCall('web'), await shop.mayCall('cart')], [true, false]);
    assert.match(await shop.conditionOf('shut', 'Accepted'), /ports\[0\]: .*70000/);
    await shop.removePolicy('shut');
    await eventually(() => shop.mayCall('cart'), { what: 'open again', withinMs: 10_000 });
  });

  test('a kind, a version or a field that is misspelt is refused by name, and no policy is made', async () => {
    const good = shop.policy('typo', { action: 'DENY', rules: [shop.from('cart')] });
    const cases: readonly (readonly [object: object, said: RegExp])[] = [
      [
        { ...good, apiVersion: 'security.weft.dev/v2' },
        /no matches for kind "AuthorizationPolicy" in version "security\.weft\.dev\/v2"/,
      ],
      [{ ...good, kind: 'AuthorisationPolicy' }, /no matches for kind "AuthorisationPolicy"/],
    ];
    for (const [object, said] of cases) {
      const end = await mesh.node.kubectl(['apply', '-f', '-'], { input: JSON.stringify(object) });
      assert.notEqual(end.code, 0, end.stdout);
      assert.match(end.stderr, said);
    }
    // The API server keeps a field that it does not know, so that the parser sees it.
    await mesh.apply(shop.policy('typo', { rulez: [shop.from('cart')] }));
    await shop.waitFor('typo', 'Accepted=False');
    assert.match(await shop.conditionOf('typo', 'Accepted'), /rulez/);
    await eventually(async () => !(await shop.mayCall('web')), {
      what: 'closed',
      withinMs: 10_000,
    });
    await shop.removePolicy('typo');
    await eventually(() => shop.mayCall('web'), { what: 'open again', withinMs: 10_000 });
  });

  const homes = async (): Promise<readonly string[]> => [
    await mesh.kubectl(
      'get',
      'mutatingwebhookconfiguration',
      'weft-injector',
      '-o=jsonpath={.webhooks[*].clientConfig.service.namespace}',
    ),
    await mesh.kubectl(
      'get',
      'clusterrolebinding',
      'weft-control-plane',
      '-o=jsonpath={.subjects[*].namespace}',
    ),
  ];

  test('a second Weft in another namespace is refused with the reason, and the first is as it was', async () => {
    const before = await homes();
    const end = await weft(mesh.node.cluster, [
      'install',
      '--namespace',
      'other-mesh',
      '--set',
      'trustDomain=other.example',
      '--no-wait',
    ]);
    assert.notEqual(end.code, 0, end.stdout);
    assert.match(
      end.stderr,
      /Cannot install in namespace other-mesh: the Weft of this cluster is in weft-system/,
    );
    const removal = await weft(mesh.node.cluster, ['uninstall', '--namespace', 'other-mesh']);
    assert.match(removal.stderr, /Cannot uninstall in namespace other-mesh: .* is in weft-system/);
    assert.deepEqual(await homes(), before);
    const found = await mesh.node.kubectl([
      'get',
      'deployment',
      'weft-control-plane',
      '-n',
      'other-mesh',
    ]);
    assert.notEqual(found.code, 0);
    const told = await weft(mesh.node.cluster, ['check', '--pre', '--namespace', 'other-mesh']);
    assert.match(told.stdout, /a Weft is installed in namespace weft-system/);
  });

  test('a Pod that has the proxy of another mesh is refused, with the cure', async () => {
    const pod = {
      containers: [container('app', 'test/shell'), container('istio-proxy', 'test/shell')],
    };
    const input = JSON.stringify(podObject({ name: 'both', namespace: SHOP }, pod));
    const made = await mesh.node.kubectl(['create', '-f', '-'], { input });
    assert.notEqual(made.code, 0);
    assert.match(made.stderr, /istio-proxy.*Istio/);
    assert.match(made.stderr, /weft\.dev\/inject/);
  });

  const sidecarLog = (pod: string): string => mesh.node.logs(`${SHOP}/${pod}`, 'sidecar');

  test('a token of another audience, of no Pod, of another Pod, of one that is gone, or expired gives no identity; the log of the control plane says why', async () => {
    const bound = (pod: string): readonly string[] => [
      '--bound-object-kind=Pod',
      `--bound-object-name=${pod}`,
    ];
    const token = async (...more: readonly string[]): Promise<string> =>
      (await mesh.kubectl('create', 'token', 'web', '-n', SHOP, ...more)).trim();
    const idle = { serviceAccountName: 'web', containers: [container('x', 'test/shell')] };
    const labels = { 'weft.dev/inject': 'false' };
    const other = { name: 'other', namespace: SHOP, labels };
    const gone = { name: 'gone', namespace: SHOP, labels };
    await mesh.apply(podObject(other, idle), podObject(gone, idle));
    const ofWeft = '--audience=weft-ca';
    const keyFile = join(mesh.node.cluster.dir, 'keys', 'accounts.key');
    const cases = {
      audience: {
        token: () => token('--audience=other', ...bound('audience')),
        why: /does not accept the token: .*audience/,
      },
      unbound: { token: () => token(ofWeft), why: /the token of shop\/web is not bound to a Pod/ },
      another: {
        token: () => token(ofWeft, ...bound('other')),
        why: /is bound to Pod shop\/other, and another is claimed/,
      },
      deleted: { token: () => token(ofWeft, ...bound('gone')), why: /does not accept the token/ },
      expired: {
        token: async () => agedToken(await token(ofWeft, ...bound('expired')), keyFile, 86_400),
        why: /does not accept the token: .*expired/,
      },
    };
    for (const [name, each] of Object.entries(cases)) {
      const secret = `token-${name}`;
      await mesh.apply(enrollingPod({ name, namespace: SHOP, account: 'web', secret }));
      await mesh.apply({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: secret, namespace: SHOP },
        stringData: { token: await each.token() },
      });
      if (name === 'deleted') await mesh.kubectl('delete', 'pod', 'gone', '-n', SHOP, '--now');
    }
    for (const [name, { why }] of Object.entries(cases)) {
      await says(/is not accepted for this Pod: the log of the control plane says why/, () =>
        sidecarLog(name),
      );
      await says(why, shop.controlPlaneLog);
      assert.doesNotMatch(sidecarLog(name), /certificate in use/, name);
    }
    await mesh.kubectl('delete', 'pod', '-n', SHOP, '--now', 'other', ...Object.keys(cases));
  });

  test('a sidecar whose clock is ten minutes ahead gets an identity; one whose clock is ten minutes behind says that it is the clock', {
    skip: shiftMissing() ?? false,
  }, async () => {
    const { folder } = mesh.node;
    const odd = { namespace: SHOP, account: 'web' };
    await mesh.apply(
      enrollingPod({ ...odd, name: 'ahead', preload: shiftedClock(folder, 600) }),
      enrollingPod({ ...odd, name: 'behind', preload: shiftedClock(folder, -600) }),
    );
    await mesh.kubectl('wait', 'pod/ahead', '-n', SHOP, '--for=condition=Ready', '--timeout=60s');
    const [, time = ''] = /"time":"([^"]*)"/.exec(sidecarLog('ahead')) ?? [];
    assert.ok(Date.parse(time) > Date.now() + 500_000, `its clock is ${time}`);
    await says(/certificate is not yet valid.*clock/, () => sidecarLog('behind'));
    assert.doesNotMatch(sidecarLog('behind'), /certificate in use/);
    await mesh.kubectl('delete', 'pod', '-n', SHOP, '--now', 'ahead', 'behind');
  });
});
