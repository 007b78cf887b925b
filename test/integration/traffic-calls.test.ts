// What a TrafficPolicy asks of a Service's callers, between sidecars: what is sent again, limited, hashed and left out.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { call, type HttpApp, startHttpApp } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, listOf, type LabSidecar, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab?.[Symbol.asyncDispose]());

const HTTP = [{ name: 'http', port: 80, targetPort: 8080 }] as const;

/** JSON is YAML. */
const trafficOf = (service: string, spec: object): Promise<void> =>
  lab.write(
    `${service}.yaml`,
    JSON.stringify({
      apiVersion: 'mesh.weft.dev/v1',
      kind: 'TrafficPolicy',
      metadata: { name: service, namespace: 'shop' },
      spec: { targetRefs: [{ kind: 'Service', name: service }], ...spec },
    }),
  );

interface Opened {
  readonly via: string;
  readonly client: LabSidecar;
}

async function open(name: string, apps: readonly HttpApp[]): Promise<Opened> {
  await Promise.all(
    apps.map((app, index) =>
      lab.startSidecar({
        pod: `${name}-${index}`,
        inbound: { 8080: app.address },
        ...(index === 0 && { service: HTTP }),
      }),
    ),
  );
  const client = await lab.startSidecar({ pod: `to${name}-0`, outbound: [`${name}.shop:80`] });
  return { client, via: client.via(`${name}.shop:80`) };
}

/** Answers 503 to every second request, each kind of request counted for itself. */
async function startFlaky(): Promise<HttpApp> {
  const seen = new Map<string, number>();
  return startHttpApp({
    name: 'flaky',
    handle: (request, response) => {
      const key = `${request.method} ${request.url}`;
      const count = (seen.get(key) ?? 0) + 1;
      seen.set(key, count);
      request.resume();
      response.writeHead(count % 2 === 1 ? 503 : 200).end(`${count}`);
    },
  });
}

test('retries: a GET that fails is sent again and a POST is not, until the policy goes', async () => {
  await using app = await startFlaky();
  await trafficOf('flaky', { retries: { attempts: 2, backOff: { base: '1ms' } } });
  const { via } = await open('flaky', [app]);
  await eventually(async () => (await call(via, `/${Math.random()}`)).status === 200, {
    what: 'a retry',
  });
  for (const path of ['/a', '/b', '/c']) {
    const { status, body } = await call(via, path);
    assert.deepEqual([status, body], [200, '2'], path);
  }
  const posted = await call(via, '/posted', { method: 'POST', body: 'x' });
  assert.deepEqual([posted.status, posted.body], [503, '1']);
  const put = await call(via, '/put', { method: 'PUT', body: 'x' });
  assert.deepEqual([put.status, put.body], [200, '2']);
  const report = await lab.enforced('flaky');
  assert.equal(report['state'], 'Enforced', JSON.stringify(report));
  assert.equal(report['enforced'], '1/1', 'its one caller has it');
  await lab.remove('flaky.yaml');
  await eventually(async () => (await call(via, `/${Math.random()}`)).status === 503, {
    what: 'no retry',
  });
  shown('weft', 'retries');
});

test('limits: requests beyond them are answered with 503 by the caller’s own sidecar, and counted', async () => {
  await using app = await startHttpApp();
  await trafficOf('narrow', { circuitBreaking: { maxRequests: 2 } });
  const { via, client } = await open('narrow', [app]);
  const agent = new http.Agent({ keepAlive: false });
  const held = [1, 2].map(() => call(via, '/hold', { agent }));
  await eventually(() => app.held === 2, { what: 'two requests under way' });
  const refused = await call(via, '/x');
  assert.equal(refused.status, 503);
  assert.equal(refused.body, 'upstream-overflow\n');
  assert.equal(refused.headers['x-envoy-overloaded'], 'true');
  assert.equal(app.requests.includes('GET /x'), false);
  app.release();
  await Promise.all(held);
  assert.equal((await call(via, '/x')).status, 200);
  assert.equal(await client.metric('weft_upstream_overflows_total', 'limit="rq"'), 1);
});

