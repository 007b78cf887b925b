// The node that cluster tests stand on does what a kubelet, a scheduler, kube-proxy and the cluster's DNS do; no Weft in here.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { textAt } from '@weft/kube/object-fields';
import { TOKEN_REVIEWS } from '@weft/kube/resource';
import { clusterCalls } from '../node/cluster-calls.ts';
import { nodeMissing, startNode, type TestNode } from '../node/node.ts';
import { container, deploymentObject, env, httpProbe, podObject } from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await nodeMissing();

suite('a node for tests', { skip: skip ?? false, concurrency: 4 }, () => {
  let node: TestNode;
  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    assert.deepEqual(node.problems, []);
  });

  const {
    kubectl,
    apply,
    namespace,
    untilPod,
    untilRolledOut,
    pod: podOf,
  } = clusterCalls(() => node);
  const until = (name: string, ns: string, condition: string): Promise<void> =>
    untilPod({ namespace: ns, name }, condition);

  const restartsOf = (ns: string, name: string): Promise<string> =>
    kubectl(
      'get',
      'pod',
      '-n',
      ns,
      name,
      '-o=jsonpath={.status.containerStatuses[0].restartCount}',
    );

  test('a Pod has an address of its own, environment, user and host name, and is Ready when its probe passes', async () => {
    const ns = await namespace('bare');
    const web = container('web', 'test/http-echo:1.0', {
      env: [
        ...env({ PORT: '8080', GREETING: 'it is $(PORT)' }),
        { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      ],
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe: httpProbe('/readyz', 'http'),
      securityContext: { runAsUser: 1000, runAsNonRoot: true, readOnlyRootFilesystem: true },
    });
    await apply(podObject({ name: 'web', namespace: ns }, { containers: [web] }));
    await until('web', ns, 'condition=Ready');
    const ip = textAt(await podOf(ns, 'web'), 'status', 'podIP');
    assert.equal(ip, node.podIp('bare/web'));
    const asked =
      'id -u; hostname; echo $GREETING; echo $POD_IP; touch /x 2>/dev/null || echo read-only';
    const { stdout } = await node.exec('bare/web', 'web', ['sh', '-c', asked]);
    assert.deepEqual(stdout.trim().split('\n'), ['1000', 'web', 'it is 8080', ip, 'read-only']);
    const answer = await fetch(`http://${ip}:8080/fail/readyz`);
    assert.equal(JSON.parse(await answer.text()).peer, `::ffff:${node.address}`);
    await until('web', ns, 'condition=Ready=False');
    await fetch(`http://${ip}:8080/heal/readyz`);
    await until('web', ns, 'condition=Ready');
    assert.match(node.logs('bare/web', 'web'), /http-echo listens on 8080/);
  });

  test('an image that nobody knows leaves the Pod waiting, with the reason that kubelets give', async () => {
    const ns = await namespace('unknown');
    await apply(
      podObject({ name: 'x', namespace: ns }, { containers: [container('x', 'no/such:1')] }),
    );
    const path = 'jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull';
    await until('x', ns, path);
    await kubectl('delete', 'pod', '-n', ns, 'x');
  });

  test('init containers run one after the other, a sidecar starts before what follows, and ends after the application; a container waits for the postStart hook of the one before', async () => {
    const ns = await namespace('order');
    const shell = (name: string, script: string, fields: object = {}): object =>
      container(name, 'test/shell', {
        command: ['sh', '-c', script],
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
        ...fields,
      });
    const say = (word: string): string => `echo ${word} >> /shared/log`;
    const onTerm = (word: string): string =>
      `trap '${say(word)}; exit 0' TERM; touch /tmp/up; while :; do sleep 0.02; done`;
    const isUp = {
      exec: { command: ['cat', '/tmp/up'] },
      periodSeconds: 1,
      failureThreshold: 60,
    };
    const spec = {
      volumes: [{ name: 'shared', hostPath: { path: node.folder } }],
      initContainers: [
        shell('first', say('first')),
        shell('mesh', `sleep 0.3; ${say('mesh')}; ${onTerm('mesh-ends')}`, {
          restartPolicy: 'Always',
          startupProbe: isUp,
        }),
        shell('second', say('second')),
      ],
      containers: [
        shell('front', `trap 'exit 0' TERM; while :; do sleep 0.02; done`, {
          lifecycle: {
            postStart: { exec: { command: ['sh', '-c', `sleep 0.3; ${say('front')}`] } },
          },
        }),
        shell('app', `${say('app')}; ${onTerm('app-ends')}`, {
          startupProbe: isUp,
          lifecycle: { preStop: { exec: { command: ['sh', '-c', say('app-stops')] } } },
        }),
      ],
    };
    await apply(podObject({ name: 'all', namespace: ns }, spec));
    await until('all', ns, 'condition=Ready');
    await kubectl('delete', 'pod', '-n', ns, 'all');
    const log = await node.inNodeNetwork(['cat', `${node.folder}/log`]);
    const words = ['first', 'mesh', 'second', 'front', 'app', 'app-stops', 'app-ends', 'mesh-ends'];
    assert.deepEqual(log.stdout.trim().split('\n'), words);
  });

  test('a container that ends is started again, later each time, and one that its liveness probe calls dead is ended', async () => {
    const ns = await namespace('restart');
    const crash = container('crash', 'test/shell', {
      command: ['sh', '-c', 'echo once more; exit 3'],
    });
    const sick = container('sick', 'test/http-echo', {
      startupProbe: httpProbe('/healthz', 8080, { failureThreshold: 30 }),
      livenessProbe: httpProbe('/healthz', 8080, { failureThreshold: 1 }),
    });
    await apply(
      podObject({ name: 'crash', namespace: ns }, { containers: [crash] }),
      podObject({ name: 'sick', namespace: ns }, { containers: [sick] }),
    );
    const why = 'jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff';
    await until('crash', ns, why);
    assert.match(node.logs('restart/crash', 'crash'), /once more\nonce more/);
    await until('sick', ns, 'condition=Ready');
    // A probe that has to wait for a processor may have ended it before.
    const before = Number(await restartsOf(ns, 'sick'));
    await eventually(
      async () => (await fetch(`http://${node.podIp('restart/sick')}:8080/fail/healthz`)).ok,
      {
        what: 'the application',
      },
    );
    await eventually(async () => Number(await restartsOf(ns, 'sick')) > before, {
      what: 'the restart',
      withinMs: 20_000,
      everyMs: 100,
    });
    await until('sick', ns, 'condition=Ready');
  });

  test('volumes of ConfigMaps and Secrets follow their sources, and a Pod waits for one that is not there yet', async () => {
    const ns = await namespace('volumes');
    const config = (text: string): object => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'settings', namespace: ns },
      data: { 'a.txt': text },
    });
    const spec = {
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'secret', secret: { secretName: 'later', optional: true } },
        {
          name: 'about',
          downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] },
        },
      ],
      containers: [
        container('main', 'test/shell', {
          command: ['sleep', '1000'],
          volumeMounts: [
            { name: 'settings', mountPath: '/etc/settings' },
            { name: 'secret', mountPath: '/var/run/secret' },
            { name: 'about', mountPath: '/about' },
          ],
        }),
      ],
      terminationGracePeriodSeconds: 0,
    };
    await apply(podObject({ name: 'reader', namespace: ns, labels: { app: 'r' } }, spec));
    await until(
      'reader',
      ns,
      'jsonpath={.status.containerStatuses[0].state.waiting.reason}=ContainerCreating',
    );
    await apply(config('one'));
    await until('reader', ns, 'condition=Ready');
    const read = async (path: string): Promise<string> =>
      (await node.exec('volumes/reader', 'main', ['cat', path])).stdout;
    assert.equal(await read('/etc/settings/a.txt'), 'one');
    assert.equal(await read('/about/labels'), 'app="r"');
    await apply(config('two'), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'later', namespace: ns },
      stringData: { key: 'hidden' },
    });
    await eventually(async () => (await read('/etc/settings/a.txt')) === 'two', {
      what: 'the change',
    });
    await eventually(async () => (await read('/var/run/secret/key')) === 'hidden', {
      what: 'the Secret',
    });
  });

  test('a projected token is bound to its Pod and its audience, and is replaced in place', async () => {
    const ns = await namespace('tokens');
    const projected = {
      sources: [
        { serviceAccountToken: { audience: 'weft-ca', expirationSeconds: 3600, path: 'token' } },
      ],
    };
    const main = container('main', 'test/shell', {
      command: ['sleep', '1000'],
      volumeMounts: [{ name: 'id', mountPath: '/var/run/secrets/weft' }],
    });
    const spec = {
      volumes: [{ name: 'id', projected }],
      containers: [main],
      terminationGracePeriodSeconds: 0,
    };
    await apply(podObject({ name: 'holder', namespace: ns }, spec));
    await until('holder', ns, 'condition=Ready');
    const read = async (): Promise<string> =>
      (await node.exec('tokens/holder', 'main', ['cat', '/var/run/secrets/weft/token'])).stdout;
    const review = (token: string, audience: string) =>
      node.client.create(TOKEN_REVIEWS, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      });
    const token = await read();
    const good = await review(token, 'weft-ca');
    assert.ok(good.ok);
    const user = JSON.stringify(good.value['status']);
    assert.match(user, /"authenticated":true/);
    assert.match(user, /system:serviceaccount:tokens:default/);
    assert.match(user, /"authentication.kubernetes.io\/pod-name":\["holder"\]/);
    const other = await review(token, 'somebody-else');
    assert.ok(other.ok && !JSON.stringify(other.value['status']).includes('"authenticated":true'));
    await node.rotateToken('tokens/holder');
    await eventually(async () => (await read()) !== token, { what: 'another token' });
  });

  test('a Job completes, and its sidecar ends after it', async () => {
    const ns = await namespace('jobs');
    const mesh = container('mesh', 'test/shell', {
      command: ['sh', '-c', "trap 'exit 0' TERM; while :; do sleep 0.02; done"],
      restartPolicy: 'Always',
    });
    const work = container('work', 'test/shell', { command: ['sh', '-c', 'echo done'] });
    const pod = { restartPolicy: 'Never', initContainers: [mesh], containers: [work] };
    await apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace: ns },
      spec: { template: { spec: pod } },
    });
    await kubectl('wait', '-n', ns, '--for=condition=Complete', 'job/once', '--timeout=30s');
  });

  test('a Pod that is killed is gone at once, and its ReplicaSet makes another', async () => {
    const ns = await namespace('killed');
    const pod = { containers: [container('web', 'test/http-echo')] };
    await apply(deploymentObject({ name: 'web', namespace: ns }, { replicas: 1, pod }));
    await untilRolledOut({ namespace: ns, name: 'web' });
    const name = async (): Promise<string> =>
      (await kubectl('get', 'pods', '-n', ns, '-o=name')).trim().replace('pod/', '');
    const first = await name();
    await node.killPod(`${ns}/${first}`);
    await eventually(async () => ![first, ''].includes(await name()), {
      what: 'another Pod',
      everyMs: 50,
    });
    await until(await name(), ns, 'condition=Ready');
  });
});
