// TrafficPolicies between two sidecars: requests are held back, disturbed and limited at the called one, and its application sees the rest.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { call, connectRaw, type HttpApp, startHttpApp } from '../support/lab-clients.ts';
import { modeYaml, policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, startLab } from '../support/lab.ts';

/** JSON is YAML. */
const traffic = (name: string, spec: object): string =>
  JSON.stringify({
    apiVersion: 'mesh.weft.dev/v1',
    kind: 'TrafficPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  });
const FOR_WEB = { targetRefs: [{ kind: 'Service', name: 'web' }] };

async function openWeb(
  lab: Lab,
  app: HttpApp,
): Promise<{ readonly via: string; readonly other: string }> {
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const [, client, other] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
    lab.startSidecar({ pod: 'other-0', outbound: ['web.shop:80'] }),
  ]);
  return { via: client.via('web.shop:80'), other: other.via('web.shop:80') };
}

const statuses = async (via: string, paths: readonly string[]): Promise<readonly number[]> => {
  const found: number[] = [];
  for (const path of paths) found.push((await call(via, path)).status);
  return found;
};

test('a throttle counts each caller for itself, says when to come again, and refused requests take nothing', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write(
    't.yaml',
    traffic('calm', {
      ...FOR_WEB,
      throttling: [
        {
          name: 'each',
          key: ['caller'],
          requests: 2,
          interval: '1h',
          burst: 3,
          rules: [{ to: [{ operation: { paths: ['/a*'] } }] }],
        },
      ],
    }),
  );
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'no-b',
      action: 'DENY',
      app: 'web',
      rules: '[{to: [{operation: {paths: ["/ab"]}}]}]',
    }),
  );
  const { via, other } = await openWeb(lab, app);
  await lab.enforced('calm');
  await lab.enforced('no-b');
  assert.deepEqual(await statuses(via, ['/ab', '/ab', '/ab', '/ab']), [403, 403, 403, 403]);
  assert.deepEqual(await statuses(via, ['/a', '/a', '/a', '/a', '/b']), [200, 200, 200, 429, 200]);
  const refused = await call(via, '/a');
  assert.ok(Number(refused.headers['retry-after']) > 0, 'it says when');
  assert.equal(refused.headers['ratelimit-policy'], '"each";q=3;w=5400');
  assert.equal((await call(other, '/a')).status, 200, 'another caller has tokens of its own');

  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'no-b',
      action: 'DENY',
      app: 'web',
      rules: '[{to: [{operation: {paths: ["/x"]}}]}]',
    }),
  );
  await eventually(async () => (await call(via, '/ab')).status === 429, { what: 'status 429' });
});

test('faults delay and abort the requests that their rules match, until their date', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const rules = [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/client'] } }] }];
  const faults = (until: string): string =>
    traffic('chaos', {
      ...FOR_WEB,
      faults: [
        {
          name: 'slow',
          rules: [{ to: [{ operation: { paths: ['/slow'] } }] }],
          delay: { percent: 100, duration: '300ms' },
        },
        { name: 'broken', rules, abort: { percent: 100, status: 418 }, until },
      ],
    });
  await lab.write('t.yaml', faults('2999-01-01T00:00:00Z'));
  const { via, other } = await openWeb(lab, app);
  await lab.enforced('chaos');
  assert.equal((await call(via, '/')).status, 418);
  assert.equal((await call(other, '/')).status, 200);
  const begun = performance.now();
  assert.equal((await call(other, '/slow')).status, 200);
  assert.ok(performance.now() - begun >= 290, 'it was held up');
  await lab.write('t.yaml', faults('2020-01-01T00:00:00Z'));
  await eventually(async () => (await call(via, '/')).status === 200, { what: 'status 200' });
});

test('limits refuse by method, type, size and length, before the application sees anything', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write(
    't.yaml',
    traffic('small', {
      ...FOR_WEB,
      limits: {
        methods: ['GET', 'POST'],
        contentTypes: ['text/plain'],
        maxBodyBytes: 10,
        maxHeaders: 20,
      },
    }),
  );
  const { via } = await openWeb(lab, app);
  await lab.enforced('small');
  const text = { 'content-type': 'text/plain' };
  const post = (headers: Record<string, string>, body = 'x') =>
    call(via, '/', { method: 'POST', headers, body });
  const deleted = await call(via, '/', { method: 'DELETE' });
  assert.deepEqual([deleted.status, deleted.headers.allow], [405, 'GET, POST']);
  assert.equal((await post(text)).status, 200);
  assert.equal((await post({ 'content-type': 'text/html' })).status, 415);
  assert.equal((await post(text, 'x'.repeat(11))).status, 413);
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`x-${at}`, '1']));
  assert.equal((await call(via, '/', { headers: many })).status, 431);
});

test('a policy that cannot be read and holds something back closes what it is for; one about faults alone does not', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('t.yaml', traffic('bad', { ...FOR_WEB, faults: [{ name: 'a' }] }));
  const { via } = await openWeb(lab, app);
  assert.equal((await call(via, '/')).status, 200);
  await lab.write('t.yaml', traffic('bad', { ...FOR_WEB, throttling: [{ name: 'a' }] }));
  await eventually(async () => (await call(via, '/')).status === 403, { what: 'status 403' });
});

test('a body that grows too large or comes too slowly is refused, in chunks and over HTTP/2, and its application is cut off', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('m.yaml', modeYaml('PERMISSIVE'));
  await lab.write(
    't.yaml',
    traffic('small', { ...FOR_WEB, limits: { maxBodyBytes: 100, bodyTimeout: '300ms' } }),
  );
  const app2 = http2.createServer((request, response) => {
    request
      .on('error', () => undefined)
      .on('end', () => response.end())
      .resume();
  });
  await once(app2.listen(0, '127.0.0.1'), 'listening');
  const service = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'grpc', port: 81, targetPort: 8081 },
  ];
  const inbound = { 8080: app.address, 8081: `127.0.0.1:${(app2.address() as AddressInfo).port}` };
  const web = await lab.startSidecar({ pod: 'web-0', inbound, service });
  await lab.enforced('small');
  const address = web.front(8080);
  const chunks = { method: 'POST', headers: { 'transfer-encoding': 'chunked' } };
  assert.equal((await call(address, '/', { ...chunks, body: 'x'.repeat(100) })).status, 200);
  assert.equal((await call(address, '/', { ...chunks, body: 'x'.repeat(101) })).status, 413);
  {
    using raw = await connectRaw(address);
    raw.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 50\r\n\r\nhalf');
    assert.match(await raw.reads('limit-body-timeout'), /^HTTP\/1\.1 408 /);
  }
  const session = http2.connect(`http://${web.front(8081)}`);
  // It is cut off at the end.
  session.on('error', () => undefined);
  const post = async (bodies: readonly string[], isEnded: boolean): Promise<number> => {
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    const answered: Promise<[http2.IncomingHttpHeaders]> = once(stream, 'response') as never;
    for (const body of bodies) stream.write(body);
    if (isEnded) stream.end();
    const [headers] = await answered;
    stream.on('error', () => undefined).close();
    return headers[':status'] as never;
  };
  assert.equal(await post(['x'.repeat(60), 'x'.repeat(40)], true), 200);
  assert.equal(await post(['x'.repeat(60), 'x'.repeat(60)], false), 413);
  assert.equal(await post(['x'], false), 408);
  session.destroy();
  app2.close();
});
