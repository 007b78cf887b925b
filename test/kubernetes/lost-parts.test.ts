// Parts of a mesh that are lost, renewed or made anew: what was in hand is told as lost, and everything else goes on.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import { container, deploymentObject, env, serviceObject } from '../node/objects.ts';
import { openShop, type Shop, SHOP } from '../node/shop.ts';
import { readCalls, type Traffic } from '../node/traffic.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();

function assertLostAtMost(limit: number, calls: Traffic): void {
  for (const [kind, ends] of calls.since()) {
    const failed = ends.filter(({ isOk }) => !isOk);
    assert.ok(failed.length <= limit, `${kind}: ${JSON.stringify(failed)}`);
  }
}

/** When a sidecar had its first certificate, as its log says. */
function enrolledAt(log: string): number {
  const line = log.split('\n').find((text) => text.includes('certificate in use')) ?? '{}';
  return Date.parse(JSON.parse(line).time);
}

suite('lost parts of a mesh', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  let shop: Shop;
  before(async () => {
    mesh = await startMeshNode();
    shop = await openShop(mesh, { lameDuckMs: 0 });
  });
  after(() => mesh[Symbol.asyncDispose]());

  test('a sidecar that is killed alone comes back, and nothing but what it had in hand is lost', async () => {
    const calls = await shop.traffic();
    const [pod = ''] = await shop.podsOf('prices');
    await shop.end(pod, 'weft-sidecar', 'SIGKILL');
    await calls.flows();
    assertLostAtMost(1, calls);
    await (await shop.traffic()).neverFailed();
    const direct = `http://${mesh.node.podIp(`${SHOP}/${pod}`)}:8080/x`;
    const answer = await mesh.call(`${SHOP}/web`, 'http', direct);
    assert.equal(answer.status, 200, JSON.stringify(answer));
  });

  test('a token that the kubelet has renewed is what a sidecar enrols with when it starts again', async () => {
    const [pod = ''] = await shop.podsOf('web');
    const path = `${SHOP}/${pod}`;
    const token = async (): Promise<string> =>
      (await mesh.node.exec(path, 'weft-sidecar', ['cat', '/var/run/secrets/weft/token'])).stdout;
    const before = { token: await token(), certs: await shop.certsOf(pod) };
    await mesh.node.rotateToken(path);
    await eventually(async () => (await token()) !== before.token, { what: 'another token' });
    await shop.end(pod, 'weft-sidecar', 'SIGKILL');
    const { certificate } = await shop.certsOf(pod);
    assert.notEqual(certificate.serial, before.certs.certificate.serial);
    assert.equal(certificate.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web');
    const answer = await mesh.call(`${SHOP}/web`, 'http', 'http://prices.shop/x');
    assert.equal(answer.status, 200, JSON.stringify(answer));
  });

  test('a Pod killed in mid-request: its caller is told so at once, and the next request succeeds elsewhere', async () => {
    const calls = await shop.traffic();
    const before = await shop.podsOf('prices');
    const held = mesh.call(`${SHOP}/web`, 'http', 'http://prices.shop/slow/9000', 'pay');
    const isBusy = (pod: string): boolean =>
      mesh.node.logs(`${SHOP}/${pod}`, 'http').includes('slow 9000 begins');
    const victim = await eventually(() => before.find(isBusy), { what: 'the request' });
    await mesh.node.killPod(`${SHOP}/${victim}`);
    const next = await mesh.call(`${SHOP}/web`, 'http', 'http://prices.shop/x');
    assert.equal(next.status, 200, JSON.stringify(next));
    const end = await held;
    assert.deepEqual([end.status, end.body], [503, 'upstream-reset\n']);
    assert.ok(end.ms < 8_000, `after ${end.ms} ms`);
    await mesh.rolledOut(SHOP, 'prices');
    await calls.flows();
    assertLostAtMost(1, calls);
    await (await shop.traffic()).neverFailed();
  });

  test('a namespace that is deleted and made again is in the mesh again', async () => {
    const make = async (): Promise<void> => {
      await mesh.namespace('brief');
      await mesh.apply(
        serviceAccount('brief', 'web'),
        deploymentObject(
          { name: 'web', namespace: 'brief' },
          { replicas: 1, pod: callerPod('web') },
        ),
      );
      await mesh.rolledOut('brief', 'web');
      const answer = await mesh.call('brief/web', 'http', 'http://prices.shop/x');
      assert.equal(answer.status, 200, JSON.stringify(answer));
      assert.match(answer.body, /URI=spiffe:\/\/cluster\.local\/ns\/brief\/sa\/web/);
    };
    await make();
    await mesh.kubectl('delete', 'namespace', 'brief', '--timeout=40s');
    await make();
  });

  test('a classic sidecar: the application starts when it is ready, calls and is called through it, and ends with it', async () => {
    const named = {
      name: 'classic',
      namespace: SHOP,
      annotations: { 'weft.dev/sidecar-mode': 'classic' },
    };
    const clock = container('clock', 'test/shell', {
      command: ['sh', '-c', 'date +%s%3N; trap "exit 0" TERM; while :; do sleep 0.1; done'],
    });
    const first = container('first', 'test/caller', {
      args: ['loop', '25', 'http', 'http://prices.shop/first'],
    });
    const served = container('served', 'test/http-echo', {
      env: env({ PORT: '8080' }),
      readinessProbe: { httpGet: { path: '/readyz', port: 8080 } },
    });
    await mesh.apply(
      deploymentObject(named, {
        replicas: 1,
        pod: { ...callerPod('web'), containers: [clock, first, served] },
      }),
      serviceObject(named, [{ name: 'http', port: 80, targetPort: 8080 }]),
    );
    const [pod = ''] = await mesh.rolledOut(SHOP, 'classic');
    const found = JSON.parse(await mesh.kubectl('get', 'pod', pod, '-n', SHOP, '-o=json'));
    const names = found.spec.containers.map(({ name }: { readonly name: string }) => name);
    assert.deepEqual(names, ['weft-sidecar', 'clock', 'first', 'served']);
    const started = Number(mesh.node.logs(`${SHOP}/${pod}`, 'clock'));
    assert.ok(started > enrolledAt(mesh.node.logs(`${SHOP}/${pod}`, 'weft-sidecar')));
    const answer = await mesh.answered(`${SHOP}/web`, 'http', 'http://classic.shop/x');
    assert.match(answer.body, /By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web;/);
    const log = (): string => mesh.node.logs(`${SHOP}/${pod}`, 'first');
    await eventually(() => readCalls(log()).length >= 20, { what: 'calls', withinMs: 10_000 });
    await mesh.kubectl('delete', 'deployment', 'classic', '-n', SHOP);
    await shop.areGone('classic', [pod]);
    assert.match(log().slice(-100), /"good":\d+,"bad":0\}\n$/);
  });
});
