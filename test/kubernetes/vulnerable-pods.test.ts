// A Pod whose image turns out to be vulnerable while it runs is told of, and loses its identity in the mesh: its connections, its callers and its certificate.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { PODS, SERVICES, WORKLOAD_POLICIES } from '@weft/kube/resource';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import {
  callerPod,
  meshNodeMissing,
  type MeshNode,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import { deploymentObject, httpEcho, serviceObject, tcpEcho } from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';
import { VULNERABILITY_REPORT_CRD, vulnerabilityReport } from '../support/trivy-reports.ts';

const skip = await meshNodeMissing();
const SVID_SECONDS = 30;
/** Reports may be asked for 20 s after their kind has come. */
const SEEN_MS = 60_000;

/** Opens a connection and says when it is closed from the other side. */
const HOLD = `
const socket = require('node:net').connect({host: process.argv[1], port: 7070, allowHalfOpen: true});
socket.write('hello');
socket.on('data', () => process.stderr.write('open'));
socket.on('error', () => undefined);
socket.on('close', () => process.stdout.write('cut'));
socket.on('end', () => socket.destroy());
setTimeout(() => { process.stdout.write('still open'); process.exit(0); }, 90000).unref();
`;

suite('Pods with vulnerable images', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode({ values: [`ca.svidTtl=${SVID_SECONDS}s`] });
    await makeShop();
  });
  after(() => mesh?.[Symbol.asyncDispose]());

  /** `web`, twice, and `cart` call `prices`; `cart` calls `web` too. */
  async function makeShop(): Promise<void> {
    await mesh.namespace('shop');
    await mesh.apply(...['web', 'cart', 'prices'].map((name) => serviceAccount('shop', name)));
    const prices = {
      serviceAccountName: 'prices',
      containers: [httpEcho(), tcpEcho()],
    };
    const ports = [
      { name: 'http', port: 80, targetPort: 'http' },
      { name: 'tcp', port: 7070, targetPort: 'tcp' },
    ];
    const named = { name: 'prices', namespace: 'shop' };
    await mesh.apply(
      deploymentObject(named, { replicas: 1, pod: prices }),
      serviceObject(named, ports),
      deploymentObject({ name: 'web', namespace: 'shop' }, { replicas: 1, pod: callerPod('web') }),
      deploymentObject({ name: 'twin', namespace: 'shop' }, { replicas: 1, pod: callerPod('web') }),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: 'shop' },
        spec: { mtls: { mode: 'STRICT' } },
      },
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'WorkloadPolicy',
        metadata: { name: 'scanned', namespace: 'shop' },
        spec: {
          vulnerabilities: { maxSeverity: 'HIGH', onCrossing: { revokeIdentity: true } },
        },
      },
    );
    for (const name of ['prices', 'web', 'twin']) await mesh.rolledOut('shop', name);
  }

  async function report(vulnerabilities: readonly PlainObject[]): Promise<void> {
    const [pod = ''] = await mesh.podsOf('shop', 'web');
    const found = await mesh.node.client.get(PODS, { namespace: 'shop', name: pod });
    assert.ok(found.ok);
    const [owner] = (objectAt(found.value, 'metadata')?.['ownerReferences'] ??
      []) as readonly PlainObject[];
    assert.ok(owner);
    await mesh.apply(
      vulnerabilityReport({
        name: 'web',
        namespace: 'shop',
        artifact: { repository: 'test/caller', tag: 'latest' },
        of: [`${textAt(owner, 'kind')}/${textAt(owner, 'name')}`, 'caller'],
        vulnerabilities,
      }),
    );
  }

  async function vulnerable(): Promise<PlainObject | undefined> {
    const found = await mesh.node.client.get(WORKLOAD_POLICIES, {
      namespace: 'shop',
      name: 'scanned',
    });
    assert.ok(found.ok);
    const conditions: unknown = objectAt(found.value, 'status')?.['conditions'];
    return Array.isArray(conditions)
      ? conditions.filter(isPlainObject).find((one) => one['type'] === 'Vulnerable')
      : undefined;
  }

  const until = (what: string, is: () => Promise<boolean>): Promise<boolean> =>
    eventually(is, { what, withinMs: SEEN_MS, everyMs: 200 });
  const calls = async (app: string): Promise<number> =>
    (await mesh.call(`shop/${app}`, 'http', 'http://prices.shop/x')).status;

  test('without Trivy Operator a policy says that nothing is known, and takes nobody anything', async () => {
    await until(
      'a status that says so',
      async () => (await vulnerable())?.['status'] === 'Unknown',
    );
    assert.match(String((await vulnerable())?.['message']), /install Trivy Operator/);
    assert.equal(await calls('web'), 200);
  });

  test('a report that crosses cuts what is open, refuses what is new, and leaves others of the account alone', async () => {
    const service = await mesh.node.client.get(SERVICES, { namespace: 'shop', name: 'prices' });
    assert.ok(service.ok);
    const ip = textAt(service.value, 'spec', 'clusterIP') ?? '';
    const [pod = ''] = await mesh.podsOf('shop', 'web');
    const held = mesh.node.inNetworkOf(`shop/${pod}`, [process.execPath, '-e', HOLD, ip]);
    await mesh.apply(VULNERABILITY_REPORT_CRD);
    await mesh.kubectl(
      'wait',
      '--for=condition=Established',
      'crd/vulnerabilityreports.aquasecurity.github.io',
      '--timeout=20s',
    );
    await report([{ vulnerabilityID: 'CVE-2026-0001', severity: 'CRITICAL' }]);
    assert.equal((await held).stdout, 'cut');
    await until('calls are refused', async () => (await calls('web')) === 403);
    assert.equal(await calls('twin'), 200);
  });

  test('policy, Pod, metric and command say which Pod, and why', async () => {
    await until('a status that says so', async () => (await vulnerable())?.['status'] === 'True');
    const [pod = ''] = await mesh.podsOf('shop', 'web');
    assert.match(
      String((await vulnerable())?.['message']),
      new RegExp(
        `^1 of 3 Pods have more vulnerabilities than may be, and 1 lost their identity: shop/${pod}`,
      ),
    );
    const [controlPlane = ''] = await mesh.controlPlanes();
    const scraped = await mesh.node.inNetworkOf(`weft-system/${controlPlane}`, [
      'curl',
      '--silent',
      'http://127.0.0.1:15014/metrics',
    ]);
    assert.match(
      scraped.stdout,
      /^weft_workload_vulnerable\{policy="WorkloadPolicy shop\/scanned"\} 1$/m,
    );
    await until('an Event', async () => {
      const described = await mesh.kubectl('describe', 'pod', pod, '-n', 'shop');
      return described.includes('IdentityRevoked') && described.includes('CVE-2026-0001');
    });
  });

  test('its certificate is renewed no more, and that of others of the account is', async () => {
    await until('an expired certificate', async () =>
      (await mesh.sidecarLogs('shop', 'web')).includes('the certificate has expired'),
    );
    assert.equal(await calls('twin'), 200);
    assert.doesNotMatch(await mesh.sidecarLogs('shop', 'twin'), /the certificate has expired/);
    const [controlPlane = ''] = await mesh.controlPlanes();
    const log = mesh.node.logs(`weft-system/${controlPlane}`, 'control-plane');
    assert.match(log, /identity-revoked/);
  });

  test('with a report that is good it has its identity back', async () => {
    await report([]);
    await until('calls that pass', async () => (await calls('web')) === 200);
    await until('a status that says so', async () => (await vulnerable())?.['status'] !== 'True');
  });
});
