// The program that outside harnesses drive: started as it is documented, told over HTTP what a node may see, and read over xDS.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bytesOf, messageOf, messagesOf, textOf } from '@weft/xds/protocol/fields';
import { decodeMessage, type PlainMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { RawXdsStream } from '../../support/raw-xds-client.ts';

const SERVE = fileURLToPath(new URL('../serve.ts', import.meta.url));
const node = 'judge';
const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
const UNKNOWN = 'type.googleapis.com/nobody.knows.Type';

async function startServe() {
  const child = spawn(process.execPath, [SERVE], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout);
  const [line] = await once(lines, 'line', { signal: AbortSignal.timeout(20_000) });
  const said: { readonly xds: string; readonly api: string } = JSON.parse(String(line));
  return {
    ...said,
    async end(): Promise<unknown> {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      return (await ended)[0];
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** @returns the status and the body. */
async function ask(api: string, path: string, body?: unknown): Promise<readonly [number, unknown]> {
  const request = http.request(`${api}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    agent: false,
  });
  request.end(typeof body === 'string' ? body : JSON.stringify(body));
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return [response.statusCode, JSON.parse(text)];
}

async function expectOk(api: string, path: string, body: unknown): Promise<void> {
  assert.deepEqual(await ask(api, path, body), [200, { ok: true }], path);
}

/** What Weft's own types read of a cluster. */
const clusterIn = (response: PlainMessage | undefined): readonly PlainMessage[] =>
  messagesOf(response ?? {}, 'resources').map((any) =>
    decodeMessage('envoy.config.cluster.v3.Cluster', bytesOf(any, 'value')),
  );

test('serve.ts: set, add, update, remove and clear, each with the version that is announced, in state of the world', async () => {
  await using serve = await startServe();
  const { api } = serve;
  await expectOk(api, '/set', {
    node,
    version: 'one',
    resources: [{ '@type': CLUSTER, name: 'A', connectTimeout: '1.5s', type: 'EDS' }],
  });
  using stream = new RawXdsStream(serve.xds, { service: 'ads', variant: 'sotw' });
  const next = async (nonceOf?: PlainMessage): Promise<PlainMessage> => {
    const response_nonce = textOf(nonceOf, 'nonce');
    stream.send({ node: { id: node }, type_url: CLUSTER, response_nonce });
    const response = await stream.next();
    assert.ok(response !== undefined);
    return response;
  };
  const changes: readonly (readonly [path: string, body: object, names: string])[] = [
    ['/add', { version: 'two', resource: { '@type': CLUSTER, name: 'B' } }, 'A B'],
    ['/update', { version: 'three', type_url: CLUSTER, name: 'A' }, 'A B'],
    [
      '/update',
      { version: 'four', resource: { '@type': CLUSTER, name: 'B', type: 'STATIC' } },
      'A B',
    ],
    ['/remove', { version: 'five', type_url: CLUSTER, name: 'A' }, 'B'],
    ['/clear', { version: 'six' }, ''],
  ];
  let response = await next();
  const [cluster] = clusterIn(response);
  assert.equal(response['version_info'], 'one');
  assert.deepEqual(messageOf(cluster, 'connect_timeout'), { seconds: 1, nanos: 500_000_000 });
  for (const [path, body, names] of changes) {
    await expectOk(api, path, { node, ...body });
    response = await next(response);
    const version = Object.entries(body).find(([key]) => key === 'version')?.[1];
    assert.equal(textOf(response, 'version_info'), version, path);
    assert.equal(
      clusterIn(response)
        .map((one) => textOf(one, 'name'))
        .sort()
        .join(' '),
      names,
      path,
    );
  }
  assert.deepEqual(await ask(api, `/state?node=${node}`), [
    200,
    { [CLUSTER]: { version: 'six', resources: {} } },
  ]);
  assert.equal(await serve.end(), 0);
});

test('serve.ts: bytes of a type that nobody knows go through as they are, in delta', async () => {
  await using serve = await startServe();
  const value = Buffer.from([0, 255, 7]).toString('base64');
  for (const form of ['type_url', '@type']) {
    const resource = { [form]: UNKNOWN, value, name: form };
    await expectOk(serve.api, '/add', { node, version: form, resource });
  }
  using stream = new RawXdsStream(serve.xds, { service: 'ads', variant: 'delta' });
  stream.send({
    node: { id: node },
    type_url: UNKNOWN,
    resource_names_subscribe: ['@type', 'type_url'],
  });
  const response = await stream.next();
  assert.equal(response?.['system_version_info'], '@type');
  for (const resource of messagesOf(response, 'resources')) {
    const any = messageOf(resource, 'resource');
    assert.equal(textOf(any, 'type_url'), UNKNOWN);
    assert.equal(Buffer.from(bytesOf(any, 'value')).toString('base64'), value);
  }
  assert.equal(messagesOf(response, 'resources').length, 2);
  const [, streams] = await ask(serve.api, '/streams');
  assert.ok(JSON.stringify(streams).includes(UNKNOWN), JSON.stringify(streams));
});

const REFUSED: readonly (readonly [path: string, body: unknown, status: number, why: string])[] = [
  ['/set', '{', 400, 'JSON'],
  ['/set', { node, version: '1' }, 400, 'resources'],
  ['/set', { version: '1', resources: [] }, 400, 'node'],
  ['/add', { node, version: '', resource: { '@type': CLUSTER, name: 'A' } }, 400, 'version'],
  ['/add', { node, version: '1', resource: { '@type': CLUSTER } }, 400, 'no name'],
  ['/add', { node, version: '1', resource: { '@type': CLUSTER, nam: 'A' } }, 400, 'nam'],
  ['/add', { node, version: '1', resource: { '@type': UNKNOWN, field: 1 } }, 400, 'field'],
  [
    '/add',
    { node, version: '1', resource: { type_url: UNKNOWN, value: '*', name: 'A' } },
    400,
    'base64',
  ],
  ['/update', { node, version: '1', type_url: CLUSTER, name: 'A' }, 409, 'none to update'],
  ['/remove', { node, version: '1', type_url: CLUSTER, name: 'A' }, 409, 'none to remove'],
  ['/elsewhere', {}, 404, 'elsewhere'],
];
test('serve.ts: what cannot be read or does not fit is refused in words, and changes nothing', async () => {
  await using serve = await startServe();
  for (const [path, body, status, why] of REFUSED) {
    const [code, said] = await ask(serve.api, path, body);
    assert.equal(code, status, JSON.stringify(said));
    assert.ok(JSON.stringify(said).includes(why), JSON.stringify(said));
  }
  const resource = { '@type': TYPE_URLS.endpoints, cluster_name: 'A' };
  await expectOk(serve.api, '/add', { node, version: '1', resource });
  const [code, said] = await ask(serve.api, '/add', { node, version: '1', resource });
  assert.equal(code, 409, JSON.stringify(said));
});
