// Credentials in Pods of a cluster: from a Secret to the file, the socket and the request of another user's application, and back out of them.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  callerPod,
  type MeshNode,
  meshNodeMissing,
  serviceAccount,
  startMeshNode,
} from '../node/mesh-node.ts';
import { deploymentObject, httpEcho, serviceObject } from '../node/objects.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();
/** It is there before the chart is, which has a Role in it. */
const NAMESPACE = 'default';
const FOLDER = '/var/run/weft/credentials';
const FILE = `${FOLDER}/db/password`;
const VALUE = 's3cret-Q9f-1';
const NEXT = 's3cret-Q9f-2';

suite('credentials in Pods', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  before(async () => {
    mesh = await startMeshNode({ values: ['credentials.secrets.default={shop-db}'] });
    await mesh.namespace(NAMESPACE);
    await makeShop();
  });
  after(() => mesh[Symbol.asyncDispose]());

  const secret = (password: string): object => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'shop-db', namespace: NAMESPACE },
    stringData: { password },
  });

  async function makeShop(): Promise<void> {
    const named = { name: 'prices', namespace: NAMESPACE };
    const echo = httpEcho();
    const annotations = { 'weft.dev/credentials': 'files,url' };
    const securityContext = { runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000 };
    await mesh.apply(
      ...['web', 'prices'].map((name) => serviceAccount(NAMESPACE, name)),
      secret(VALUE),
      {
        apiVersion: 'security.weft.dev/v1',
        kind: 'CredentialBinding',
        metadata: { name: 'web', namespace: NAMESPACE },
        spec: {
          serviceAccounts: ['web'],
          credentials: [
            {
              name: 'db',
              source: { secret: { name: 'shop-db' } },
              ways: ['files', 'url', 'inject'],
              inject: [
                { hosts: ['prices.default.svc.cluster.local'], bearer: { key: 'password' } },
              ],
            },
          ],
        },
      },
      deploymentObject(named, {
        replicas: 1,
        pod: { serviceAccountName: 'prices', containers: [echo] },
      }),
      serviceObject(named, [{ name: 'http', port: 80, targetPort: 'http' }]),
      deploymentObject(
        { name: 'web', namespace: NAMESPACE, annotations },
        { replicas: 1, pod: { ...callerPod('web'), securityContext } },
      ),
    );
    for (const name of ['prices', 'web']) await mesh.rolledOut(NAMESPACE, name);
  }

  async function inCaller(...argv: readonly string[]) {
    const [pod = ''] = await mesh.podsOf(NAMESPACE, 'web');
    return mesh.node.exec(`${NAMESPACE}/${pod}`, 'caller', argv);
  }

  const fileIs = async (value: string): Promise<boolean> =>
    (await inCaller('cat', FILE)).stdout === value;

  const told = async (): Promise<string | undefined> => {
    const { body } = await mesh.call(`${NAMESPACE}/web`, 'http', 'http://prices.default/');
    const { headers } = JSON.parse(body) as { readonly headers: Record<string, string> };
    return headers['authorization'];
  };

  test('the application, another user than the sidecar, has file and socket, and may change neither', async () => {
    await eventually(() => fileIs(VALUE), { what: 'the file' });
    const who = await inCaller('id', '-u');
    assert.equal(who.stdout.trim(), '1000');
    const raw = 'http://localhost/v1/credentials/db/raw/password';
    const asked = await inCaller('curl', '-s', '--unix-socket', `${FOLDER}/.socket`, raw);
    assert.equal(asked.stdout, VALUE);
    for (const attempt of [`ln -s / ${FOLDER}/x`, `echo x > ${FILE}`, `rm ${FOLDER}/.socket`]) {
      assert.notEqual((await inCaller('sh', '-c', attempt)).code, 0, attempt);
    }
    const type = await inCaller('stat', '-f', '-c', '%T', FOLDER);
    assert.equal(type.stdout.trim(), 'tmpfs');
  });

  test('its requests are given it, and the Pod, its logs and its events are not', async () => {
    await eventually(async () => (await told()) === `Bearer ${VALUE}`, { what: 'the credential' });
    const said = [
      await mesh.kubectl('get', 'pods,events,credentialbindings', '-n', NAMESPACE, '-o', 'yaml'),
      await mesh.sidecarLogs(NAMESPACE, 'web'),
      await mesh.sidecarLogs(NAMESPACE, 'prices'),
    ];
    for (const name of await mesh.controlPlanes()) {
      said.push(mesh.node.logs(`weft-system/${name}`, 'control-plane'));
    }
    for (const text of said) {
      assert.ok(text.length > 0);
      assert.ok(!text.includes(VALUE));
      assert.ok(!text.includes(btoa(VALUE)));
    }
    assert.match(said[1] ?? '', /credential handed over/);
  });

  test('a changed Secret is in file, socket and request in time; a removed binding takes all away', async () => {
    await mesh.apply(secret(NEXT));
    await eventually(() => fileIs(NEXT), { what: 'the new file' });
    await eventually(async () => (await told()) === `Bearer ${NEXT}`, { what: 'the new header' });
    await mesh.kubectl('delete', 'credentialbinding', 'web', '-n', NAMESPACE);
    await eventually(async () => (await inCaller('ls', `${FOLDER}/db`)).code !== 0, {
      what: 'the end of the file',
    });
    await eventually(async () => (await told()) === undefined, {
      what: 'requests without it',
    });
  });
});
