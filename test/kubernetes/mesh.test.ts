// Weft installed from its chart in a cluster: Pods come up in the mesh, may do what policies say, and keep working as Pods.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import {
  container,
  deploymentObject,
  grpcEcho,
  httpEcho,
  livesBy,
  podObject,
  serviceObject,
  tcpEcho,
} from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';
import { shown } from '../support/shown.ts';

const skip = await meshNodeMissing();

suite('a mesh in a cluster', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode();
    await makeShop();
  });
  after(() => mesh[Symbol.asyncDispose]());

  /** `web` and `cart` call `prices`, which serves HTTP, gRPC and TCP. */
  async function makeShop(): Promise<void> {
    await mesh.namespace('shop');
    await mesh.apply(...['web', 'cart', 'prices'].map((name) => serviceAccount('shop', name)));
    const prices = {
      serviceAccountName: 'prices',
      containers: [
        httpEcho({ fields: livesBy({ tcpSocket: { port: 8080 } }) }),
        grpcEcho(),
        tcpEcho({ fields: livesBy({ exec: { command: ['true'] } }) }),
      ],
    };
    const ports = [
      { name: 'http', port: 80, targetPort: 'http' },
      { name: 'grpc', port: 9090, targetPort: 'grpc' },
      { name: 'tcp', port: 7070, targetPort: 'tcp' },
    ];
    const named = { name: 'prices', namespace: 'shop' };
    await mesh.apply(
      deploymentObject(named, { replicas: 1, pod: prices }),
      serviceObject(named, ports),
      ...['web', 'cart'].map((name) =>
        deploymentObject({ name, namespace: 'shop' }, { replicas: 1, pod: callerPod(name) }),
      ),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: 'shop' },
        spec: { mtls: { mode: 'STRICT' } },
      },
    );
    for (const name of ['prices', 'web', 'cart']) await mesh.rolledOut('shop', name);
  }

  test('Pods of a Deployment come up injected, enrolled and captured', async () => {
    const [pod = ''] = await mesh.podsOf('shop', 'web');
    const found = await mesh.node.client.get(PODS, { namespace: 'shop', name: pod });
    assert.ok(found.ok);
    assert.ok(textAt(found.value, 'metadata', 'annotations', 'weft.dev/injected'));
    const logs = await mesh.sidecarLogs('shop', 'web');
    assert.match(logs, /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/);
    const rules = await mesh.node.inNetworkOf(`shop/${pod}`, ['iptables', '-t', 'nat', '-S']);
    assert.match(rules.stdout, /15001/);
    const answer = await mesh.call('shop/web', 'http', 'http://prices.shop/hello');
    assert.equal(answer.status, 200, JSON.stringify(answer));
    const { headers } = JSON.parse(answer.body);
    assert.match(
      headers['x-forwarded-client-cert'],
      /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
    );
  });

  test('calls over HTTP, gRPC and TCP pass or are refused by who calls', async () => {
    const rule = { from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] };
    await mesh.apply({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'prices', namespace: 'shop' },
      spec: { selector: { matchLabels: { app: 'prices' } }, action: 'ALLOW', rules: [rule] },
    });
    const wait = ['--for=condition=Enforced', 'authorizationpolicy/prices', '--timeout=30s'];
    await mesh.kubectl('wait', '-n', 'shop', ...wait);
    const kinds = [
      ['http', 'http://prices.shop/x'],
      ['grpc', 'prices.shop:9090'],
      ['tcp', 'prices.shop:7070'],
    ] as const;
    for (const [kind, target] of kinds) {
      const allowed = await mesh.call('shop/web', kind, target, 'hello');
      assert.ok(allowed.isOk, `${kind} from web: ${JSON.stringify(allowed)}`);
      const denied = await mesh.call('shop/cart', kind, target, 'hello');
      assert.ok(!denied.isOk, `${kind} from cart: ${JSON.stringify(denied)}`);
    }
    const [pod = ''] = await mesh.podsOf('shop', 'prices');
    const log = mesh.node.logs(`shop/${pod}`, 'weft-sidecar');
    assert.match(log, /sa\/cart/);
    assert.match(log, /rbac-denied/);
    await mesh.kubectl('delete', 'authorizationpolicy', 'prices', '-n', 'shop');
    shown('weft', 'by-vip');
  });

  test('STRICT refuses a Pod outside the mesh', async () => {
    await mesh.namespace('outside', { isInjected: false });
    const named = { name: 'stranger', namespace: 'outside' };
    await mesh.apply(deploymentObject(named, { replicas: 1, pod: callerPod('default') }));
    await mesh.rolledOut('outside', 'stranger');
    const refused = await mesh.call('outside/stranger', 'http', 'http://prices.shop/x');
    assert.ok(!refused.isOk, JSON.stringify(refused));
    const direct = await mesh.call(
      'outside/stranger',
      'http',
      `http://${mesh.node.podIp(`shop/${(await mesh.podsOf('shop', 'prices'))[0]}`)}:8080/x`,
    );
    assert.ok(!direct.isOk, JSON.stringify(direct));
    const logs = await mesh.sidecarLogs('shop', 'prices');
    assert.match(logs, /plaintext-refused/);
  });

  test('kubectl wait --for=condition=Enforced returns when a policy is enforced, and not before', async () => {
    for (let round = 0; round < 5; round++) {
      const path = `/round-${round}`;
      await mesh.apply({
        apiVersion: 'security.weft.dev/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name: `deny-${round}`, namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: 'prices' } },
          action: 'DENY',
          rules: [{ to: [{ operation: { paths: [path] } }] }],
        },
      });
      const name = `authorizationpolicy/deny-${round}`;
      await mesh.kubectl('wait', '-n', 'shop', '--for=condition=Enforced', name, '--timeout=30s');
      const answer = await mesh.call('shop/web', 'http', `http://prices.shop${path}`);
      assert.equal(answer.status, 403, `round ${round}: ${JSON.stringify(answer)}`);
    }
    const table = await mesh.kubectl('get', 'authorizationpolicies', '-n', 'shop');
    assert.match(table, /deny-0 +DENY +1 +1\/1 +True/);
  });

  test('a Job completes', async () => {
    await mesh.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace: 'shop' },
      spec: {
        template: {
          metadata: { labels: { app: 'once' } },
          spec: {
            serviceAccountName: 'web',
            restartPolicy: 'Never',
            containers: [
              container('caller', 'test/caller', {
                args: ['once', 'http', 'http://prices.shop/job'],
              }),
            ],
          },
        },
      },
    });
    await mesh.kubectl(
      'wait',
      '-n',
      'shop',
      '--for=condition=Complete',
      'job/once',
      '--timeout=60s',
    );
    const [pod = ''] = await mesh.podsOf('shop', 'once');
    assert.match(mesh.node.logs(`shop/${pod}`, 'caller'), /"status":200/);
  });

  test('a Pod with another ServiceAccount has another identity', async () => {
    await mesh.apply(serviceAccount('shop', 'kiosk'));
    const patch = JSON.stringify({ spec: { template: { spec: { serviceAccountName: 'kiosk' } } } });
    await mesh.kubectl('patch', 'deployment', 'cart', '-n', 'shop', '-p', patch);
    await mesh.rolledOut('shop', 'cart');
    const answer = await mesh.call('shop/cart', 'http', 'http://prices.shop/x');
    const { headers } = JSON.parse(answer.body);
    assert.match(headers['x-forwarded-client-cert'], /sa\/kiosk/);
  });

  test('members of a headless Service are called by their own addresses, as who they are', async () => {
    const ports = [{ name: 'http', port: 8080 }];
    const named = { name: 'members', namespace: 'shop' };
    const spec = { clusterIP: 'None', selector: { app: 'prices' } };
    await mesh.apply(serviceObject(named, ports, spec));
    await eventually(
      async () =>
        (await mesh.call('shop/web', 'http', 'http://members.shop:8080/x')).status === 200,
      { what: 'a member', withinMs: 10_000 },
    );
    const answer = await mesh.call('shop/web', 'http', 'http://members.shop:8080/x');
    const { headers } = JSON.parse(answer.body);
    assert.match(headers['x-forwarded-client-cert'], /sa\/web/, 'under mutual TLS');
    shown('weft', 'headless');
  });

  test("a Service's ports change, and callers follow", async () => {
    const named = { name: 'prices', namespace: 'shop' };
    const ports = [{ name: 'http', port: 8888, targetPort: 'http' }];
    await mesh.apply(
      serviceObject({ ...named, name: 'moving' }, ports, { selector: { app: 'prices' } }),
    );
    await eventually(
      async () => (await mesh.call('shop/web', 'http', 'http://moving.shop:8888/x')).status === 200,
      { what: 'the new port', withinMs: 10_000 },
    );
    const others = [{ name: 'http', port: 8889, targetPort: 'http' }];
    await mesh.apply(
      serviceObject({ ...named, name: 'moving' }, others, { selector: { app: 'prices' } }),
    );
    await eventually(
      async () => (await mesh.call('shop/web', 'http', 'http://moving.shop:8889/x')).status === 200,
      { what: 'the other port', withinMs: 10_000 },
    );
  });

  test('a Pod on the network of its host is left alone, with the reason', async () => {
    const pod = { hostNetwork: true, containers: [container('x', 'test/shell')] };
    const input = JSON.stringify(podObject({ name: 'host', namespace: 'shop' }, pod));
    const made = await mesh.node.kubectl(['create', '--dry-run=server', '-f', '-'], { input });
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stderr, /weft: this Pod gets no sidecar: .*host/);
  });
});
