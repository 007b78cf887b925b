// Traffic all the time while Pods come, go and are replaced, and roots too: no request fails that a careful application would not lose.
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
import { type Loop, loopContainer, markTraffic, readCalls, type Traffic } from '../node/traffic.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();

interface Certs {
  readonly certificate: {
    readonly serial: string;
    readonly spiffeId: string;
    readonly chain: readonly { readonly subject?: string }[];
  };
  readonly roots: readonly { readonly fingerprint256: string }[];
}

interface Trust {
  readonly phase: string;
  readonly observedRotate: string;
  readonly roots: readonly { readonly fingerprint: string; readonly subject: string }[];
}

const NAMESPACE = 'shop';
const LOOPS: readonly Loop[] = [
  { kind: 'http', target: 'http://prices.shop/x' },
  { kind: 'http-kept', target: 'http://prices.shop/x' },
  { kind: 'grpc', target: 'prices.shop:9090' },
  { kind: 'grpc-kept', target: 'prices.shop:9090' },
];

/** HTTP and gRPC; after SIGTERM both go on for so long. */
const pricesPod = (lameDuckMs: number): object => ({
  serviceAccountName: 'prices',
  containers: [
    container('http', 'test/http-echo', {
      env: env({ PORT: '8080', LAME_DUCK_MS: String(lameDuckMs) }),
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe: { httpGet: { path: '/readyz', port: 'http' }, periodSeconds: 1 },
    }),
    container('grpc', 'test/grpc-echo', {
      env: env({ PORT: '9090', LAME_DUCK_MS: String(lameDuckMs) }),
      ports: [{ name: 'grpc', containerPort: 9090 }],
      readinessProbe: { grpc: { port: 9090 }, periodSeconds: 1 },
    }),
  ],
});

const loopPod = (): object => ({
  serviceAccountName: 'web',
  terminationGracePeriodSeconds: 20,
  containers: LOOPS.map(loopContainer),
});

function assertLostAtMost(limit: number, calls: Traffic): void {
  for (const [kind, ends] of calls.since()) {
    const failed = ends.filter(({ isOk }) => !isOk);
    assert.ok(failed.length <= limit, `${kind}: ${JSON.stringify(failed)}`);
  }
}

