// gRPC without a proxy and Envoys of the mesh call each other, in networks of their own: by mutual TLS, and under one set of policies.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createJoinToken } from '@weft/ca/join-tokens';
import { DaemonProcess } from '../../src/cli/demo/daemon-process.ts';
import { type EnvoyLab, envoyLab, openEnvoyLab } from '../support/envoy-lab.ts';
import { planeOf, principalOf, SENDS_NAME, targetOf } from '../support/grpc-lab.ts';
import {
  type ClientKind,
  clientProgram,
  GrpcClient,
  GrpcServer,
} from '../support/grpc-programs.ts';
import { modeYaml, NAMESPACE, podYaml, policyYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { shown } from '../support/shown.ts';
import { weftCommand } from '../support/weft-main.ts';

const KINDS: readonly ClientKind[] = ['grpc-go', 'grpc-js', 'grpcio'];
const PORT = 8_090;
const SERVICE = [{ name: 'grpc', port: 80, targetPort: PORT }];
const VIP = '10.254.7.7';
const SAY = '/weft.test.Echo/Say';
const OTHER = '/weft.test.Echo/Other';
/** Of a Pod's application: its connections are redirected to its Envoy. */
const APPLICATION = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups'];

const missing = await (async () => {
  if (envoyLab.skip !== false) return envoyLab.skip;
  for (const kind of KINDS) {
    const program = await clientProgram(kind);
    if ('missing' in program) return program.missing;
  }
  return false;
})();

describe('gRPC without a proxy and Envoy', { skip: missing }, () => {
  const stack = new AsyncDisposableStack();
  let lab: EnvoyLab;
  let bootstrap = '';

  before(async () => {
    const rules = (app: string): string =>
      `[{ from: [{ source: { principals: ["${principalOf(app)}"] } }], to: [{ operation: { paths: ["${SAY}"] } }] }]`;
    const manifests = {
      'mode.yaml': modeYaml('STRICT'),
      'policies.yaml': [
        policyYaml({ name: 'to-front', action: 'ALLOW', app: 'front', rules: rules('web') }),
        policyYaml({ name: 'to-web', action: 'ALLOW', app: 'web', rules: rules('front') }),
      ].join('---\n'),
      'behind.yaml': serviceYaml({ name: 'behind', app: 'front', ports: SERVICE }),
      'direct.yaml': serviceYaml({ name: 'direct', app: 'web', ports: SERVICE, clusterIP: VIP }),
    };
    const pods = [
      { name: 'front', proxy: 'envoy' },
      { name: 'web', proxy: 'none' },
    ] as const;
    lab = stack.use(await openEnvoyLab({ pods, manifests }));
    await lab.write(
      'web-pod.yaml',
      podYaml({ name: 'web-0', ip: lab.pod('web').ip, ports: [PORT] }),
    );
    bootstrap = await startAgent(lab, stack);
  });
  after(() => stack.disposeAsync());

  test('clients call a workload behind an Envoy, which lets them in by policy', async () => {
    const enter = [...lab.enter('front'), ...APPLICATION];
    const listen = `${lab.pod('front').ip}:${PORT}`;
    await using server = await GrpcServer.start({ listen, name: 'behind', enter });
    assert.equal(server.address, listen);
    for (const kind of KINDS) {
      await using client = await GrpcClient.start(kind, bootstrap, lab.enter('web'));
      const target = targetOf('behind');
      const allowed = await client.call({ target, method: SAY, waits: true });
      assert.deepEqual(allowed.codes, ['OK'], `${kind} ${allowed.message}`);
      const denied = await client.call({ target, method: OTHER });
      assert.equal(denied.codes[0]?.replace('_', ''), 'PERMISSIONDENIED', denied.message);
      shown(planeOf(kind), 'calls-envoy');
    }
    await lab.checkNothingRefused();
  });

  test('a PERMISSIVE Envoy knows clients by the server name that they call', async () => {
    const enter = [...lab.enter('front'), ...APPLICATION];
    const listen = `${lab.pod('front').ip}:${PORT}`;
    await using _server = await GrpcServer.start({ listen, name: 'behind', enter });
    const target = targetOf('behind');
    await using silent = await GrpcClient.start('grpc-go', bootstrap, lab.enter('web'));
    const toSilent = (code: string) =>
      eventually(
        async () => {
          const { codes } = await silent.call({ target, method: SAY, timeMs: 1_000, fresh: true });
          return codes[0] === code;
        },
        { what: `${code} for who says no name`, withinMs: 20_000 },
      );
    await lab.write('mode.yaml', modeYaml('PERMISSIVE'));
    try {
      await toSilent('UNAVAILABLE');
      for (const kind of ['grpc-go', 'grpcio'] as const) {
        const named = [...lab.enter('web'), ...SENDS_NAME];
        await using client = await GrpcClient.start(kind, bootstrap, named);
        const allowed = await client.call({ target, method: SAY, waits: true });
        assert.deepEqual(allowed.codes, ['OK'], `${kind} ${allowed.message}`);
        const denied = await client.call({ target, method: OTHER });
        assert.equal(denied.codes[0]?.replace('_', ''), 'PERMISSIONDENIED', denied.message);
      }
      await lab.checkNothingRefused();
    } finally {
      await lab.write('mode.yaml', modeYaml('STRICT'));
      await toSilent('OK');
    }
  });

  test('an application behind an Envoy calls a gRPC server, which knows it and follows its policy', async () => {
    const listen = `${lab.pod('web').ip}:${PORT}`;
    const enter = lab.enter('web');
    await using server = await GrpcServer.start({ listen, name: 'web', bootstrap, enter });
    assert.equal(server.address, listen);
    const inside = [...lab.enter('front'), ...APPLICATION];
    await using client = await GrpcClient.start('grpc-go', bootstrap, inside);
    const target = `dns:///${VIP}:80`;
    const allowed = await client.call({ target, method: SAY, waits: true });
    assert.deepEqual(allowed.codes, ['OK'], allowed.message);
    assert.deepEqual(allowed.values, ['web spiffe://cluster.local/ns/shop/sa/front']);
    const denied = await client.call({ target, method: OTHER });
    assert.deepEqual(denied.codes, ['PERMISSIONDENIED'], denied.message);
    await lab.checkNothingRefused();
    shown('envoy', 'calls-grpc');
  });
});

/** In the Pod's network. @returns its bootstrap. */
async function startAgent(lab: EnvoyLab, stack: AsyncDisposableStack): Promise<string> {
  const stateDir = lab.state;
  const owner = { stateDir, namespace: NAMESPACE, serviceAccount: 'web' };
  const { token } = await createJoinToken(owner);
  const tokenFile = join(lab.root, 'web.token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  const bootstrap = join(lab.root, 'web.json');
  const options = {
    proxy: 'none',
    'grpc-bootstrap': bootstrap,
    pod: 'web-0',
    namespace: NAMESPACE,
    'pod-ip': lab.pod('web').ip,
    bundle: join(stateDir, 'bundle.pem'),
    'token-file': tokenFile,
    xds: `${lab.gateway}:15012`,
    enrolment: `${lab.gateway}:15013`,
  };
  const agent = new DaemonProcess({
    weft: weftCommand,
    name: 'web',
    enter: lab.enter('web'),
    args: ['sidecar', ...Object.entries(options).flatMap(([key, value]) => [`--${key}`, value])],
    logFile: join(lab.root, 'web-agent.log'),
  });
  stack.use(agent);
  await agent.ready();
  return bootstrap;
}
