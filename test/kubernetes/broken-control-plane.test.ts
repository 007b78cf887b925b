// A control plane in a cluster that lacks what it needs (rights, its CA, its kinds): it says what, widens nothing, and goes on when it is back.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { CONFIG_MAPS, SECRETS } from '@weft/kube/resource';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  ROOT_NAMESPACE,
  startMeshNode,
} from '../node/mesh-node.ts';
import { type GuardedShop, openGuardedShop, says, SHOP } from '../node/guarded-shop.ts';
import { eventually } from '../support/lab-wait.ts';
import { deleteKind } from '../support/kinds-gone.ts';

const skip = await meshNodeMissing();

suite('a control plane that lacks something', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  let shop: GuardedShop;
  before(async () => {
    mesh = await startMeshNode();
    shop = await openGuardedShop(mesh);
  });
  after(() => mesh[Symbol.asyncDispose]());

  const bundle = async (): Promise<string> => {
    const target = { namespace: ROOT_NAMESPACE, name: 'weft-trust-bundle' };
    const found = await mesh.node.client.get(CONFIG_MAPS, target);
    return found.ok ? (textAt(found.value, 'data', 'bundle.pem') ?? '') : '';
  };

  type Rule = {
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly verbs: readonly string[];
  };

  /** Takes a verb on a resource away from the control plane's ClusterRole. It is given back afterwards. */
  async function withoutRight(
    resource: string,
    verbs: readonly string[],
    meanwhile: () => Promise<void>,
  ): Promise<void> {
    const text = await mesh.kubectl('get', 'clusterrole', 'weft-control-plane', '-o=json');
    const { rules }: { rules: readonly Rule[] } = JSON.parse(text);
    const left = rules.flatMap((rule) => {
      if (rule.resources?.includes(resource) !== true) return [rule];
      const others = rule.resources.filter((one) => one !== resource);
      return [
        { ...rule, resources: others },
        {
          ...rule,
          resources: [resource],
          verbs: rule.verbs.filter((verb) => !verbs.includes(verb)),
        },
      ].filter((one) => one.resources.length > 0 && one.verbs.length > 0);
    });
    assert.notDeepEqual(left, rules);
    const put = async (next: readonly Rule[]): Promise<void> => {
      const patch = JSON.stringify({ rules: next });
      await mesh.kubectl('patch', 'clusterrole', 'weft-control-plane', '--type=merge', '-p', patch);
    };
    await put(left);
    try {
      await meanwhile();
    } finally {
      await put(rules);
    }
  }

  test('who may not write a status says which verb on which resource, enforces all the same, and writes it when it may', async () => {
    await withoutRight('authorizationpolicies/status', ['patch'], async () => {
      await mesh.apply(shop.policy('web-only', { rules: [shop.from('web')] }));
      await eventually(async () => !(await shop.mayCall('cart')), {
        what: 'enforced',
        withinMs: 10_000,
      });
      const missing =
        /verb \\?"patch\\?" on \\?"authorizationpolicies(\.security\.weft\.dev)?\/status/;
      await says(missing, shop.controlPlaneLog);
      await says(
        /FAILED +rights: .*may not patch authorizationpolicies\.security\.weft\.dev\/status/,
        shop.check,
      );
    });
    await shop.waitFor('web-only', 'Enforced');
  });

  test('who may not have tokens reviewed tells the Pod that waits, and enrols it when it may', async () => {
    await withoutRight('tokenreviews', ['create'], async () => {
      await mesh.apply(shop.deployment('late', callerPod('web')));
      const pod = await eventually(async () => (await mesh.podsOf(SHOP, 'late'))[0], {
        what: 'a Pod',
      });
      const missing = /verb \\?"create\\?" on \\?"tokenreviews/;
      await says(/the control plane cannot check tokens now; its log says why/, () =>
        mesh.sidecarLogs(SHOP, 'late'),
      );
      await says(/EnrolmentRefused.*tokenreviews/, () =>
        mesh.kubectl('describe', 'pod', pod, '-n', SHOP),
      );
      await says(missing, shop.controlPlaneLog);
      await says(/FAILED +rights: .*may not create tokenreviews.*: no Pod enrols/, shop.check);
      assert.equal(
        (await mesh.node.kubectl(['get', 'pod', pod, '-n', SHOP, '-o=jsonpath={.status.phase}']))
          .stdout,
        'Pending',
      );
    });
    await mesh.rolledOut(SHOP, 'late');
    await mesh.kubectl('delete', 'deployment', 'late', '-n', SHOP);
  });

  test('who may not write the bundle says so, and Pods of a new namespace start when it may', async () => {
    await withoutRight('configmaps', ['create', 'patch'], async () => {
      await mesh.kubectl('create', 'namespace', 'late');
      await mesh.kubectl('label', 'namespace', 'late', 'weft.dev/injection=enabled');
      await says(/trust bundle not written/, shop.controlPlaneLog);
      await says(/verb \\?"patch\\?" on \\?"configmaps/, shop.controlPlaneLog);
      await says(/FAILED.*bundles: .*late/, shop.check);
    });
    await says(/BEGIN CERTIFICATE/, () =>
      mesh.kubectl('get', 'configmap', '-n', 'late', '-o=yaml'),
    );
    await mesh.kubectl('delete', 'namespace', 'late', '--wait=false');
  });

  test('who may not read policies serves nothing and says which; sidecars keep what held, and it starts when it may', async () => {
    assert.deepEqual([await shop.mayCall('web'), await shop.mayCall('cart')], [true, false]);
    await withoutRight('authorizationpolicies', ['list'], async () => {
      await shop.restartControlPlane();
      await says(
        /verb \\?"list\\?" on \\?"authorizationpolicies\.security\.weft\.dev\\?"; nothing is served before it is read/,
        shop.controlPlaneLog,
      );
      await says(/verb "list" on "authorizationpolicies/, shop.describeControlPlane);
      await says(/FAILED +rights: .*may not list authorizationpolicies\.security/, shop.check);
      assert.deepEqual([await shop.mayCall('web'), await shop.mayCall('cart')], [true, false]);
    });
    await mesh.controlPlaneRolledOut();
    await shop.removePolicy('web-only');
    await eventually(() => shop.mayCall('cart'), { what: 'open again', withinMs: 60_000 });
  });

  const secret = { namespace: ROOT_NAMESPACE, name: 'weft-ca' };
  async function stateOf(): Promise<string> {
    const found = await mesh.node.client.get(SECRETS, secret);
    assert.ok(found.ok);
    return textAt(found.value, 'data', 'state.json') ?? '';
  }
  async function writeState(base64: string): Promise<void> {
    const patch = { data: { 'state.json': base64 } };
    const end = await mesh.node.client.patch(SECRETS, secret, { type: 'merge', patch });
    assert.ok(end.ok);
  }

  /** The CA's Secret is of no use; afterwards it is as it was. */
  async function withGarbage(garbage: string, meanwhile: () => Promise<void>): Promise<void> {
    const good = await stateOf();
    const trusted = await bundle();
    await writeState(garbage);
    try {
      await meanwhile();
      assert.equal(await stateOf(), garbage, 'nobody has written another');
      assert.equal(await bundle(), trusted, 'there is no new root');
    } finally {
      await writeState(good);
    }
  }
  const trustBundle = (): Promise<string> =>
    mesh.kubectl('get', 'trustbundle', 'weft', '-o=jsonpath={.status.conditions}');

  test('the CA edited into garbage while it runs is not taken: the last good one goes on, and that is said; restored, all is well', async () => {
    await withGarbage(btoa('{"a": "b"'), async () => {
      await says(/weft-ca cannot be used.*ca secret is not good/, shop.controlPlaneLog);
      await says(
        /weft-ca cannot be used, and the state before stays in force: .*restore it from a backup/,
        trustBundle,
      );
      await says(/FAILED.*certificates: .*weft-ca cannot be used/, shop.check);
      await mesh.apply(shop.deployment('enrols', callerPod('web')));
      await mesh.rolledOut(SHOP, 'enrols');
    });
    await mesh.kubectl('wait', 'trustbundle/weft', '--for=condition=Ready', '--timeout=30s');
    await says(/ca secret is good again/, shop.controlPlaneLog);
    await mesh.kubectl('delete', 'deployment', 'enrols', '-n', SHOP);
  });

  test('a control plane that starts with garbage for a CA refuses with the cure, and makes no new root; with it restored it starts', async () => {
    await withGarbage(btoa('nothing'), async () => {
      await shop.restartControlPlane();
      const said = /Cannot read Secret weft-system\/weft-ca: .*restore it from a backup/;
      await says(said, shop.controlPlaneLog);
      await says(said, shop.describeControlPlane);
      await says(/FAILED.*control-plane: .*Secret weft-system\/weft-ca/, shop.check);
      assert.ok(await shop.mayCall('web'), 'workloads go on');
    });
    await mesh.controlPlaneRolledOut();
    await mesh.apply(shop.deployment('again', callerPod('web')));
    await mesh.rolledOut(SHOP, 'again');
    await mesh.kubectl('delete', 'deployment', 'again', '-n', SHOP);
  });

  test('the CA deleted while it runs is put back', async () => {
    const good = await stateOf();
    await mesh.kubectl('delete', 'secret', 'weft-ca', '-n', ROOT_NAMESPACE);
    await eventually(async () => (await stateOf().catch(() => '')) === good, {
      what: 'the CA',
      withinMs: 15_000,
    });
  });

  test('kinds that are missing when a control plane starts are named, and it starts when they are there', async () => {
    const name = 'peerauthentications.security.weft.dev';
    const definition = JSON.parse(await mesh.kubectl('get', 'crd', name, '-o=json'));
    await deleteKind((...args) => mesh.node.kubectl(args), name);
    await shop.restartControlPlane();
    await says(
      /peerauthentications\.security\.weft\.dev.*nothing is served before it is read/,
      shop.controlPlaneLog,
    );
    await says(/install the CustomResourceDefinitions/, shop.controlPlaneLog);
    await says(/peerauthentications\.security\.weft\.dev/, shop.describeControlPlane);
    await says(/FAILED.*kinds: .*peerauthentications.*not there/, shop.check);
    const { labels, annotations } = objectAt(definition, 'metadata') ?? {};
    await mesh.apply({ ...definition, metadata: { name, labels, annotations }, status: undefined });
    await mesh.controlPlaneRolledOut();
    assert.ok(await shop.mayCall('web'));
  });
});