suite('traffic while a cluster changes', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode({ values: ['ca.svidTtl=60s', 'ca.rotationGrace=2s'] });
    await makeShop();
  });
  after(() => mesh[Symbol.asyncDispose]());

  async function makeShop(): Promise<void> {
    await mesh.namespace(NAMESPACE);
    const named = (name: string) => ({ name, namespace: NAMESPACE });
    await mesh.apply(
      serviceAccount(NAMESPACE, 'web'),
      serviceAccount(NAMESPACE, 'prices'),
      deploymentObject(named('prices'), {
        replicas: 2,
        pod: { ...pricesPod(2_000) },
        strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      }),
      serviceObject(named('prices'), [
        { name: 'http', port: 80, targetPort: 'http' },
        { name: 'grpc', port: 9090, targetPort: 'grpc' },
      ]),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: NAMESPACE },
        spec: { mtls: { mode: 'STRICT' } },
      },
    );
    await mesh.rolledOut(NAMESPACE, 'prices');
    await mesh.apply(
      deploymentObject(named('loops'), {
        replicas: 1,
        pod: { ...loopPod() },
        strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      }),
      deploymentObject(named('web'), { replicas: 1, pod: callerPod('web') }),
    );
    for (const name of ['loops', 'web']) await mesh.rolledOut(NAMESPACE, name);
  }

  async function traffic(): Promise<Traffic> {
    const [pod] = await mesh.podsOf(NAMESPACE, 'loops');
    const marked = markTraffic(LOOPS, (name) => mesh.node.logs(`${NAMESPACE}/${pod}`, name));
    await marked.flows();
    return marked;
  }

  const patch = (kind: string, name: string, change: object): Promise<string> =>
    mesh.kubectl('patch', kind, name, '-n', NAMESPACE, '-p', JSON.stringify(change));

  /** Waits until the Pods that were there have gone. */
  const areGone = (app: string, pods: readonly string[]): Promise<unknown> =>
    eventually(
      async () => {
        const names = await mesh.kubectl(
          'get',
          'pods',
          '-n',
          NAMESPACE,
          '-l',
          `app=${app}`,
          '-o=name',
        );
        return !pods.some((pod) => names.includes(pod));
      },
      { what: `the end of ${pods.join()}`, withinMs: 30_000, everyMs: 100 },
    );

  const certsOf = async (pod: string): Promise<Certs> => {
    const { code, stdout, stderr } = await mesh.node.exec(pod, 'weft-sidecar', ['weft', 'certs']);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };

  const trustBundle = async (): Promise<Trust> => {
    const { status } = JSON.parse(await mesh.kubectl('get', 'trustbundle', 'weft', '-o=json'));
    return status;
  };

  test('a root gives way to another, in every Pod, and fails no request', async () => {
    const calls = await traffic();
    const {
      roots: [old],
    } = await trustBundle();
    await mesh.kubectl(
      'patch',
      'trustbundle',
      'weft',
      '--type=merge',
      '-p={"spec":{"rotate":"now"}}',
    );
    const trust = await eventually(
      async () => {
        const now = await trustBundle();
        return now.observedRotate === 'now' && now.phase === 'stable' && now;
      },
      { what: 'another root alone', withinMs: 90_000, everyMs: 200 },
    );
    assert.equal(trust.roots.length, 1);
    assert.notEqual(trust.roots[0]?.fingerprint, old?.fingerprint);
    await calls.neverFailed();
    const [, generation = ''] = /Weft root (\d+)-/.exec(trust.roots[0]?.subject ?? '') ?? [];
    for (const app of ['prices', 'loops', 'web']) {
      for (const pod of await mesh.podsOf(NAMESPACE, app)) {
        const { certificate, roots } = await certsOf(`${NAMESPACE}/${pod}`);
        const issuer = certificate.chain.at(-1)?.subject ?? '';
        assert.ok(issuer.includes(`Weft issuing CA ${generation}-`), `${pod}: ${issuer}`);
        assert.deepEqual(
          roots.map(({ fingerprint256 }) => fingerprint256),
          [trust.roots[0]?.fingerprint],
        );
      }
    }
  });

  test('scaling up and down fails no request', async () => {
    const calls = await traffic();
    for (const replicas of [4, 1, 2]) {
      const before = await mesh.podsOf(NAMESPACE, 'prices');
      await mesh.kubectl('scale', 'deployment/prices', '-n', NAMESPACE, `--replicas=${replicas}`);
      await mesh.rolledOut(NAMESPACE, 'prices');
      await eventually(async () => (await mesh.podsOf(NAMESPACE, 'prices')).length === replicas, {
        what: `${replicas} Pods`,
        withinMs: 30_000,
      });
      const left = await mesh.podsOf(NAMESPACE, 'prices');
      await areGone(
        'prices',
        before.filter((pod) => !left.includes(pod)),
      );
    }
    await calls.neverFailed();
  });

  test('a rolling update of the called application fails no request when it goes on for a while after SIGTERM', async () => {
    const calls = await traffic();
    const before = await mesh.podsOf(NAMESPACE, 'prices');
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', NAMESPACE);
    await mesh.rolledOut(NAMESPACE, 'prices');
    await areGone('prices', before);
    await calls.neverFailed();
  });

  test('a rolling update of the called application fails no request when it stops listening at SIGTERM', async () => {
    await patch('deployment', 'prices', { spec: { template: { spec: pricesPod(0) } } });
    await mesh.rolledOut(NAMESPACE, 'prices');
    const calls = await traffic();
    const before = await mesh.podsOf(NAMESPACE, 'prices');
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', NAMESPACE);
    await mesh.rolledOut(NAMESPACE, 'prices');
    await areGone('prices', before);
    await calls.neverFailed();
  });

  test('a rolling update of the caller fails none of its requests, from the first to the last', async () => {
    const before = await mesh.podsOf(NAMESPACE, 'loops');
    await mesh.kubectl('rollout', 'restart', 'deployment/loops', '-n', NAMESPACE);
    const now = await mesh.rolledOut(NAMESPACE, 'loops');
    await areGone('loops', before);
    await (await traffic()).neverFailed();
    for (const pod of [...before, ...now]) {
      for (const { kind } of LOOPS) {
        const log = mesh.node.logs(`${NAMESPACE}/${pod}`, kind);
        const failed = readCalls(log).filter(({ isOk }) => !isOk);
        assert.deepEqual(failed, [], `${pod} ${kind}`);
        if (before.includes(pod)) assert.match(log, /"good":\d+,"bad":0\}\n$/, `${pod} ${kind}`);
      }
    }
  });

  const containerStatus = async (
    pod: string,
    name: string,
  ): Promise<{ restartCount: number; ready: boolean }> => {
    const { status } = JSON.parse(
      await mesh.kubectl('get', 'pod', pod, '-n', NAMESPACE, '-o=json'),
    );
    const all = [...(status.initContainerStatuses ?? []), ...status.containerStatuses];
    return all.find((one: { name: string }) => one.name === name);
  };

  /** Kills the sidecar as the kernel would, and waits until another one serves. */
  async function killSidecar(pod: string): Promise<void> {
    const { restartCount } = await containerStatus(pod, 'weft-sidecar');
    mesh.node.signal(`${NAMESPACE}/${pod}`, 'weft-sidecar', 'SIGKILL');
    await eventually(
      async () => {
        const now = await containerStatus(pod, 'weft-sidecar');
        return now.restartCount > restartCount && now.ready;
      },
      { what: `another sidecar in ${pod}`, withinMs: 20_000, everyMs: 50 },
    );
  }

  test('a sidecar that is killed alone comes back, and nothing but what it had in hand is lost', async () => {
    const calls = await traffic();
    const [pod = ''] = await mesh.podsOf(NAMESPACE, 'prices');
    await killSidecar(pod);
    await calls.flows();
    assertLostAtMost(1, calls);
    await (await traffic()).neverFailed();
    const direct = `http://${mesh.node.podIp(`${NAMESPACE}/${pod}`)}:8080/x`;
    const answer = await mesh.call(`${NAMESPACE}/web`, 'http', direct);
    assert.equal(answer.status, 200, JSON.stringify(answer));
  });

  test('a token that the kubelet has renewed is what a sidecar enrols with when it starts again', async () => {
    const [pod = ''] = await mesh.podsOf(NAMESPACE, 'web');
    const path = `${NAMESPACE}/${pod}`;
    const token = async (): Promise<string> =>
      (await mesh.node.exec(path, 'weft-sidecar', ['cat', '/var/run/secrets/weft/token'])).stdout;
    const before = { token: await token(), certs: await certsOf(path) };
    await mesh.node.rotateToken(path);
    await eventually(async () => (await token()) !== before.token, { what: 'another token' });
    await killSidecar(pod);
    const { certificate } = await certsOf(path);
    assert.notEqual(certificate.serial, before.certs.certificate.serial);
    assert.equal(certificate.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web');
    const answer = await mesh.call(`${NAMESPACE}/web`, 'http', 'http://prices.shop/x');
    assert.equal(answer.status, 200, JSON.stringify(answer));
  });

  test('a Pod killed in mid-request: its caller is told so at once, and the next request succeeds elsewhere', async () => {
    const calls = await traffic();
    const before = await mesh.podsOf(NAMESPACE, 'prices');
    const held = mesh.call(`${NAMESPACE}/web`, 'http', 'http://prices.shop/slow/9000', 'pay');
    const isBusy = (pod: string): boolean =>
      mesh.node.logs(`${NAMESPACE}/${pod}`, 'http').includes('slow 9000 begins');
    const victim = await eventually(() => before.find(isBusy), { what: 'the request' });
    await mesh.node.killPod(`${NAMESPACE}/${victim}`);
    const next = await mesh.call(`${NAMESPACE}/web`, 'http', 'http://prices.shop/x');
    assert.equal(next.status, 200, JSON.stringify(next));
    const end = await held;
    assert.deepEqual([end.status, end.body], [503, 'upstream-reset\n']);
    assert.ok(end.ms < 8_000, `after ${end.ms} ms`);
    await mesh.rolledOut(NAMESPACE, 'prices');
    await calls.flows();
    assertLostAtMost(1, calls);
    await (await traffic()).neverFailed();
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
      namespace: NAMESPACE,
      annotations: { 'weft.dev/sidecar-mode': 'classic' },
    };
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
        pod: { ...callerPod('web'), containers: [first, served] },
      }),
      serviceObject(named, [{ name: 'http', port: 80, targetPort: 8080 }]),
    );
    const [pod = ''] = await mesh.rolledOut(NAMESPACE, 'classic');
    const found = JSON.parse(await mesh.kubectl('get', 'pod', pod, '-n', NAMESPACE, '-o=json'));
    const names = found.spec.containers.map(({ name }: { readonly name: string }) => name);
    assert.deepEqual(names, ['weft-sidecar', 'first', 'served']);
    const answer = await mesh.call(`${NAMESPACE}/web`, 'http', 'http://classic.shop/x');
    assert.match(answer.body, /By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web;/);
    const log = (): string => mesh.node.logs(`${NAMESPACE}/${pod}`, 'first');
    await eventually(() => readCalls(log()).length >= 20, { what: 'calls', withinMs: 10_000 });
    await mesh.kubectl('delete', 'deployment', 'classic', '-n', NAMESPACE);
    await areGone('classic', [pod]);
    assert.match(log(), /"good":\d+,"bad":0\}\n$/);
  });
});
