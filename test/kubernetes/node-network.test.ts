// The node that cluster tests stand on does what kube-proxy and the cluster's DNS do, also while the API server is away; no Weft in here.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { KubeObject } from '@weft/kube/kube-api';
import { clusterCalls } from '../node/cluster-calls.ts';
import { createNodeNetwork } from '../node/network.ts';
import { runToEnd } from '../node/run-command.ts';
import { nodeMissing, startNode, type TestNode } from '../node/node.ts';
import {
  container,
  deploymentObject,
  env,
  httpProbe,
  podObject,
  serviceObject,
} from '../node/objects.ts';
import { writeClusterKeys } from '../support/kubelab-keys.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await nodeMissing();

suite('the network of a node for tests', { skip: skip ?? false, concurrency: 4 }, () => {
  let node: TestNode;
  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    assert.deepEqual(node.problems, []);
  });

  const { kubectl, apply, namespace, untilPod, untilRolledOut } = clusterCalls(() => node);
  const until = (name: string, ns: string, condition: string): Promise<void> =>
    untilPod({ namespace: ns, name }, condition);

  test('a Service is reached by name from another Pod, by HTTP, TCP and gRPC, also from the Pod behind it; without ready Pods it refuses', async () => {
    const ns = await namespace('services');
    const app = { metadata: { labels: { app: 'echo' } } };
    const echo = podObject(
      { name: 'echo', namespace: ns, ...app.metadata },
      {
        containers: [
          container('http', 'test/http-echo', { readinessProbe: httpProbe('/readyz', 8080) }),
          container('tcp', 'test/tcp-echo', { readinessProbe: { tcpSocket: { port: 9000 } } }),
          container('grpc', 'test/grpc-echo', { readinessProbe: { grpc: { port: 9090 } } }),
        ],
      },
    );
    const ports = [
      { name: 'http', port: 80, targetPort: 8080 },
      { name: 'tcp', port: 9000 },
      { name: 'grpc', port: 9090 },
    ];
    const caller = podObject(
      { name: 'caller', namespace: ns },
      { containers: [container('main', 'test/caller')] },
    );
    await apply(echo, serviceObject({ name: 'echo', namespace: ns }, ports), caller);
    await apply(
      serviceObject({ name: 'pods', namespace: ns }, ports, {
        clusterIP: 'None',
        selector: { app: 'echo' },
      }),
    );
    await until('echo', ns, 'condition=Ready');
    await until('caller', ns, 'condition=Ready');
    const from = { pod: 'services/caller', container: 'main' };
    const http = await eventually(
      async () => {
        const end = await node.call(from, 'http', 'http://echo/hi');
        return end.isOk && end;
      },
      { what: 'an answer over HTTP', everyMs: 50 },
    );
    assert.equal(JSON.parse(http.body).peer, `::ffff:${node.podIp('services/caller')}`);
    assert.equal((await node.call(from, 'tcp', `echo.${ns}:9000`, 'line')).body, 'line');
    const grpc = await node.call(from, 'grpc', 'echo.services.svc.cluster.local:9090');
    assert.equal(grpc.body, 'echo hello');
    // It has an EndpointSlice of its own.
    await eventually(
      async () => (await node.call(from, 'http', 'http://pods.services:8080/')).status === 200,
      { what: 'an answer by the headless Service', everyMs: 50 },
    );
    const itself = await node.exec('services/echo', 'http', [
      'node',
      '-e',
      'fetch("http://echo.services/").then((answer) => console.log(answer.status))',
    ]);
    assert.equal(itself.stdout.trim(), '200');
    assert.match((await node.call(from, 'http', 'http://nobody/')).error, /ENOTFOUND/);
    await fetch(`http://${node.podIp('services/echo')}:8080/fail/readyz`);
    await until('echo', ns, 'condition=Ready=False');
    const refused = await eventually(
      async () => {
        const end = await node.call(from, 'http', 'http://echo/hi');
        return !end.isOk && end;
      },
      { what: 'a refusal', everyMs: 50 },
    );
    assert.match(refused.error, /ECONNREFUSED/);
  });

  test('a Deployment is rolled over while its Service is called, and no call fails', async () => {
    const ns = await namespace('rolling');
    const deployment = (version: string): KubeObject =>
      deploymentObject(
        { name: 'web', namespace: ns },
        {
          replicas: 2,
          strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
          pod: {
            containers: [
              container('web', 'test/http-echo', {
                env: env({ NAME: version, LAME_DUCK_MS: '8000' }),
                readinessProbe: httpProbe('/readyz', 8080),
              }),
            ],
          },
        },
      );
    const load = container('load', 'test/caller', { args: ['loop', '20', 'http', 'http://web/'] });
    await apply(
      deployment('one'),
      serviceObject({ name: 'web', namespace: ns }, [{ port: 80, targetPort: 8080 }]),
    );
    await untilRolledOut({ namespace: ns, name: 'web' });
    await apply(
      podObject({ name: 'load', namespace: ns }, { containers: [load], restartPolicy: 'Never' }),
    );
    await eventually(() => node.logs('rolling/load', 'load').includes('\\"one\\"'), {
      what: 'calls',
      withinMs: 20_000,
    });
    await apply(deployment('two'));
    await untilRolledOut({ namespace: ns, name: 'web' });
    await eventually(() => node.logs('rolling/load', 'load').includes('\\"two\\"'), {
      what: 'calls of the new version',
    });
    node.signal('rolling/load', 'load', 'SIGTERM');
    await until('load', ns, 'jsonpath={.status.phase}=Succeeded');
    const lines = node.logs('rolling/load', 'load').trim().split('\n');
    const failed = lines.filter((line) => line.includes('"isOk":false'));
    assert.deepEqual(failed, []);
    assert.match(lines.at(-1) ?? '', /"bad":0/);
  });

  test('capabilities are those asked for: a container with NET_ADMIN may change the Pod’s network, another may not', async () => {
    const ns = await namespace('caps');
    const rules = [
      'iptables',
      '-t',
      'nat',
      '-A',
      'OUTPUT',
      '-p',
      'tcp',
      '--dport',
      '81',
      '-j',
      'ACCEPT',
    ];
    const capture = container('capture', 'test/shell', {
      command: rules,
      securityContext: {
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
        allowPrivilegeEscalation: false,
      },
    });
    const main = container('main', 'test/shell', {
      command: ['sleep', '1000'],
      securityContext: { capabilities: { drop: ['ALL'] } },
    });
    const spec = {
      initContainers: [capture],
      containers: [main],
      terminationGracePeriodSeconds: 0,
    };
    await apply(podObject({ name: 'caps', namespace: ns }, spec));
    await until('caps', ns, 'condition=Ready');
    assert.notEqual((await node.exec('caps/caps', 'main', rules)).code, 0);
    const { stdout } = await node.inNetworkOf('caps/caps', ['iptables-save', '-t', 'nat']);
    assert.match(stdout, /--dport 81/);
  });

  test('names are those of cluster DNS: Pods of a StatefulSet, external names and named ports; others are not there', async () => {
    const ns = await namespace('names');
    const web = container('web', 'test/http-echo', { readinessProbe: httpProbe('/readyz', 8080) });
    const labels = { app: 'db' };
    await apply(
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: 'db', namespace: ns },
        spec: {
          serviceName: 'db',
          replicas: 2,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [web] } },
        },
      },
      serviceObject({ name: 'db', namespace: ns }, [{ name: 'http', port: 8080 }], {
        clusterIP: 'None',
      }),
      serviceObject({ name: 'alias', namespace: ns }, [], {
        type: 'ExternalName',
        externalName: 'db.names.svc.cluster.local',
        selector: null,
      }),
      podObject(
        { name: 'asker', namespace: ns },
        { containers: [container('main', 'test/caller')] },
      ),
    );
    await kubectl('rollout', 'status', '-n', ns, 'statefulset/db', '--timeout=60s');
    await until('asker', ns, 'condition=Ready');
    const script = `
      const dns = require('node:dns').promises;
      const ask = (what) => what.catch((error) => error.code);
      const all = (name) => ask(dns.lookup(name, { all: true }).then((found) => found.map((one) => one.address).sort()));
      Promise.all([all('db-1.db'), all('db'), all('alias'), ask(dns.resolveSrv('_http._tcp.db.names.svc.cluster.local').then(([one]) => one.name + ':' + one.port)),
        all('db-2.db'), all('example.test')]).then((answers) => console.log(JSON.stringify(answers)));`;
    const [first, second] = [node.podIp('names/db-0'), node.podIp('names/db-1')];
    const both = [first, second].toSorted();
    const srv = 'db.names.svc.cluster.local:8080';
    const expected = [[second], both, both, srv, 'ENOTFOUND', 'ENOTFOUND'];
    // Pods are ready before names are told of them.
    let last = '';
    await eventually(
      async () => {
        last = (await node.exec('names/asker', 'main', ['node', '-e', script])).stdout.trim();
        return last === JSON.stringify(expected);
      },
      { what: JSON.stringify(expected), told: () => last, everyMs: 100 },
    );
  });

  test('a Pod of the host’s network has the node’s address, and is reached there', async () => {
    const ns = await namespace('host');
    const web = container('web', 'test/http-echo', {
      env: env({ PORT: '8099' }),
      readinessProbe: httpProbe('/readyz', 8099),
    });
    const spec = { hostNetwork: true, containers: [web] };
    await apply(podObject({ name: 'web', namespace: ns }, spec));
    await until('web', ns, 'condition=Ready');
    assert.equal(node.podIp('host/web'), node.address);
    assert.equal((await fetch(`http://${node.address}:8099/`)).status, 200);
  });

  test('a webhook behind a Service is called by the API server, from the node’s own address', async () => {
    const ns = await namespace('webhooks');
    const folder = mkdtempSync(join(tmpdir(), 'weft-hook-'));
    const keys = writeClusterKeys(folder, ['hook.webhooks.svc']);
    const text = (file: string): string => readFileSync(file, 'utf8');
    const script = `
      const { readFileSync } = require('node:fs');
      const tls = { cert: readFileSync('/tls/cert'), key: readFileSync('/tls/key') };
      require('node:https').createServer(tls, async (request, response) => {
        let body = '';
        for await (const chunk of request) body += chunk;
        const { uid } = JSON.parse(body).request;
        const status = { message: 'no, ' + request.socket.remoteAddress };
        response.setHeader('content-type', 'application/json');
        const answer = { uid, allowed: false, status };
        response.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }));
      }).listen(8443);`;
    const hook = podObject(
      { name: 'hook', namespace: ns, labels: { app: 'hook' } },
      {
        volumes: [{ name: 'tls', secret: { secretName: 'tls' } }],
        containers: [
          container('hook', 'test/shell', {
            command: ['node', '-e', script],
            volumeMounts: [{ name: 'tls', mountPath: '/tls' }],
            readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
          }),
        ],
      },
    );
    const tls = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'tls', namespace: ns },
      stringData: { cert: text(keys.serverFile), key: text(keys.serverKeyFile) },
    };
    rmSync(folder, { recursive: true });
    await apply(
      tls,
      hook,
      serviceObject({ name: 'hook', namespace: ns }, [{ port: 443, targetPort: 8443 }]),
    );
    await until('hook', ns, 'condition=Ready');
    await apply({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'hook' },
      webhooks: [
        {
          name: 'hook.weft.test',
          clientConfig: {
            service: { name: 'hook', namespace: ns, path: '/' },
            caBundle: Buffer.from(keys.caPem).toString('base64'),
          },
          rules: [
            {
              apiGroups: [''],
              apiVersions: ['v1'],
              resources: ['configmaps'],
              operations: ['CREATE'],
            },
          ],
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': ns } },
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
        },
      ],
    });
    const refusal = await eventually(
      async () => {
        const { code, stderr } = await node.kubectl([
          'create',
          'configmap',
          '-n',
          ns,
          'x',
          '--dry-run=server',
        ]);
        return code !== 0 && !stderr.includes('failed calling') && stderr;
      },
      { what: 'a refusal', everyMs: 50 },
    );
    assert.ok(refusal.includes(`no, ::ffff:${node.address}`), refusal);
    await kubectl('delete', 'validatingwebhookconfiguration', 'hook');
  });
});

