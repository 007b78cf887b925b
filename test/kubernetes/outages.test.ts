// Control planes, the API server and etcd go and come back while traffic flows: what is in force stays in force, and changes follow.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  ROOT_NAMESPACE,
  startMeshNode,
} from '../node/mesh-node.ts';
import { deploymentObject, podObject } from '../node/objects.ts';
import { IN_MESH, SHOP, startWatchedShop, type WatchedShop } from '../node/watched-shop.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();

const MINUTE_MS = 60_000;
const HELLO = 'http://prices.shop/x';

suite('a mesh whose control plane is away', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  let shop: WatchedShop;
  before(async () => {
    mesh = await startMeshNode({ values: ['replicas=2', 'ca.svidTtl=60s', 'ca.rotationGrace=2s'] });
    shop = await startWatchedShop(mesh);
  });
  after(() => mesh[Symbol.asyncDispose]());

  const deployment = (name: string, replicas: number): object =>
    deploymentObject({ name, namespace: SHOP }, { replicas, pod: callerPod('web') });
  const addressOf = (controlPlane: string): string =>
    `${mesh.node.podIp(`${ROOT_NAMESPACE}/${controlPlane}`)}:15014`;
  const metric = async (address: string, name: string): Promise<number> => {
    const text = await (await fetch(`http://${address}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const ofControlPlanes = (verb: string, ...args: readonly string[]): Promise<string> =>
    mesh.kubectl(verb, ...args, 'deployment/weft-control-plane', '-n', ROOT_NAMESPACE);

  test('the status of a policy counts proxies that are connected to either control plane', async () => {
    const pods = await mesh.controlPlanes();
    assert.equal(pods.length, 2);
    await shop.leaderOf(pods);
    const sessions = (): Promise<readonly number[]> =>
      Promise.all(pods.map((pod) => metric(addressOf(pod), 'weft_xds_sessions')));
    // Which of the two a sidecar gets is chance.
    let extra = 0;
    while (!(await sessions()).every((count) => count > 0)) {
      extra++;
      assert.ok(extra < 9, 'all sidecars are connected to one control plane');
      await mesh.apply(deployment('extra', extra));
      await mesh.rolledOut(SHOP, 'extra');
    }
    await shop.isStrictAt(IN_MESH.length + extra);
    if (extra > 0) await mesh.kubectl('delete', 'deployment', 'extra', '-n', SHOP);
    await shop.isStrictAt(IN_MESH.length);
  });

  test('a rotation of roots with two control planes completes, and fails no request', async () => {
    const traffic = await shop.traffic();
    const roots = async (): Promise<readonly string[]> => {
      const path = '-o=jsonpath={.status.roots[*].keyId}';
      return (await mesh.kubectl('get', 'trustbundle', 'weft', path)).split(' ');
    };
    const [old] = await roots();
    const patch = JSON.stringify({ spec: { rotate: 'now' } });
    await mesh.kubectl('patch', 'trustbundle', 'weft', '--type=merge', '-p', patch);
    await eventually(
      async () => {
        const now = await roots();
        return now.length === 1 && now[0] !== old;
      },
      { what: 'one root, the new one', withinMs: 120_000, everyMs: 500 },
    );
    await traffic.isAsEver();
    await shop.forbid('after-rotation');
  });

  test('the leader killed: no request fails, another leads, a policy changes, and the status of those in force stays true', async () => {
    const traffic = await shop.traffic();
    await using said = await shop.listen();
    const pods = await mesh.controlPlanes();
    const leader = await shop.leaderOf(pods);
    await mesh.node.killPod(`${ROOT_NAMESPACE}/${leader}`);
    await shop.forbid('after-kill');
    await shop.leaderBesides([leader]);
    await mesh.controlPlaneRolledOut();
    await shop.isStrictAt(IN_MESH.length);
    assert.deepEqual(said.wrong(), []);
    await traffic.isAsEver();
  });

  test('a rolling restart of the control planes fails no request, and no Pod that is made meanwhile; status stays true', async () => {
    const traffic = await shop.traffic();
    await using said = await shop.listen();
    const old = await mesh.controlPlanes();
    const areGone = async (): Promise<boolean> => {
      const listed = await mesh.node.client.list(PODS, { namespace: ROOT_NAMESPACE });
      const isOld = (name = ''): boolean => old.includes(name);
      return listed.ok && !listed.value.items.some((pod) => isOld(textAt(pod, 'metadata', 'name')));
    };
    await ofControlPlanes('rollout', 'restart');
    const made: string[] = [];
    while (!(await areGone())) {
      assert.ok(made.length < 60, 'the old control planes do not end');
      const name = `new-${made.length}`;
      const metadata = { name, namespace: SHOP, labels: { app: 'new' } };
      const input = JSON.stringify(podObject(metadata, callerPod('web')));
      const created = await mesh.node.kubectl(['create', '-f', '-'], { input });
      assert.equal(created.code, 0, created.stderr);
      const ready = ['--for=condition=Ready', `pod/${name}`, '--timeout=60s'];
      await mesh.kubectl('wait', '-n', SHOP, ...ready);
      made.push(name);
    }
    assert.ok(made.length > 1, made.join());
    const path = '-o=jsonpath={.items[*].status.initContainerStatuses[*].restartCount}';
    const restarts = await mesh.kubectl('get', 'pods', '-n', SHOP, '-l=app=new', path);
    assert.match(restarts, /^0( 0)*$/);
    for (const name of made) {
      const from = { pod: `${SHOP}/${name}`, container: 'caller' };
      const answer = await mesh.node.call(from, 'http', HELLO);
      assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer)}`);
    }
    await mesh.kubectl('delete', 'pods', '-n', SHOP, '-l=app=new', '--grace-period=1');
    await mesh.controlPlaneRolledOut();
    await shop.leaderOf(await mesh.controlPlanes());
    await shop.forbid('after-restart');
    assert.deepEqual(said.wrong(), []);
    await traffic.isAsEver();
  });

  test('all control planes killed: traffic goes on by the last policy, new Pods wait and say why, and all converges when they are back', async () => {
    const traffic = await shop.traffic();
    await mesh.apply(deployment('waiter', 1));
    await mesh.rolledOut(SHOP, 'waiter');
    const waiter = await shop.podOf('waiter');
    const pods = await mesh.controlPlanes();
    await ofControlPlanes('scale', '--replicas=0');
    await Promise.all(pods.map((pod) => mesh.node.killPod(`${ROOT_NAMESPACE}/${pod}`)));
    await mesh.apply(deployment('late', 1));
    const failure =
      '-o=jsonpath={.items[*].status.conditions[?(@.type=="ReplicaFailure")].message}';
    await eventually(
      async () =>
        /weft/.test(await mesh.kubectl('get', 'replicasets', '-n', SHOP, '-l=app=late', failure)),
      { what: 'the reason why there is no Pod', withinMs: 30_000, everyMs: 200 },
    );
    assert.deepEqual(await mesh.podsOf(SHOP, 'late'), []);
    // Its container begins anew, as after a lack of memory: it has no certificate, and none to ask for one.
    mesh.node.signal(waiter, 'weft-sidecar', 'SIGKILL');
    await eventually(
      async () => {
        const url = `http://${mesh.node.podIp(waiter)}:15021/healthz/ready`;
        const answer = await fetch(url);
        const text = await answer.text();
        return answer.status === 503 && /no certificate from the control plane: /.test(text);
      },
      {
        what: 'a sidecar that says why it is not ready',
        withinMs: 30_000,
        everyMs: 100,
        told: () => mesh.node.logs(waiter, 'weft-sidecar'),
      },
    );
    const unready = ['--for=condition=Ready=false', `pod/${waiter.split('/')[1] ?? ''}`];
    await mesh.kubectl('wait', '-n', SHOP, ...unready, '--timeout=20s');
    const early = await mesh.node.call({ pod: waiter, container: 'caller' }, 'http', HELLO);
    assert.ok(!early.isOk, JSON.stringify(early));
    await traffic.isAsEver();
    await ofControlPlanes('scale', '--replicas=2');
    await mesh.controlPlaneRolledOut();
    await shop.forbid('after-death');
    for (const name of ['waiter', 'late']) {
      await mesh.rolledOut(SHOP, name);
      const answer = await mesh.call(`${SHOP}/${name}`, 'http', HELLO);
      assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer)}`);
    }
    await shop.isStrictAt(IN_MESH.length + 2);
    await traffic.isAsEver();
  });

  test('the API server away for a minute: traffic goes on, certificates are renewed, nothing is widened, and changes follow when it is back', async () => {
    const traffic = await shop.traffic();
    const pods = await mesh.controlPlanes();
    const sidecars = await Promise.all(IN_MESH.map((app) => shop.podOf(app)));
    const expiries = (): Promise<readonly number[]> =>
      Promise.all(
        sidecars.map((pod) =>
          metric(`${mesh.node.podIp(pod)}:15020`, 'weft_certificate_expiration_timestamp_seconds'),
        ),
      );
    const before = await expiries();
    await mesh.node.stopApiServer();
    const stoppedMs = performance.now();
    const unready: string[] = [];
    // No event can stand for the minute: it is what is tested.
    await eventually(
      async () => {
        for (const pod of pods) {
          const answer = await fetch(`http://${addressOf(pod)}/readyz`);
          if (answer.status !== 200) unready.push(`${pod}: ${await answer.text()}`);
        }
        return performance.now() - stoppedMs > MINUTE_MS;
      },
      { what: 'the end of the minute', withinMs: MINUTE_MS * 2, everyMs: 500 },
    );
    assert.deepEqual(unready, []);
    const now = await expiries();
    for (const [index, pod] of sidecars.entries()) {
      const [first = Number.NaN, last = Number.NaN] = [before[index], now[index]];
      assert.ok(last > first && last * 1_000 > Date.now(), `${pod}: ${first}, ${last}`);
    }
    await traffic.isAsEver();
    await mesh.node.startApiServer();
    await shop.forbid('after-outage');
    await shop.leaderOf(pods);
    await traffic.isAsEver();
  });

  test('etcd restarted: no request fails, and changes follow', async () => {
    const traffic = await shop.traffic();
    await mesh.node.restartEtcd();
    await shop.forbid('after-etcd');
    await traffic.isAsEver();
  });
});
