// The Kubernetes of the tests is a real one: its API does what clusters do, its data outlive its death, and its parts stop and start alone.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { KubeObject, KubeResult } from '@weft/kube/kube-api';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  resource,
  SERVICE_ACCOUNTS,
  TOKEN_REVIEWS,
} from '@weft/kube/resource';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type Kubelab, kubelabMissing, startKubelab } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';

const missing = kubelabMissing();
const options = missing === undefined ? {} : { skip: missing };
const WIDGETS = resource('lab.weft.dev/v1', 'Widget', 'widgets', 'namespaced');
const namespace = 'default';

let lab: Kubelab;
before(
  async () => {
    if (missing === undefined) lab = await startKubelab();
  },
  { timeout: 90_000 },
);
after(async () => {
  if (missing === undefined) await lab[Symbol.asyncDispose]();
});

function valueOf<T>(result: KubeResult<T>): T {
  assert.ok(result.ok, result.ok ? '' : result.message);
  return result.value;
}

const at = (object: KubeObject, key: string): PlainObject => {
  const value = object[key];
  assert.ok(isPlainObject(value), `${key} is no object`);
  return value;
};

const configMap = (name: string, data: Readonly<Record<string, string>>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace },
  data,
});

const readData = async (name: string): Promise<PlainObject> =>
  at(valueOf(await lab.client.get(CONFIG_MAPS, { namespace, name })), 'data');

test(
  'a CRD is served once established, with its schema, defaults and CEL rules',
  options,
  async () => {
    const spec = {
      type: 'object',
      properties: {
        size: { type: 'integer', default: 3 },
        limit: { type: 'integer' },
      },
      'x-kubernetes-validations': [
        { rule: '!has(self.limit) || self.size <= self.limit', message: 'size is over the limit' },
      ],
    };
    valueOf(
      await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: 'widgets.lab.weft.dev' },
        spec: {
          group: 'lab.weft.dev',
          scope: 'Namespaced',
          names: { kind: 'Widget', plural: 'widgets', singular: 'widget' },
          versions: [
            {
              name: 'v1',
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
            },
          ],
        },
      }),
    );
    const widget = (name: string, of: PlainObject): KubeObject => ({
      apiVersion: 'lab.weft.dev/v1',
      kind: 'Widget',
      metadata: { name, namespace },
      spec: of,
    });
    const made = await eventually(
      async () => {
        const result = await lab.client.create(WIDGETS, widget('good', {}));
        return result.ok ? result.value : undefined;
      },
      { what: 'a served CRD', withinMs: 20_000 },
    );
    assert.equal(at(made, 'spec')['size'], 3);
    const refused = await lab.client.create(WIDGETS, widget('bad', { size: 5, limit: 4 }));
    assert.ok(!refused.ok && refused.message.includes('size is over the limit'));
  },
);

test('server-side apply keeps the fields of two managers apart', options, async () => {
  const apply = (fieldManager: string, data: Readonly<Record<string, string>>) =>
    lab.client.apply(CONFIG_MAPS, configMap('shared', data), { fieldManager });
  valueOf(await apply('one', { a: '1' }));
  valueOf(await apply('two', { b: '2' }));
  const conflict = await apply('two', { a: '3', b: '2' });
  assert.ok(!conflict.ok && conflict.code === 409);
  valueOf(await apply('one', {}));
  assert.deepEqual(await readData('shared'), { b: '2' });
});

