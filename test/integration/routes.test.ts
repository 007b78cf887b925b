// HTTPRoutes of Services hold at every caller's sidecar, and an Envoy that is given the same routes does the same.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { readObjects } from '@weft/controlplane/registry/read-objects';
import { buildTargetListener } from '@weft/controlplane/resources/outbound';
import { buildRuledRoute } from '@weft/controlplane/resources/ruled-route';
import { parseTrustDomain } from '@weft/model/identity';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { routesFor } from '@weft/model/routes/routing';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint, startEnvoy } from '../bench/peers/envoy.ts';
import {
  type Answer,
  call,
  type HttpApp,
  splitAddress,
  startHttpApp,
} from '../support/lab-clients.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { CASES, type RouteCase, ROUTES } from '../support/route-cases.ts';

const envoy = await findEnvoy();
const WEB = 'outbound|80||web.shop.svc.cluster.local';
let lab: Lab;
let client: LabSidecar;
const apps: HttpApp[] = [];
const stack = new AsyncDisposableStack();
const fronts: { name: string; address: string }[] = [];

/** Answers what it was asked; of each id `/flaky` fails twice, `/stuck` gets no first answer, and `/never` none at all. */
function startApp(name: string): Promise<HttpApp> {
  const failures = new Map<string, number>();
  return startHttpApp({
    name,
    handle: (request, response) => {
      const { method, url = '', headers } = request;
      const isStuck = name === 'web-v2' && url.startsWith('/copied/stuck');
      if (url.startsWith('/never') || isStuck) return;
      request.resume();
      const id = String(headers['x-id']);
      const failed = failures.get(id) ?? 0;
      failures.set(id, failed + 1);
      if (url.startsWith('/stuck') && failed === 0) return;
      const isFailing = url.startsWith('/flaky') && failed < 2;
      response.writeHead(isFailing ? 503 : 200, { 'x-app': name, 'x-secret': 'hide me' });
      response.end(JSON.stringify({ app: name, method, path: url, headers }));
    },
  });
}

before(async () => {
  lab = stack.use(await startLab());
  for (const name of ['web', 'web-v2']) apps.push(stack.use(await startApp(name)));
  await lab.write('routes.yaml', ROUTES);
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const [web, v2] = apps;
  assert.ok(web !== undefined && v2 !== undefined);
  [, , client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: web.address }, service }),
    lab.startSidecar({ pod: 'web-v2-0', inbound: { 8080: v2.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'], outboundHttp: true }),
  ]);
  fronts.push({ name: 'a sidecar', address: client.via('web.shop:80') });
  if (envoy.ok) fronts.push({ name: 'Envoy', address: await startFront(envoy.path) });
});

after(async () => {
  await stack.disposeAsync();
});

/** An Envoy with the listener of the destination, and the applications themselves behind its clusters. */
async function startFront(binary: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-routes-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const [at, admin] = [await freeEndpoint(), await freeEndpoint()];
  const resource = {
    type_url: TYPE_URLS.listener,
    value: encodeResource('listener', await listenerAt(at)).bytes,
  };
  const response = { version_info: '1', resources: [resource], type_url: TYPE_URLS.listener };
  const file = join(folder, 'lds.pb');
  await writeFile(file, encodeMessage('envoy.service.discovery.v3.DiscoveryResponse', response));
  const config = JSON.stringify({
    node: { id: 'client-0.shop', cluster: 'shop' },
    admin: { address: socket(admin) },
    dynamic_resources: {
      lds_config: { path_config_source: { path: file }, resource_api_version: 'V3' },
    },
    static_resources: {
      clusters: apps.map((app, index) => clusterOf(['web', 'web-v2'][index] ?? '', app.address)),
    },
  });
  stack.use(await startEnvoy({ binary, name: 'routes', folder, config, admin }));
  return `${at.host}:${at.port}`;
}

const socket = ({ host, port }: { readonly host: string; readonly port: number }) => ({
  socket_address: { address: host, port_value: port },
});

