// What callers of a Service follow, in force in a real Envoy by Weft's own resources: it sends keys to the same endpoints and the same requests again.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { clusterRules, routeRules } from '@weft/controlplane/resources/call-rules';
import { UpstreamEndpoint } from '@weft/dataplane/upstream/endpoint';
import { HashRing } from '@weft/dataplane/upstream/hash-ring';
import { hashRequest } from '@weft/dataplane/serve/request-hash';
import type { CallSections } from '@weft/model/traffic/call-types';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage } from '@weft/xds/registry';
import { type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import type { Cluster } from '@weft/xds/resources/cluster';
import type { Listener } from '@weft/xds/resources/listener';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint, startEnvoy } from '../bench/peers/envoy.ts';
import { call, type CallOptions, splitAddress, startHttpApp } from '../support/lab-clients.ts';
import { shown } from '../support/shown.ts';

const found = await findEnvoy();
const skip = found.ok ? false : `no Envoy: ${found.reason}`;

/** An Envoy whose one listener goes to the applications as a Service's callers are told to. */
async function startCaller(sections: CallSections, apps: readonly string[]) {
  assert.ok(found.ok);
  const folder = await mkdtemp(join(tmpdir(), 'weft-traffic-'));
  const [at, admin] = [await freeEndpoint(), await freeEndpoint()];
  const calls = { ...sections, sources: [] };
  const endpoints = apps.map((app) => {
    const { host, port } = splitAddress(app);
    return { address: host, port };
  });
  const cluster: Cluster = {
    name: 'app',
    discovery: { kind: 'static', endpoints },
    protocol: 'http1',
    ...clusterRules(calls),
  };
  const route = {
    match: { kind: 'prefix', value: '/' },
    cluster: 'app',
    ...routeRules(calls),
  } as const;
  const listener: Listener = {
    name: 'outbound',
    address: { address: at.host, port: at.port },
    direction: 'outbound',
    bindToPort: true,
    inspectors: [],
    inspectTimeoutMs: 1_000,
    filterChains: [
      {
        name: 'http',
        match: { destinationRanges: [], applicationProtocols: [], serverNames: [] },
        filters: [
          {
            kind: 'http',
            http: {
              statPrefix: 'app',
              routes: {
                kind: 'inline',
                config: {
                  name: 'app',
                  virtualHosts: [{ name: 'app', domains: ['*'], routes: [route] }],
                },
              },
              filters: [{ kind: 'router' }],
              forwardClientCert: 'sanitize',
              trustedHops: 0,
              pathNormalization: 'NONE',
              upgrades: [],
              requestHeadersTimeoutMs: 10_000,
              streamIdleTimeoutMs: 300_000,
            },
          },
        ],
      },
    ],
  };
  const write = async (kind: ResourceKind, value: Uint8Array): Promise<object> => {
    const resource = { type_url: TYPE_URLS[kind], value };
    const response = { version_info: '1', resources: [resource], type_url: TYPE_URLS[kind] };
    const file = join(folder, `${kind}.pb`);
    await writeFile(file, encodeMessage('envoy.service.discovery.v3.DiscoveryResponse', response));
    return { path_config_source: { path: file }, resource_api_version: 'V3' };
  };
  const config = JSON.stringify({
    node: { id: 'web-0.shop', cluster: 'shop' },
    admin: { address: { socket_address: { address: admin.host, port_value: admin.port } } },
    dynamic_resources: {
      lds_config: await write('listener', encodeResource('listener', listener).bytes),
      cds_config: await write('cluster', encodeResource('cluster', cluster).bytes),
    },
  });
  const envoy = await startEnvoy({ binary: found.path, name: 'caller', folder, config, admin });
  return {
    endpoints,
    send: (path: string, options?: CallOptions) => call(`${at.host}:${at.port}`, path, options),
    stats: async (filter: string): Promise<string> =>
      (await call(`${admin.host}:${admin.port}`, `/stats?filter=${filter}`)).body,
    async [Symbol.asyncDispose]() {
      await envoy[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const HASH = [
  { kind: 'header', name: 'x-user' },
  { kind: 'cookie', name: 'sid', path: '' },
] as const;

test('a ring in Envoy and in the sidecar sends every key to the same endpoint', {
  skip,
}, async () => {
  const apps = await Promise.all(['a', 'b', 'c', 'd'].map((name) => startHttpApp({ name })));
  try {
    await using envoy = await startCaller(
      { loadBalancing: { policy: 'RING_HASH', hash: HASH, minimumRingSize: 1_024 } },
      apps.map(({ address }) => address),
    );
    const ours = envoy.endpoints.map(
      (endpoint) =>
        new UpstreamEndpoint({ ...endpoint, health: 'healthy', weight: 1, tlsMode: 'disabled' }),
    );
    const ring = new HashRing(ours, {
      kind: 'ringHash',
      minimumRingSize: 1_024,
      maximumRingSize: 8_388_608,
    });
    const seen = new Set<string>();
    const ask = async (headers: Readonly<Record<string, string>>): Promise<void> => {
      const answer = await envoy.send('/x', { headers });
      assert.equal(answer.status, 200, answer.body);
      const { hash } = hashRequest(HASH, {
        header: (name) => headers[name]?.split('\n'),
      });
      assert.ok(hash !== undefined);
      const owner = ring.find(hash, new Set(ours));
      const { app }: { readonly app: string } = JSON.parse(answer.body);
      const expected = ['a', 'b', 'c', 'd'][ours.findIndex((one) => one === owner)];
      assert.equal(app, expected, JSON.stringify(headers));
      seen.add(app);
    };
    for (let user = 0; user < 60; user++) await ask({ 'x-user': `user-${user}` });
    for (let user = 0; user < 20; user++) await ask({ cookie: `a=b; sid=${user}` });
    for (let user = 0; user < 20; user++) await ask({ 'x-user': 'u', cookie: `sid="${user}"` });
    assert.equal(seen.size, 4);
  } finally {
    for (const app of apps) await app[Symbol.asyncDispose]();
  }
});

test('Envoy takes every limit, and sends again what the sidecar does', { skip }, async () => {
  const counts = new Map<string, number>();
  await using app = await startHttpApp({
    handle: (request, response) => {
      const key = `${request.method} ${request.url}`;
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      request.resume();
      const [, status = '503', fails = '1'] = (request.url ?? '').split('/');
      response.writeHead(count <= Number(fails) ? Number(status) : 200).end(`${count}`);
    },
  });
  await using envoy = await startCaller(
    {
      timeouts: { requestMs: 5_000, connectMs: 500 },
      retries: {
        attempts: 2,
        on: ['gateway-error', 'reset', 'retriable-status-codes'],
        statusCodes: [429],
        backOff: { baseMs: 1, maxMs: 2 },
        budget: { percent: 50, minConcurrency: 5 },
      },
      circuitBreaking: { maxConnections: 10, maxPendingRequests: 20, maxRequests: 30 },
      outlierDetection: {
        consecutive5xx: 1_000,
        consecutiveFailures: 1_000,
        maxEjectionPercent: 10,
      },
    },
    [app.address],
  );
  const CASES: readonly (readonly [
    method: string,
    path: string,
    status: number,
    attempts: number,
  ])[] = [
    ['GET', '/503/1', 200, 2],
    ['GET', '/503/9', 503, 3],
    ['GET', '/429/1', 200, 2],
    ['GET', '/500/1', 500, 1],
    ['PUT', '/502/2', 200, 3],
    ['POST', '/503/2', 503, 1],
  ];
  for (const [method, path, status, attempts] of CASES) {
    const answer = await envoy.send(path, { method });
    assert.deepEqual([answer.status, counts.get(`${method} ${path}`)], [status, attempts], path);
  }
  const stats = await envoy.stats('update_rejected|remaining_rq|remaining_cx');
  assert.ok(!/update_rejected: [1-9]/.test(stats), stats);
  shown('envoy', 'retries');
});