test('a ring: the same user goes to the same endpoint, and others to others', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  await using three = await startHttpApp({ name: 'three' });
  await trafficOf('ring', { loadBalancing: { policy: 'RING_HASH', hash: [{ header: 'x-user' }] } });
  const { via } = await open('ring', [one, two, three]);
  const appOf = async (user: string): Promise<string> =>
    JSON.parse((await call(via, '/x', { headers: { 'x-user': user } })).body).app;
  const users = Array.from({ length: 30 }, (_, at) => `user-${at}`);
  // Chance alone sends thirty users to the same of three endpoints once more in none of 10^14 times.
  const isRing = async (): Promise<boolean> => {
    const first = await Promise.all(users.map(appOf));
    const second = await Promise.all(users.map(appOf));
    return new Set(first).size === 3 && first.join() === second.join();
  };
  await eventually(isRing, { what: 'a ring of three' });
  assert.ok(await isRing(), 'and it stays one');
});

test('a ring by cookie: who has none is given one, and then stays where it was', async () => {
  await using one = await startHttpApp({ name: 'one' });
  await using two = await startHttpApp({ name: 'two' });
  await trafficOf('sticky', {
    loadBalancing: {
      policy: 'RING_HASH',
      hash: [{ cookie: { name: 'sid', path: '/', ttl: '1h' } }],
    },
  });
  const { via } = await open('sticky', [one, two]);
  await eventually(async () => (await call(via, '/x')).headers['set-cookie'] !== undefined, {
    what: 'a cookie',
  });
  const seen = new Set<string>();
  // The parts of a ring are not equal: a few new clients may all fall into the larger one.
  for (let count = 0; count < 10 || (seen.size < 2 && count < 200); count++) {
    const first = await call(via, '/x');
    const line = first.headers['set-cookie']?.[0] ?? '';
    assert.match(line, /^sid="[0-9a-f]{32}"; Max-Age=3600; Path=\/; HttpOnly$/);
    const cookie = line.slice(0, line.indexOf(';'));
    const { app } = JSON.parse(first.body);
    seen.add(app);
    for (let again = 0; again < 3; again++) {
      const next = await call(via, '/x', { headers: { cookie } });
      assert.equal(JSON.parse(next.body).app, app);
      assert.equal(next.headers['set-cookie'], undefined);
    }
  }
  assert.equal(seen.size, 2, 'new clients go to both');
});

test('the policy that docs/traffic-calls.md begins with does what the page says', async () => {
  await using app = await startFlaky();
  const page = await readFile(new URL('../../docs/traffic-calls.md', import.meta.url), 'utf8');
  const from = page.indexOf('```yaml\n') + '```yaml\n'.length;
  await lab.write('page.yaml', page.slice(from, page.indexOf('```', from)));
  const { via } = await open('prices', [app]);
  await call(via, '/first');
  const { state } = await lab.enforced('prices');
  assert.equal(state, 'Enforced');
  assert.equal((await call(via, '/a')).status, 200);
  assert.equal((await call(via, '/a', { method: 'POST' })).status, 503);
});

test('ejection: an endpoint that answers with 500 is left out where the policy counts it', async () => {
  await using good = await startHttpApp({ name: 'good' });
  await using bad = await startHttpApp({
    name: 'bad',
    handle: (_request, response) => response.writeHead(500).end(),
  });
  await trafficOf('mixed', { outlierDetection: { consecutive5xx: 2, baseEjection: '1h' } });
  const { via, client } = await open('mixed', [good, bad]);
  await eventually(
    async () => {
      await call(via, '/x');
      const clusters = listOf(await client.askJson('/clusters'), 'clusters');
      const mixed = clusters.find(({ name }) => String(name).includes('||mixed.'));
      return listOf(mixed, 'endpoints').some(({ ejected }) => ejected === true);
    },
    { what: 'an ejection' },
  );
  for (let count = 0; count < 20; count++) assert.equal((await call(via, '/x')).status, 200);
});

test('a time limit of whole requests is kept by the caller’s sidecar', async () => {
  await using app = await startHttpApp({ handle: () => undefined });
  await trafficOf('late', { timeouts: { request: '300ms' } });
  const { via } = await open('late', [app]);
  const { status, body } = await call(via, '/x');
  assert.equal(status, 504);
  assert.match(body, /timeout/);
  shown('weft', 'timeouts');
});