function clusterOf(service: string, address: string) {
  const name = `outbound|80||${service}.shop.svc.cluster.local`;
  const endpoint = { address: socket(splitAddress(address)) };
  const endpoints = [{ lb_endpoints: [{ endpoint }] }];
  return { name, type: 'STATIC', load_assignment: { cluster_name: name, endpoints } };
}

/** What the control plane makes of the lab's manifests. */
async function listenerAt(at: { readonly host: string; readonly port: number }): Promise<Listener> {
  const files = await readdir(lab.manifests);
  const texts = await Promise.all(files.map((file) => readFile(join(lab.manifests, file), 'utf8')));
  const { objects } = readObjects(texts.join('\n---\n'), 'all.yaml');
  const good = objects.flatMap(({ key, outcome }): [string, RegistryObject][] =>
    outcome.kind === 'good' && outcome.object !== undefined ? [[key, outcome.object]] : [],
  );
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const mesh = compileMesh(
    { revision: 1, objects: new Map(good) },
    { trustDomain, rootNamespace: 'weft-system' },
  );
  const destination = mesh.destinations.get(WEB);
  const set = routesFor(destination?.routes, 'shop');
  assert.ok(destination !== undefined && set !== undefined);
  const listener = buildTargetListener(destination.target, undefined);
  return {
    ...listener,
    address: { address: at.host, port: at.port },
    bindToPort: true,
    filterChains: listener.filterChains.map((chain) => ({
      ...chain,
      filters: chain.filters.map((filter) =>
        filter.kind === 'http'
          ? {
              ...filter,
              http: { ...filter.http, routes: { kind: 'inline', config: buildRuledRoute(set) } },
            }
          : filter,
      ),
    })),
  };
}

function outcomeOf({ status, body, headers }: Answer): string {
  if (status !== 200) {
    return headers.location === undefined ? String(status) : `${status} ${headers.location}`;
  }
  const seen: unknown = JSON.parse(body);
  assert.ok(isSeen(seen));
  const host = seen.headers.host === 'web' ? '' : ` host ${seen.headers.host}`;
  return `${seen.app} ${seen.method} ${seen.path}${host}`;
}

interface Seen {
  readonly app: string;
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
}
const isSeen = (value: unknown): value is Seen =>
  typeof value === 'object' && value !== null && 'app' in value;

const ask = (address: string, { path, method, headers = {} }: Omit<RouteCase, 'outcome'>) =>
  call(address, path, { ...(method && { method }), headers: { host: 'web', ...headers } });

/** Over each way in turn, which all answer alike. */
async function overAll(check: (address: string) => Promise<void>): Promise<void> {
  for (const { name, address } of fronts) {
    await check(address).catch((cause: unknown) => {
      throw new Error(`over ${name}`, { cause });
    });
  }
}

for (const one of CASES) {
  const { path, method = 'GET', headers, outcome } = one;
  const more = headers === undefined ? '' : ` with ${JSON.stringify(headers)}`;
  test(`${method} ${path}${more} comes to ${outcome}`, () =>
    overAll(async (address) => {
      assert.equal(outcomeOf(await ask(address, one)), outcome);
    }));
}

test('headers of requests and answers are changed', () =>
  overAll(async (address) => {
    const headers = { 'x-removed': 'r', 'x-set': 'mine', 'x-added': 'mine' };
    const answer = await ask(address, { path: '/headers', headers });
    const seen: unknown = JSON.parse(answer.body);
    assert.ok(isSeen(seen));
    assert.equal(seen.headers['x-removed'], undefined);
    assert.equal(seen.headers['x-set'], '100% weft');
    assert.equal(seen.headers['x-added'], 'mine, more');
    assert.equal(answer.headers['x-app'], 'hidden');
    assert.equal(answer.headers['x-answer'], 'seen');
    assert.equal(answer.headers['x-secret'], undefined);
  }));

