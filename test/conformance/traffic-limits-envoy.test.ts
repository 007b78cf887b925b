// What Weft sends of TrafficPolicies for the called side, in force in a real Envoy: it takes the stream, passes over Weft's own filters and does what their twins say.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildTrafficFilters } from '@weft/controlplane/resources/traffic-filters';
import type { InboundSpec } from '@weft/model/mesh/mesh';
import { composeTraffic } from '@weft/model/traffic/compose';
import { parseTrafficPolicy } from '@weft/model/traffic/parse-traffic-policy';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import type { Listener } from '@weft/xds/resources/listener';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint, startEnvoy } from '../bench/peers/envoy.ts';
import { call, type CallOptions, splitAddress, startHttpApp } from '../support/lab-clients.ts';

const found = await findEnvoy();
const skip = found.ok ? false : `no Envoy: ${found.reason}`;
const OPTIONS = { trustDomain: 'cluster.local', trustDomainAliases: [], protocol: 'http' } as const;

function trafficOf(spec: object): InboundSpec['traffic'] {
  const metadata = { name: 'p', namespace: 'shop' };
  const parsed = parseTrafficPolicy({
    apiVersion: 'mesh.weft.dev/v1',
    kind: 'TrafficPolicy',
    metadata,
    spec,
  });
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const of = { rootNamespace: 'weft-system', selectorOf: () => undefined };
  return composeTraffic([parsed.value], { namespace: 'shop', labels: new Map() }, of);
}

/** An Envoy with a workload's listener, as far as traffic is concerned. */
async function startFront(spec: object, app: string) {
  assert.ok(found.ok);
  const folder = await mkdtemp(join(tmpdir(), 'weft-limits-'));
  const [at, admin] = [await freeEndpoint(), await freeEndpoint()];
  const traffic = trafficOf(spec);
  const filters = buildTrafficFilters({ traffic } as InboundSpec, OPTIONS);
  const route = {
    match: { kind: 'prefix', value: '/' },
    cluster: 'app',
    timeoutMs: 0,
    connectRetries: 0,
  } as const;
  const listener: Listener = {
    name: 'inbound',
    address: { address: at.host, port: at.port },
    direction: 'inbound',
    bindToPort: true,
    inspectors: [],
    inspectTimeoutMs: 1_000,
    ...(traffic?.floods && { floods: traffic.floods }),
    filterChains: [
      {
        name: 'plain',
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
              filters: [...filters.before, ...filters.behind, { kind: 'router' }],
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
  const resource = {
    type_url: TYPE_URLS.listener,
    value: encodeResource('listener', listener).bytes,
  };
  const response = { version_info: '1', resources: [resource], type_url: TYPE_URLS.listener };
  const file = join(folder, 'lds.pb');
  await writeFile(file, encodeMessage('envoy.service.discovery.v3.DiscoveryResponse', response));
  const socket = ({ host, port }: { readonly host: string; readonly port: number }) => ({
    socket_address: { address: host, port_value: port },
  });
  const endpoint = { endpoint: { address: socket(splitAddress(app)) } };
  const load_assignment = { cluster_name: 'app', endpoints: [{ lb_endpoints: [endpoint] }] };
  const config = JSON.stringify({
    node: { id: 'web-0.shop', cluster: 'shop' },
    admin: { address: socket(admin) },
    dynamic_resources: {
      lds_config: { path_config_source: { path: file }, resource_api_version: 'V3' },
    },
    static_resources: { clusters: [{ name: 'app', type: 'STATIC', load_assignment }] },
  });
  const envoy = await startEnvoy({ binary: found.path, name: 'limits', folder, config, admin });
  return {
    ask: async (path: string, options?: CallOptions): Promise<number> =>
      (await call(`${at.host}:${at.port}`, path, options)).status,
    async [Symbol.asyncDispose]() {
      await envoy[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

test('Envoy throttles by header and address as the sidecar does; without the header all share one bucket', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const throttling = [
    { name: 'each', key: ['address', 'header:x-key'], requests: 1, interval: '1h', burst: 2 },
  ];
  const floods = { requests: 1, action: 'drop' };
  await using front = await startFront({ throttling, floods }, app.address);
  const key = (value: string): CallOptions => ({ headers: { 'x-key': value } });
  const asked = [key('a'), key('a'), key('a'), key('b'), {}, {}, {}];
  const answers: number[] = [];
  for (const options of asked) answers.push(await front.ask('/', options));
  assert.deepEqual(answers, [200, 200, 429, 200, 200, 200, 429]);
});

test('Envoy counts by caller where there is one, and those without one together', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const throttling = [{ name: 'each', key: ['caller'], requests: 1, interval: '1h', burst: 1 }];
  await using front = await startFront({ throttling }, app.address);
  assert.deepEqual([await front.ask('/'), await front.ask('/')], [200, 429]);
});

test('Envoy aborts what has neither rules nor a date, and leaves the rest alone', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const abort = { percent: 100, status: 418 };
  const rules = [{ to: [{ operation: { paths: ['/a'] } }] }];
  const until = '2999-01-01T00:00:00Z';
  const some = [
    { name: 'a', abort, until },
    { name: 'b', abort, rules },
  ];
  {
    await using front = await startFront({ faults: some }, app.address);
    assert.deepEqual([await front.ask('/'), await front.ask('/a')], [200, 200]);
  }
  const delay = { percent: 100, duration: '200ms' };
  await using front = await startFront({ faults: [{ name: 'c', delay, abort }] }, app.address);
  const begun = performance.now();
  assert.equal(await front.ask('/'), 418);
  assert.ok(performance.now() - begun >= 190);
});

test('Envoy refuses methods, types and bodies that are not allowed', { skip }, async () => {
  await using app = await startHttpApp();
  const limits = {
    methods: ['GET', 'POST'],
    contentTypes: ['text/plain', 'image/*'],
    maxBodyBytes: 10,
    maxHeaders: 20,
    maxHeaderBytes: '2Ki',
    bodyTimeout: '5s',
  };
  await using front = await startFront({ limits }, app.address);
  const post = (type: string | undefined, body = 'x'): Promise<number> =>
    front.ask('/', {
      method: 'POST',
      body,
      headers: type === undefined ? {} : { 'content-type': type },
    });
  assert.equal(await front.ask('/'), 200);
  assert.equal(await front.ask('/', { method: 'DELETE' }), 403);
  assert.deepEqual(
    [
      await post('text/plain; charset=utf-8'),
      await post('image/png'),
      await post('text/html'),
      await post(undefined),
    ],
    [200, 200, 403, 403],
  );
  assert.equal(await post('text/plain', 'x'.repeat(11)), 413);
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`x-${at}`, '1']));
  assert.equal(await front.ask('/', { headers: many }), 431);
  assert.equal(await front.ask('/', { headers: { 'x-a': 'x'.repeat(3_000) } }), 431);
});
