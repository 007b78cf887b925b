// A real Envoy takes what is set by hand from the product's server: both forms of the protocol, on one stream and on one for each type.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findEnvoy } from '../../bench/peers/envoy-binary.ts';
import { freeEndpoint, startEnvoy } from '../../bench/peers/envoy.ts';
import { eventually } from '../../support/lab-wait.ts';
import { type HandSetServer, openHandSetServer } from './hand-set-server.ts';
import type { HandSet } from './hand-set-views.ts';
import { readAny } from './proto-json.ts';

const found = await findEnvoy();
const skip = found.ok ? false : `no Envoy: ${found.reason}`;
const NODE = 'envoy-1';
const URLS = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
};
type Kind = keyof typeof URLS;
const EXTENSIONS = 'type.googleapis.com/envoy.extensions';

const MODES = [
  { api: 'GRPC', isAggregated: true },
  { api: 'GRPC', isAggregated: false },
  { api: 'DELTA_GRPC', isAggregated: true },
  { api: 'DELTA_GRPC', isAggregated: false },
] as const;
type Mode = (typeof MODES)[number];

interface Address {
  readonly host: string;
  readonly port: number;
}

const addressOf = ({ host, port }: Address): object => ({
  socket_address: { address: host, port_value: port },
});

/** The node is named on a stream's first request only. */
const service = (api: string): object => ({
  api_type: api,
  transport_api_version: 'V3',
  set_node_on_first_message_only: true,
  grpc_services: [{ envoy_grpc: { cluster_name: 'xds' } }],
});

const sourceOf = ({ api, isAggregated }: Mode): object => ({
  resource_api_version: 'V3',
  ...(isAggregated ? { ads: {} } : { api_config_source: service(api) }),
});

function bootstrapOf(mode: Mode, xds: Address, admin: Address): string {
  const endpoint = { endpoint: { address: addressOf(xds) } };
  return JSON.stringify({
    node: { id: NODE, cluster: 'conformance' },
    admin: { address: addressOf(admin) },
    dynamic_resources: {
      ...(mode.isAggregated && { ads_config: service(mode.api) }),
      cds_config: sourceOf(mode),
      lds_config: sourceOf(mode),
    },
    static_resources: {
      clusters: [
        {
          name: 'xds',
          type: 'STATIC',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': `${EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          load_assignment: { cluster_name: 'xds', endpoints: [{ lb_endpoints: [endpoint] }] },
        },
      ],
    },
  });
}

const resource = (kind: Kind, fields: object): HandSet => {
  const { typeUrl, bytes, name = '' } = readAny({ '@type': URLS[kind], ...fields });
  return { typeUrl, bytes, name };
};

const clusterOf = (name: string, mode: Mode, connect_timeout = '1s'): HandSet =>
  resource('cluster', {
    name,
    type: 'EDS',
    connect_timeout,
    eds_cluster_config: { eds_config: sourceOf(mode) },
  });
const endpointsOf = (cluster_name: string, at: Address): HandSet =>
  resource('endpoints', {
    cluster_name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(at) } }] }],
  });
const routeOf = (cluster: string): HandSet =>
  resource('route', {
    name: 'routes',
    virtual_hosts: [
      { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] },
    ],
  });
const listenerOf = (at: Address | undefined, mode: Mode, stat_prefix = 'one'): HandSet =>
  resource('listener', {
    name: 'front',
    ...(at !== undefined && { address: addressOf(at) }),
    filter_chains: [
      {
        filters: [
          {
            name: 'http',
            typed_config: {
              '@type': `${EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix,
              rds: { route_config_name: 'routes', config_source: sourceOf(mode) },
              http_filters: [
                {
                  name: 'router',
                  typed_config: { '@type': `${EXTENSIONS}.filters.http.router.v3.Router` },
                },
              ],
            },
          },
        ],
      },
    ],
  });

/** An application that answers with its name. */
async function startApp(name: string): Promise<Address & AsyncDisposable> {
  const server = http.createServer((_request, response) => response.end(name));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    host: '127.0.0.1',
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function get({ host, port }: Address, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host, port, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve(body));
    });
    request.on('error', reject);
  });
}

/** Of all of the node's streams. */
function reportOf(server: HandSetServer, kind: Kind) {
  const kinds = server.ads.sessions().flatMap((session) => session.kinds);
  return kinds.find((one) => one.kind === kind);
}

const accepted = (server: HandSetServer, kind: Kind, name: string, version: string) =>
  eventually(() => reportOf(server, kind)?.acked[name]?.startsWith(`${version}-`), {
    what: `${kind} ${name} at version ${version} in force`,
    told: () => JSON.stringify(server.ads.sessions()),
  });

const changed = (outcome: { readonly ok: boolean }): void => assert.ok(outcome.ok);

for (const mode of MODES) {
  const name = `${mode.api}, ${mode.isAggregated ? 'aggregated' : 'a stream for each type'}`;
  test(`Envoy, ${name}: takes, changes, refuses, recovers and drops what is set by hand`, {
    skip,
  }, async () => {
    assert.ok(found.ok);
    const folder = await mkdtemp(join(tmpdir(), 'weft-xds-'));
    await using owned = new AsyncDisposableStack();
    owned.defer(() => rm(folder, { recursive: true }));
    const [one, two] = [owned.use(await startApp('one')), owned.use(await startApp('two'))];
    const server = owned.use(await openHandSetServer());
    const [front, admin] = [await freeEndpoint(), await freeEndpoint()];
    const { views } = server;
    changed(
      views.set(NODE, '1', [
        clusterOf('old', mode),
        endpointsOf('old', one),
        listenerOf(front, mode),
        routeOf('old'),
      ]),
    );
    const xds = { host: '127.0.0.1', port: Number(server.xds.split(':')[1]) };
    const config = bootstrapOf(mode, xds, admin);
    owned.use(await startEnvoy({ binary: found.path, name: 'xds', folder, config, admin }));
    await accepted(server, 'route', 'routes', '1');
    assert.equal(await get(front, '/'), 'one');

    // A changed cluster is warmed again, and in use only with endpoints.
    changed(views.update(NODE, '2', clusterOf('old', mode, '2s')));
    await accepted(server, 'cluster', 'old', '2');

    // Everything becomes another, and no request fails.
    changed(
      views.set(NODE, '3', [
        clusterOf('new', mode),
        endpointsOf('new', two),
        listenerOf(front, mode, 'two'),
        routeOf('new'),
      ]),
    );
    await eventually(async () => (await get(front, '/')) === 'two', { what: 'the new route' });
    await eventually(async () => !(await get(admin, '/clusters')).includes('old::'), {
      what: 'the old cluster gone',
    });

    changed(views.update(NODE, '4', listenerOf(undefined, mode)));
    await eventually(() => reportOf(server, 'listener')?.refused.includes('front'), {
      what: 'a refusal of a listener without an address',
    });
    assert.equal(await get(front, '/'), 'two');
    changed(views.update(NODE, '5', listenerOf(front, mode, 'three')));
    await accepted(server, 'listener', 'front', '5');
    assert.equal(await get(front, '/'), 'two');

    const refused = (await get(admin, '/stats?filter=update_rejected')).split('\n');
    assert.deepEqual(
      refused.filter((line) => line !== '' && !line.endsWith(': 0')),
      ['listener_manager.lds.update_rejected: 1'],
    );
    changed(views.remove(NODE, '6', { typeUrl: URLS.listener, name: 'front' }));
    await eventually(async () => !(await get(admin, '/listeners')).includes('front'), {
      what: 'the listener gone',
    });
  });
}
