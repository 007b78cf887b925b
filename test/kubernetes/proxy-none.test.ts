// Pods of gRPC programs without a proxy are in the mesh: injected, started when their agent has written what they need, called and judged alike.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  callerPod,
  type MeshNode,
  meshNodeMissing,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import { container, deploymentObject, env, podObject, serviceObject } from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();
const FOLDER = '/var/run/weft/grpc';
const PRICES = 'xds:///prices.shop.svc.cluster.local:80';
const PERMISSION_DENIED = 7;
const identityOf = (account: string): string => `URI:spiffe://cluster.local/ns/shop/sa/${account}`;

suite('gRPC without a proxy in a cluster', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode();
    await mesh.namespace('shop');
    const names = ['web', 'old', 'prices'];
    const prices = {
      serviceAccountName: 'prices',
      terminationGracePeriodSeconds: 5,
      containers: [
        container('grpc', 'test/xds-echo', {
          env: env({ PORT: '8080' }),
          ports: [{ name: 'grpc', containerPort: 8080 }],
          readinessProbe: { tcpSocket: { port: 'grpc' }, periodSeconds: 1 },
          securityContext: { runAsUser: 1000 },
        }),
        container('shipper', 'test/caller', {
          args: ['idle'],
          securityContext: { runAsUser: 1001, runAsGroup: 1000 },
        }),
      ],
    };
    const web = { ...callerPod('web'), securityContext: { runAsUser: 2000 } };
    const named = (name: string, more: Readonly<Record<string, string>> = {}) => ({
      name,
      namespace: 'shop',
      annotations: { 'weft.dev/proxy': 'none', ...more },
    });
    await mesh.apply(
      ...names.map((name) => serviceAccount('shop', name)),
      deploymentObject(named('prices', { 'weft.dev/grpc-user': '1000' }), {
        replicas: 1,
        pod: prices,
      }),
      serviceObject({ name: 'prices', namespace: 'shop' }, [
        { name: 'grpc', port: 80, targetPort: 'grpc' },
      ]),
      deploymentObject(named('web'), { replicas: 1, pod: web }),
      deploymentObject({ name: 'old', namespace: 'shop' }, { replicas: 1, pod: callerPod('old') }),
    );
    for (const name of names) await mesh.rolledOut('shop', name);
  });
  after(() => mesh[Symbol.asyncDispose]());

  const inPrices = async (at: string, ...argv: readonly string[]) => {
    const [pod = ''] = await mesh.podsOf('shop', 'prices');
    return mesh.node.exec(`shop/${pod}`, at, argv);
  };

  test('programs call by xds:/// with the identity of their Pod, sidecars call them, and rules hold', async () => {
    const ends = await Promise.all([
      mesh.call('shop/web', 'xds', PRICES),
      mesh.call('shop/old', 'grpc', 'prices.shop:80'),
    ]);
    assert.deepEqual(
      ends.map(({ isOk, body }) => isOk && body),
      [identityOf('web'), identityOf('old')],
      JSON.stringify(ends),
    );
    const rule = { from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] };
    await mesh.apply({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'prices', namespace: 'shop' },
      spec: { selector: { matchLabels: { app: 'prices' } }, action: 'ALLOW', rules: [rule] },
    });
    const wait = ['--for=condition=Enforced', 'authorizationpolicy/prices', '--timeout=30s'];
    await mesh.kubectl('wait', '-n', 'shop', ...wait);
    assert.ok((await mesh.call('shop/web', 'xds', PRICES)).isOk);
    const refused = await mesh.call('shop/old', 'grpc', 'prices.shop:80');
    assert.equal(refused.status, PERMISSION_DENIED, JSON.stringify(refused));
  });

  test('the key is in memory, readable to the user of the program alone, and changed by nobody in its containers', async () => {
    const key = `${FOLDER}/bootstrap.json.d/identity/tls.key`;
    const own = await inPrices('grpc', 'sh', '-c', `id -u; grep -c PRIVATE ${key}`);
    assert.equal(own.stdout, '1000\n2\n', own.stderr);
    assert.equal((await inPrices('grpc', 'stat', '-f', '-c', '%T', FOLDER)).stdout.trim(), 'tmpfs');
    for (const attempt of [`rm ${FOLDER}/bootstrap.json`, `echo x > ${key}`, `touch ${FOLDER}/x`]) {
      assert.notEqual((await inPrices('grpc', 'sh', '-c', attempt)).code, 0, attempt);
    }
    for (const path of [key, `${FOLDER}/bootstrap.json`]) {
      const other = await inPrices('shipper', 'cat', path);
      assert.notEqual(other.code, 0, other.stdout);
      assert.match(other.stderr, /Permission denied/);
    }
  });

  test('nothing of the Pod is redirected, and its start waited for the agent', async () => {
    const [pod = ''] = await mesh.podsOf('shop', 'prices');
    const rules = await mesh.node.inNetworkOf(`shop/${pod}`, ['iptables-save']);
    assert.equal(rules.code, 0, rules.stderr);
    assert.doesNotMatch(rules.stdout, /REDIRECT|TPROXY/);
    const statuses = await mesh.kubectl(
      'get',
      'pod',
      pod,
      '-n=shop',
      '-o=jsonpath={.status.initContainerStatuses[*].name} {.status.containerStatuses[*].restartCount}',
    );
    assert.equal(statuses, 'weft-sidecar 0 0');
  });

  test('the strictest Pod Security Standard of the API server lets such a Pod in, and the webhook refuses what cannot hold there', async () => {
    await mesh.namespace('tight');
    await mesh.kubectl(
      'label',
      'namespace',
      'tight',
      'pod-security.kubernetes.io/enforce=restricted',
    );
    const tried = (
      annotations: Readonly<Record<string, string>>,
      ...variables: readonly object[]
    ) => {
      const app = container('app', 'test/caller', {
        env: variables,
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      });
      const securityContext = {
        runAsUser: 1000,
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      };
      const metadata = { name: 'app', namespace: 'tight', annotations };
      const input = JSON.stringify(podObject(metadata, { securityContext, containers: [app] }));
      const create = ['create', '--dry-run=server', '-o=jsonpath={.spec.initContainers[*].name}'];
      return mesh.node.kubectl([...create, '-f', '-'], { input });
    };
    const none = { 'weft.dev/proxy': 'none' };
    const let_ = await tried(none);
    assert.equal(let_.stdout, 'weft-sidecar', let_.stderr);
    const refused = await tried({ ...none, 'weft.dev/workload-api': 'true' });
    assert.match(refused.stderr, /the Workload API is served by Weft's own sidecar/);
    const own = await tried(none, ...env({ GRPC_XDS_BOOTSTRAP: '/etc/bootstrap.json' }));
    assert.match(own.stderr, /GRPC_XDS_BOOTSTRAP is set already/);
  });

  test('when the Pod ends, the agent does after the program, and in time', async () => {
    const [pod = ''] = await mesh.podsOf('shop', 'prices');
    await mesh.kubectl('delete', 'pod', pod, '-n', 'shop', '--timeout=20s');
    await mesh.rolledOut('shop', 'prices');
    await eventually(async () => (await mesh.call('shop/web', 'xds', PRICES)).isOk, {
      what: 'the new Pod is called',
    });
  });
});