test(
  'a token for an audience is good for that audience alone, and names its service account',
  options,
  async () => {
    const review = async (token: unknown, audience: string): Promise<PlainObject> =>
      at(
        valueOf(
          await lab.client.create(TOKEN_REVIEWS, {
            apiVersion: 'authentication.k8s.io/v1',
            kind: 'TokenReview',
            spec: { token, audiences: [audience] },
          }),
        ),
        'status',
      );
    const issued = valueOf(
      await lab.client.create(
        SERVICE_ACCOUNTS,
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          metadata: { name: 'default', namespace },
          spec: { audiences: ['weft-ca'], expirationSeconds: 3600 },
        },
        { subresource: 'token' },
      ),
    );
    const { token } = at(issued, 'status');
    const good = await review(token, 'weft-ca');
    assert.equal(good['authenticated'], true);
    assert.equal(at(good, 'user')['username'], 'system:serviceaccount:default:default');
    assert.notEqual((await review(token, 'somebody-else'))['authenticated'], true);
  },
);

test(
  'kubectl reads and writes the same cluster, and says no with its own code',
  options,
  async () => {
    const input = JSON.stringify(configMap('by-kubectl', { from: 'stdin' }));
    const applied = await lab.kubectl(['apply', '-f', '-'], { input });
    assert.deepEqual(applied, {
      code: 0,
      stdout: 'configmap/by-kubectl created\n',
      stderr: '',
    });
    assert.deepEqual(await readData('by-kubectl'), { from: 'stdin' });
    const lost = await lab.kubectl(['get', 'configmap', 'not-there']);
    assert.equal(lost.code, 1);
    assert.match(lost.stderr, /NotFound/);
  },
);

test(
  'killed as a whole and started again, it has its address, keys and data',
  options,
  async () => {
    valueOf(await lab.client.create(CONFIG_MAPS, configMap('kept', { before: 'the kill' })));
    const before = lab.pid('etcd');
    await lab.kill();
    const away = await lab.client.get(CONFIG_MAPS, { namespace, name: 'kept' });
    assert.ok(!away.ok && away.kind === 'unreachable');
    await lab.start();
    assert.notEqual(lab.pid('etcd'), before);
    assert.deepEqual(await readData('kept'), { before: 'the kill' });
  },
);

test(
  'the API server alone is stopped and started, and etcd alone is killed and started',
  options,
  async () => {
    const [etcd, controllers] = [lab.pid('etcd'), lab.pid('controllers')];
    await lab.stop('apiserver');
    const away = await lab.client.read('/version');
    assert.ok(!away.ok && away.kind === 'unreachable');
    assert.throws(() => lab.pid('apiserver'), /No apiserver is running/);
    await lab.start('apiserver');
    const apiserver = lab.pid('apiserver');
    valueOf(await lab.client.create(CONFIG_MAPS, configMap('after-api', { ok: 'yes' })));
    await lab.restart('etcd');
    assert.deepEqual(await readData('after-api'), { ok: 'yes' });
    assert.deepEqual([lab.pid('apiserver'), lab.pid('controllers')], [apiserver, controllers]);
    assert.notEqual(lab.pid('etcd'), etcd);
  },
);

test(
  'a flag that kube-apiserver does not know fails the start with its words',
  options,
  async () => {
    await assert.rejects(
      startKubelab({ apiserverArgs: ['--no-such-flag'], controllers: [] }),
      /Cannot start apiserver: it ended:[^]*no-such-flag/,
    );
  },
);

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('no part outlives a test process that is killed', options, async () => {
  const support = fileURLToPath(new URL('../support/kubelab.ts', import.meta.url));
  const program = `import { startKubelab } from ${JSON.stringify(support)};
    const lab = await startKubelab({ controllers: [] });
    console.log(JSON.stringify([lab.pid('etcd'), lab.pid('apiserver'), lab.dir]));
    await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_TEST_CONTEXT: '' },
  });
  const [line = '[]'] = await new Promise<string[]>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (text) => resolve([text]));
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
  const [etcd, apiserver, dir] = JSON.parse(line);
  assert.ok(isAlive(etcd) && isAlive(apiserver));
  child.kill('SIGKILL');
  await eventually(() => !isAlive(etcd) && !isAlive(apiserver), {
    what: 'the end of its parts',
    withinMs: 10_000,
  });
  rmSync(dir, { recursive: true, force: true });
});