test('a request is sent again when its answer is one of those that the route names', () =>
  overAll(async (address) => {
    const headers = { 'x-id': randomUUID() };
    assert.equal((await ask(address, { path: '/flaky', headers })).status, 200);
    const body = 'a'.repeat(1_000);
    const posted = await call(address, '/flaky', {
      method: 'POST',
      body,
      headers: { host: 'web', 'x-id': randomUUID() },
    });
    assert.equal(posted.status, 200);
  }));

test('a request is sent again when one try of it takes too long', () =>
  overAll(async (address) => {
    const headers = { 'x-id': randomUUID() };
    assert.equal((await ask(address, { path: '/stuck', headers })).status, 200);
  }));

test('a copy goes to another Service, with its body, and its answer to nobody', () =>
  overAll(async (address) => {
    const [, copied] = apps;
    assert.ok(copied !== undefined);
    const path = `/copied/${randomUUID()}`;
    const answer = await call(address, path, {
      method: 'POST',
      body: 'b'.repeat(100_000),
      headers: { host: 'web' },
    });
    assert.match(answer.body, /"app":"web"/);
    await eventually(() => copied.requests.includes(`POST ${path}`) || undefined, {
      what: 'the copy',
    });
  }));

test('a copy that its receiver does not take delays nothing, and is dropped and counted', async () => {
  const body = Buffer.alloc(8_388_608, 'c');
  const path = '/copied/stuck';
  const headers = { host: 'web' };
  const answer = await call(client.via('web.shop:80'), path, { method: 'POST', body, headers });
  assert.equal(answer.status, 200);
  await eventually(
    async () =>
      (await client.metric('weft_upstream_overflows_total', 'limit="mirror"')) || undefined,
    { what: 'the dropped copy' },
  );
});

test('an explicit proxy follows the routes as well', async () => {
  const answer = await call(client.http, 'http://web.shop/v2/x', { headers: { host: 'web.shop' } });
  assert.match(answer.body, /"app":"web-v2"/);
});

test('what a route leads to is judged at the called side, by its own policies', async () => {
  const name = 'no-v2-private';
  const rules = '[{ to: [{ operation: { paths: ["/v2/private"] } }] }]';
  await lab.write('deny.yaml', policyYaml({ name, action: 'DENY', app: 'web-v2', rules }));
  await lab.enforced(name);
  const address = client.via('web.shop:80');
  assert.equal((await ask(address, { path: '/v2/private' })).status, 403);
  assert.equal((await ask(address, { path: '/v2/public' })).status, 200);
});

test('a changed split takes effect without a lost request', async () => {
  const [address, versions] = [client.via('web.shop:80'), new Set<string>()];
  const before = await lab.read('routes.yaml');
  const split = (spec: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: split, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
  - matches: [{ path: { value: /split } }]
    backendRefs: [${spec}]
`;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
  const next = async (): Promise<string> => {
    const answer = await call(address, '/split', { headers: { host: 'web' }, agent });
    if (answer.status === 404) return 'none';
    assert.equal(answer.status, 200, answer.body);
    const seen: unknown = JSON.parse(answer.body);
    assert.ok(isSeen(seen));
    return seen.app;
  };
  try {
    await lab.write('split.yaml', split('{ name: web, port: 80 }'));
    await eventually(async () => (await next()) === 'web' || undefined, { what: 'the route' });
    await lab.write('split.yaml', split('{ name: web, port: 80 }, { name: web-v2, port: 80 }'));
    await eventually(
      async () => {
        versions.add(await next());
        return versions.size === 2 || undefined;
      },
      { what: 'both versions' },
    );
    await lab.write('split.yaml', split('{ name: web-v2, port: 80 }'));
    let inRow = 0;
    await eventually(
      async () => {
        inRow = (await next()) === 'web-v2' ? inRow + 1 : 0;
        return inRow === 10 || undefined;
      },
      { what: 'the new version alone', everyMs: 1 },
    );
    assert.deepEqual([...versions].sort(), ['web', 'web-v2']);
  } finally {
    agent.destroy();
    await lab.remove('split.yaml');
    await lab.write('routes.yaml', before);
  }
});
