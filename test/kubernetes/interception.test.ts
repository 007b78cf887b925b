// Interception in a cluster: a Pod whose traffic passes its sidecar by is not ready and says why; holes are where they were asked for, and nowhere else.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, suite, test } from 'node:test';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { PODS } from '@weft/kube/resource';
import type { CallEnd } from '../node/apps/calls.ts';
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
  httpProbe,
  livesBy,
  podObject,
  type PodSpecFields,
  serviceObject,
} from '../node/objects.ts';
import { weft as runCheck } from '../support/installation.ts';
import { eventually } from '../support/lab-wait.ts';
import { createTestPki } from '../support/mesh-pki.ts';

const skip = await meshNodeMissing();
const weft = join(fileURLToPath(new URL('../..', import.meta.url)), 'bin/weft');

const NS = 'shop';
/** The check's period, one more try, and the kubelet's own probes. */
const NOTICED_MS = 45_000;

const http = (name: string, port: number, more: PodSpecFields = {}): object =>
  container(name, 'test/http-echo', {
    env: env({ PORT: String(port) }),
    ports: [{ name, containerPort: port }],
    ...more,
  });

const tcpPort = (port: number, name = `http-${port}`): object => ({ name, port, targetPort: port });

suite('interception in a cluster', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode();
    await makeShop();
  });
  after(() => mesh[Symbol.asyncDispose]());

  /** Everything under STRICT: `web` calls, and `outside/stranger` is not in the mesh. */
  async function makeShop(): Promise<void> {
    await mesh.namespace(NS);
    await mesh.namespace('outside', { isInjected: false });
    await mesh.apply(
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: NS },
        spec: { mtls: { mode: 'STRICT' } },
      },
      serviceAccount(NS, 'web'),
      deployment('web', callerPod('web')),
      deployment('prices', { containers: [http('http', 8080), http('more', 8081)] }),
      serviceObject({ name: 'prices', namespace: NS }, [tcpPort(8080), tcpPort(8081)]),
      deploymentObject(
        { name: 'stranger', namespace: 'outside' },
        { replicas: 1, pod: callerPod('default') },
      ),
    );
    for (const name of ['web', 'prices']) await mesh.rolledOut(NS, name);
    await mesh.rolledOut('outside', 'stranger');
  }

  function deployment(
    name: string,
    pod: PodSpecFields,
    annotations: Readonly<Record<string, string>> = {},
  ): KubeObject {
    return deploymentObject({ name, namespace: NS, annotations }, { replicas: 1, pod });
  }

  const podOf = async (app: string): Promise<string> => (await mesh.podsOf(NS, app))[0] ?? '';
  const ipOf = async (app: string): Promise<string> => mesh.node.podIp(`${NS}/${await podOf(app)}`);
  const get = (from: string, url: string): Promise<CallEnd> => mesh.call(from, 'http', url);
  const sidecarLog = (pod: string): string => mesh.node.logs(`${NS}/${pod}`, 'weft-sidecar');
  const iptables = async (pod: string, ...args: readonly string[]): Promise<string> => {
    const argv = ['iptables', '-t', 'nat', ...args];
    const { code, stdout, stderr } = await mesh.node.inNetworkOf(`${NS}/${pod}`, argv);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const capture = async (pod: string): Promise<void> => {
    const argv = [weft, 'capture', 'apply'];
    const { code, stderr } = await mesh.node.inNetworkOf(`${NS}/${pod}`, argv);
    assert.equal(code, 0, stderr);
  };
  const ready = (pod: string, isReady: boolean): Promise<string> => {
    const wait = [`--for=condition=Ready=${isReady}`, `--timeout=${NOTICED_MS / 1_000}s`];
    return mesh.kubectl('wait', '-n', NS, `pod/${pod}`, ...wait);
  };

  function assertPassed(end: CallEnd, what: string): void {
    assert.ok(end.isOk, `${what}: ${JSON.stringify(end)}`);
  }
  function assertRefused(end: CallEnd, what: string): void {
    assert.ok(!end.isOk, `${what}: ${JSON.stringify(end)}`);
  }
  /** Whom the application saw call. */
  const callerIn = (end: CallEnd): string =>
    JSON.parse(end.body).headers['x-forwarded-client-cert'] ?? 'nobody';

  test('a Pod whose rules are taken away turns unready, says which, and is ready again when they are back', async () => {
    const both = deploymentObject(
      { name: 'flushed', namespace: NS },
      { replicas: 2, pod: { containers: [http('http', 8080)] } },
    );
    await mesh.apply(both);
    const [first = '', second = ''] = await mesh.rolledOut(NS, 'flushed');
    const cases = [
      { pod: first, chain: 'WEFT_INBOUND', direction: 'inbound' },
      { pod: second, chain: 'WEFT_OUTPUT', direction: 'outbound' },
    ];
    await Promise.all(
      cases.map(async ({ pod, chain, direction }) => {
        await iptables(pod, '-F', chain);
        await ready(pod, false);
        const reason = new RegExp(`${direction} interception not proven: .* chain ${chain}`);
        await eventually(() => reason.test(sidecarLog(pod)), {
          what: `the reason in the log of ${pod}`,
          withinMs: NOTICED_MS,
          told: () => sidecarLog(pod),
        });
        await capture(pod);
        await ready(pod, true);
        assert.match(await iptables(pod, '-S', chain), /REDIRECT/);
      }),
    );
    assertPassed(await get('shop/web', `http://${await ipOf('flushed')}:8080/`), 'afterwards');
  });

  test('a Pod that nobody redirects never gets ready, says why, and does so when somebody does', async () => {
    const annotations = { 'weft.dev/capture': 'none' };
    await mesh.apply(deployment('bare', { containers: [http('http', 8080)] }, annotations));
    const pod = await eventually(async () => (await mesh.podsOf(NS, 'bare'))[0], { what: 'a Pod' });
    await eventually(
      () => /chain WEFT_OUTPUT.*chain WEFT_INBOUND.*not intercepted/.test(sidecarLog(pod)),
      {
        what: 'the reason in the log',
        withinMs: 20_000,
        told: () => sidecarLog(pod),
      },
    );
    const found = await mesh.node.client.get(PODS, { namespace: NS, name: pod });
    assert.ok(found.ok);
    const names = JSON.stringify(objectAt(found.value, 'spec')?.['initContainers']);
    assert.doesNotMatch(names, /weft-capture|NET_ADMIN/);
    assert.equal(textAt(found.value, 'status', 'phase'), 'Pending', 'the application waits');
    const probed = await mesh.node.inNodeNetwork([
      'curl',
      '-s',
      `http://${await ipOf('bare')}:15021/healthz/ready`,
    ]);
    assert.match(probed.stdout, /interception not proven/);
    const told = await runCheck(mesh.node.cluster, ['check']);
    assert.match(told.stdout, new RegExp(`capture: .*not ready in ${pod}`));
    await capture(pod);
    await ready(pod, true);
  });

  test('exclude-inbound-ports opens these ports to everybody, and no other', async () => {
    const pod = {
      containers: [
        http('http', 8080),
        http('open', 9100, { readinessProbe: httpProbe('/readyz', 9100) }),
      ],
    };
    await mesh.apply(
      deployment('holes', pod, { 'weft.dev/exclude-inbound-ports': '9100' }),
      serviceObject({ name: 'holes', namespace: NS }, [tcpPort(8080), tcpPort(9100)]),
    );
    await mesh.rolledOut(NS, 'holes');
    const ip = await ipOf('holes');
    assertPassed(await get('outside/stranger', `http://${ip}:9100/`), 'stranger at the hole');
    assertRefused(await get('outside/stranger', `http://${ip}:8080/`), 'stranger elsewhere');
    for (const port of [8080, 9100]) {
      await mesh.answered('shop/web', 'http', `http://holes.shop:${port}/`);
    }
    for (const host of ['holes.shop', ip]) {
      const hole = await get('shop/web', `http://${host}:9100/`);
      assertPassed(hole, `${host}: a caller of the mesh at the hole`);
      assert.equal(callerIn(hole), 'nobody');
      const elsewhere = await get('shop/web', `http://${host}:8080/`);
      assertPassed(elsewhere, `${host}: a caller of the mesh elsewhere`);
      assert.match(callerIn(elsewhere), /sa\/web/);
    }
  });

  test('exclude-outbound-ports and -cidrs let these calls past the sidecar, and no other', async () => {
    const ip = await ipOf('prices');
    await mesh.apply(
      deployment('by-port', callerPod('web'), { 'weft.dev/exclude-outbound-ports': '8081' }),
      deployment('by-cidr', callerPod('web'), { 'weft.dev/exclude-outbound-cidrs': `${ip}/32` }),
    );
    for (const name of ['by-port', 'by-cidr']) await mesh.rolledOut(NS, name);
    const cases: readonly (readonly [from: string, url: string, isDirect: boolean])[] = [
      ['by-port', 'http://prices.shop:8081/', true],
      ['by-port', `http://${ip}:8081/`, true],
      ['by-port', 'http://prices.shop:8080/', false],
      ['by-cidr', `http://${ip}:8080/`, true],
      ['by-cidr', `http://${ip}:8081/`, true],
      ['by-cidr', 'http://prices.shop:8080/', false],
      ['by-cidr', `http://${await ipOf('holes')}:8080/`, false],
    ];
    for (const [from, url, isDirect] of cases) {
      const end = await get(`shop/${from}`, url);
      // In plain text, which STRICT refuses.
      if (isDirect) assertRefused(end, `${from} ${url}`);
      else {
        assertPassed(end, `${from} ${url}`);
        assert.match(callerIn(end), /sa\/web/);
      }
    }
  });

  test('an application on the address of its Pod is reached, and one on loopback stays there', async () => {
    const podIp = { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } };
    const pod = {
      containers: [
        http('pod-ip', 8080, { env: [...env({ PORT: '8080' }), podIp] }),
        http('loopback', 8081, { env: env({ PORT: '8081', HOST: '127.0.0.1' }) }),
      ],
    };
    await mesh.apply(deployment('placed', pod));
    await mesh.rolledOut(NS, 'placed');
    const ip = await ipOf('placed');
    assertPassed(await get('shop/web', `http://${ip}:8080/`), 'on the address of its Pod');
    const hidden = await get('shop/web', `http://${ip}:8081/`);
    assert.equal(hidden.status, 503, JSON.stringify(hidden));
    const script = "fetch('http://127.0.0.1:8081/').then((r) => console.log(r.status))";
    const name = `${NS}/${await podOf('placed')}`;
    const own = await mesh.node.exec(name, 'pod-ip', ['node', '-e', script]);
    assert.equal(own.stdout.trim(), '200', own.stderr);
  });

  const containerStates = async (pod: string): Promise<ReadonlyMap<string, boolean>> => {
    const found = await mesh.node.client.get(PODS, { namespace: NS, name: pod });
    assert.ok(found.ok);
    const states = ['containerStatuses', 'initContainerStatuses'].flatMap((key) => {
      const list = objectAt(found.value, 'status')?.[key];
      return Array.isArray(list) ? list : [];
    });
    return new Map(states.map((state) => [textAt(state, 'name') ?? '', state.ready === true]));
  };

  test('probes over HTTP, HTTPS, TCP and gRPC and by command see the application under STRICT', async () => {
    const { keyPem, chainPem } = createTestPki().issue({ uris: [] });
    const tls = { name: 'tls', secret: { secretName: 'app-tls' } };
    const tlsEnv = { PORT: '8443', TLS_CERT: '/tls/tls.crt', TLS_KEY: '/tls/tls.key' };
    const readiness = (probe: object): PodSpecFields => ({
      readinessProbe: { ...probe, periodSeconds: 1 },
    });
    const https = { httpGet: { scheme: 'HTTPS', path: '/readyz', port: 'https' } };
    const good = {
      volumes: [tls],
      containers: [
        http('http', 8080, readiness({ httpGet: { path: '/readyz', port: 'http' } })),
        http('https', 8443, {
          env: env(tlsEnv),
          volumeMounts: [{ name: 'tls', mountPath: '/tls' }],
          ...readiness(https),
          // At a path of its own: what is only unready must not be killed while it is told to be well.
          ...livesBy({ httpGet: { ...https.httpGet, path: '/healthz' } }),
        }),
        container('tcp', 'test/tcp-echo', {
          env: env({ PORT: '7070' }),
          ...readiness({ tcpSocket: { port: 7070 } }),
        }),
        container('grpc', 'test/grpc-echo', {
          env: env({ PORT: '9090' }),
          ...readiness({ grpc: { port: 9090 } }),
        }),
        container('exec', 'test/caller', {
          args: ['idle'],
          ...readiness({ exec: { command: ['true'] } }),
        }),
      ],
    };
    const bad = {
      containers: [
        http('http', 8080, readiness({ httpGet: { path: '/status/500', port: 'http' } })),
        http('https', 8081, readiness({ httpGet: { scheme: 'HTTPS', path: '/', port: 'https' } })),
        container('tcp', 'test/caller', {
          args: ['idle'],
          ...readiness({ tcpSocket: { port: 7070 } }),
        }),
        http('grpc', 8082, readiness({ grpc: { port: 8082 } })),
        container('exec', 'test/caller', {
          args: ['idle'],
          ...readiness({ exec: { command: ['false'] } }),
        }),
        http('fine', 8083, readiness({ httpGet: { path: '/readyz', port: 8083 } })),
      ],
    };
    await mesh.apply(
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'app-tls', namespace: NS },
        stringData: { 'tls.crt': chainPem, 'tls.key': keyPem },
      },
      deployment('good', good),
    );
    const [goodPod = ''] = await mesh.rolledOut(NS, 'good');
    await mesh.apply(deployment('bad', bad));
    const badPod = await eventually(async () => (await mesh.podsOf(NS, 'bad'))[0], {
      what: 'a Pod',
    });
    const wanted = new Map(['http', 'https', 'tcp', 'grpc', 'exec'].map((name) => [name, false]));
    const isAsWanted = (states: ReadonlyMap<string, boolean>): boolean =>
      states.get('fine') === true &&
      states.get('weft-sidecar') === true &&
      [...wanted].every(([name, isReady]) => states.get(name) === isReady);
    await eventually(async () => isAsWanted(await containerStates(badPod)), {
      what: 'only the containers whose probes pass are ready',
      withinMs: 60_000,
      told: () => JSON.stringify([...wanted]),
    });
    await mesh.kubectl('delete', 'deployment', 'bad', '-n', NS, '--wait=false');
    const ip = mesh.node.podIp(`${NS}/${goodPod}`);
    assertPassed(await get('shop/web', `https://${ip}:8443/`), 'its own TLS inside');
    assertRefused(
      await get('outside/stranger', `http://${ip}:15021/app-probe/http/liveness`),
      'a probe that is not there',
    );
    for (const [name, base] of [
      ['http', `http://${ip}:8080`],
      ['https', `https://${ip}:8443`],
    ] as const) {
      assertRefused(
        await get('shop/web', `${base}/fail/readyz`).then(() => get('shop/web', `${base}/readyz`)),
        name,
      );
      await eventually(async () => (await containerStates(goodPod)).get(name) === false, {
        what: `${name} is unready`,
        withinMs: 15_000,
      });
      assertPassed(await get('shop/web', `${base}/heal/readyz`), `${name} is told to be well`);
      await ready(goodPod, true);
    }
  });

  test("an application that would run as the sidecar's user is refused, with the field and the cure", async () => {
    const pod = {
      containers: [http('http', 8080, { securityContext: { runAsUser: 1337 } })],
    };
    const input = JSON.stringify(podObject({ name: 'same', namespace: NS }, pod));
    const made = await mesh.node.kubectl(['create', '-f', '-'], { input });
    assert.notEqual(made.code, 0);
    assert.match(made.stderr, /spec\.containers\[0\]\.securityContext\.runAsUser/);
    assert.match(made.stderr, /container http runs as user 1337, the sidecar's/);
    assert.match(made.stderr, /run it as another user/);
  });

  test('names are found over UDP and TCP from inside the mesh', async () => {
    const pod = `${NS}/${await podOf('web')}`;
    for (const options of ['ndots:5', 'use-vc']) {
      const argv = ['env', `RES_OPTIONS=${options}`, 'getent', 'ahostsv4', 'prices.shop'];
      const { code, stdout, stderr } = await mesh.node.exec(pod, 'caller', argv);
      assert.equal(code, 0, `${options}: ${stderr}`);
      assert.match(stdout, /^10\.96\./);
    }
  });
});
