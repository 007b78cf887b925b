// Pods that ask for an Envoy, or for no proxy, are in the mesh beside those of Weft's own sidecar: injected, ready in time, called and judged alike.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
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
  env,
  grpcEcho,
  httpEcho,
  podObject,
  serviceObject,
} from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';

const missing = await meshNodeMissing();
const envoy = await findEnvoy();
const BY_ENVOY = { 'weft.dev/proxy': 'envoy' };
const FOLDER = '/var/run/weft/grpc';
const PRICES = 'xds:///prices.grpc.svc.cluster.local:80';
const PERMISSION_DENIED = 7;
const identityOf = (account: string): string => `URI:spiffe://cluster.local/ns/grpc/sa/${account}`;

/** Of both suites: a cluster with Weft takes longer to make than either. */
let mesh: MeshNode;
before(async () => {
  if (missing !== undefined) return;
  mesh = await startMeshNode(envoy.ok ? { envoy: envoy.path } : {});
});
after(() => mesh?.[Symbol.asyncDispose]());

suite('Envoys in a cluster', { skip: missing ?? (envoy.ok ? false : envoy.reason) }, () => {
  before(async () => {
    await mesh.namespace('shop');
    const names = ['web', 'old', 'prices'];
    await mesh.apply(...names.map((name) => serviceAccount('shop', name)));
    const prices = {
      serviceAccountName: 'prices',
      containers: [httpEcho(), grpcEcho()],
    };
    const named = (name: string) => ({ name, namespace: 'shop', annotations: BY_ENVOY });
    await mesh.apply(
      deploymentObject(named('prices'), { replicas: 1, pod: prices }),
      serviceObject({ name: 'prices', namespace: 'shop' }, [
        { name: 'http', port: 80, targetPort: 'http' },
        { name: 'grpc', port: 9090, targetPort: 'grpc' },
      ]),
      deploymentObject(named('web'), { replicas: 1, pod: callerPod('web') }),
      deploymentObject({ name: 'old', namespace: 'shop' }, { replicas: 1, pod: callerPod('old') }),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: 'shop' },
        spec: { mtls: { mode: 'STRICT' } },
      },
    );
    for (const name of names) await mesh.rolledOut('shop', name);
  });

  test('Pods with an Envoy come up, call and are called, and rules hold for them', async () => {
    for (const from of ['shop/web', 'shop/old']) {
      const answer = await mesh.answered(from, 'http', 'http://prices.shop/hello');
      const account = from.replace('shop/', '/sa/');
      assert.ok(answer.body.includes(account), 'who calls is told to the application');
      const grpc = await mesh.call(from, 'grpc', 'prices.shop:9090', 'hello');
      assert.ok(grpc.isOk, JSON.stringify(grpc));
    }
    const rule = { from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] };
    await mesh.apply({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'prices', namespace: 'shop' },
      spec: { selector: { matchLabels: { app: 'prices' } }, action: 'ALLOW', rules: [rule] },
    });
    const wait = ['--for=condition=Enforced', 'authorizationpolicy/prices', '--timeout=30s'];
    await mesh.kubectl('wait', '-n', 'shop', ...wait);
    assert.ok((await mesh.call('shop/web', 'http', 'http://prices.shop/x')).isOk);
    assert.equal((await mesh.call('shop/old', 'http', 'http://prices.shop/x')).status, 403);
    // Envoy writes its lines some time after the answer.
    let logs = '';
    await eventually(
      async () => {
        logs = await mesh.sidecarLogs('shop', 'prices');
        return logs.includes('"decision":"deny"');
      },
      { what: 'the refusal in the access log', withinMs: 15_000, told: () => logs.slice(-2_000) },
    );
  });

  test('a rollout of Pods with an Envoy ends them in time', async () => {
    const before = await mesh.podsOf('shop', 'prices');
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', 'shop');
    await mesh.rolledOut('shop', 'prices');
    const after_ = await mesh.podsOf('shop', 'prices');
    assert.ok(after_.some((pod) => !before.includes(pod)));
    await mesh.answered('shop/web', 'http', 'http://prices.shop/x');
  });
});

suite('gRPC without a proxy in a cluster', { skip: missing ?? false }, () => {
  before(async () => {
    await mesh.namespace('grpc');
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
      namespace: 'grpc',
      annotations: { 'weft.dev/proxy': 'none', ...more },
    });
    await mesh.apply(
      ...names.map((name) => serviceAccount('grpc', name)),
      deploymentObject(named('prices', { 'weft.dev/grpc-user': '1000' }), {
        replicas: 1,
        pod: prices,
      }),
      serviceObject({ name: 'prices', namespace: 'grpc' }, [
        { name: 'grpc', port: 80, targetPort: 'grpc' },
      ]),
      deploymentObject(named('web'), { replicas: 1, pod: web }),
      deploymentObject({ name: 'old', namespace: 'grpc' }, { replicas: 1, pod: callerPod('old') }),
    );
    for (const name of names) await mesh.rolledOut('grpc', name);
  });

  const inPrices = async (at: string, ...argv: readonly string[]) => {
    const [pod = ''] = await mesh.podsOf('grpc', 'prices');
    return mesh.node.exec(`grpc/${pod}`, at, argv);
  };

  test('programs call by xds:/// with the identity of their Pod, sidecars call them, and rules hold', async () => {
    const ends = await Promise.all([
      mesh.answered('grpc/web', 'xds', PRICES),
      mesh.answered('grpc/old', 'grpc', 'prices.grpc:80'),
    ]);
    assert.deepEqual(
      ends.map(({ isOk, body }) => isOk && body),
      [identityOf('web'), identityOf('old')],
      JSON.stringify(ends),
    );
    const rule = { from: [{ source: { principals: ['cluster.local/ns/grpc/sa/web'] } }] };
    await mesh.apply({
      apiVersion: 'security.weft.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'prices', namespace: 'grpc' },
      spec: { selector: { matchLabels: { app: 'prices' } }, action: 'ALLOW', rules: [rule] },
    });
    const wait = ['--for=condition=Enforced', 'authorizationpolicy/prices', '--timeout=30s'];
    await mesh.kubectl('wait', '-n', 'grpc', ...wait);
    assert.ok((await mesh.call('grpc/web', 'xds', PRICES)).isOk);
    const refused = await mesh.call('grpc/old', 'grpc', 'prices.grpc:80');
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
    const [pod = ''] = await mesh.podsOf('grpc', 'prices');
    const rules = await mesh.node.inNetworkOf(`grpc/${pod}`, ['iptables-save']);
    assert.equal(rules.code, 0, rules.stderr);
    assert.doesNotMatch(rules.stdout, /REDIRECT|TPROXY/);
    const statuses = await mesh.kubectl(
      'get',
      'pod',
      pod,
      '-n=grpc',
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
    const [pod = ''] = await mesh.podsOf('grpc', 'prices');
    await mesh.kubectl('delete', 'pod', pod, '-n', 'grpc', '--timeout=20s');
    await mesh.rolledOut('grpc', 'prices');
    await mesh.answered('grpc/web', 'xds', PRICES);
  });
});