suite('a node whose API server goes away', { skip: skip ?? false }, () => {
  test('Pods, Services and names go on without it, and what changed meanwhile is told when it is back', async () => {
    await using node = await startNode();
    const caller = container('main', 'test/caller');
    const web = container('web', 'test/http-echo', { readinessProbe: httpProbe('/readyz', 8080) });
    const objects = [
      podObject(
        { name: 'web', namespace: 'default', labels: { app: 'web' } },
        { containers: [web] },
      ),
      podObject({ name: 'caller', namespace: 'default' }, { containers: [caller] }),
      serviceObject({ name: 'web', namespace: 'default' }, [{ port: 80, targetPort: 8080 }]),
    ];
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    assert.equal((await node.kubectl(['apply', '-f', '-'], { input })).code, 0);
    const wait = (condition: string) =>
      node.kubectl(['wait', `--for=${condition}`, 'pod/web', 'pod/caller', '--timeout=30s']);
    assert.equal((await wait('condition=Ready')).code, 0);
    const call = () =>
      node.call({ pod: 'caller', container: 'main' }, 'http', 'http://web.default/');
    await eventually(async () => (await call()).isOk, { what: 'an answer', everyMs: 50 });
    await node.stopApiServer();
    node.signal('web', 'web', 'SIGKILL');
    await eventually(async () => (await call()).isOk, {
      what: 'an answer of the next run',
      everyMs: 50,
      withinMs: 20_000,
    });
    await node.startApiServer();
    await eventually(
      async () => {
        const path = '-o=jsonpath={.status.containerStatuses[0].restartCount}';
        return (await node.kubectl(['get', 'pod', 'web', path])).stdout === '1';
      },
      { what: 'the status', everyMs: 50, withinMs: 20_000 },
    );
    await node.restartEtcd();
    assert.equal((await wait('condition=Ready')).code, 0);
    assert.equal((await node.kubectl(['delete', 'pod', 'web', '--grace-period=1'])).code, 0);
  });
});

test('a run that was killed leaves nothing behind that the next one does not remove', {
  skip: skip ?? false,
}, async () => {
  const file = new URL('../node/network.ts', import.meta.url).href;
  const script = `
    import { existsSync } from 'node:fs';
    const { createNodeNetwork } = await import(${JSON.stringify(file)});
    const network = await createNodeNetwork();
    await network.attachPod();
    const left = network.enter[1].replace('--net=', '');
    if (!existsSync(left)) throw new Error(left + ' is not there');
    process.stdout.write(left);
    process.kill(process.pid, 'SIGKILL');`;
  const argv = [process.execPath, '--input-type=module', '-e', script];
  const { stdout: left, stderr } = await runToEnd(argv);
  assert.match(left, /^\/run\/netns\//, stderr);
  await using _network = await createNodeNetwork();
  assert.ok(!existsSync(left) && !existsSync(`${left}-0`));
});
