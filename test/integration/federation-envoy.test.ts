// A real Envoy that is given the bundle of a mesh with a federation lets each root vouch for its own trust domain alone, as a sidecar does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OWN_CERTIFICATE_FILE } from '@weft/xds/codec/tls';
import { issueIdentities } from '../bench/identities.ts';
import { startConfiguredEnvoy } from '../bench/peers/configured-envoy.ts';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { believed, callAs, caOf, federationYaml, MESH_CONFIG } from '../support/federation-lab.ts';
import { NAMESPACE, podYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { openLab } from '../support/lab.ts';
import type { TestPki } from '../support/mesh-pki.ts';
import { shown } from '../support/shown.ts';

const envoy = await findEnvoy();
const skip = envoy.ok ? false : envoy.reason;
const OURS = 'cluster.local';
const THEIRS = 'theirs.example';

const typed = (name: string, fields: object): object => ({
  '@type': `type.googleapis.com/envoy.extensions.${name}`,
  ...fields,
});
const ADS = { ads: {}, resource_api_version: 'V3' };

/** Takes any SPIFFE id that the bundle of the control plane vouches for, and answers 200. */
const frontOf = ({ host, port }: { readonly host: string; readonly port: number }): object => ({
  name: 'front',
  address: { socket_address: { address: host, port_value: port } },
  filter_chains: [
    {
      transport_socket: {
        name: 'envoy.transport_sockets.tls',
        typed_config: typed('transport_sockets.tls.v3.DownstreamTlsContext', {
          require_client_certificate: true,
          common_tls_context: {
            alpn_protocols: ['weft-http/1.1'],
            tls_certificate_sds_secret_configs: [
              {
                name: 'default',
                sds_config: {
                  path_config_source: { path: OWN_CERTIFICATE_FILE },
                  resource_api_version: 'V3',
                },
              },
            ],
            combined_validation_context: {
              default_validation_context: {
                match_typed_subject_alt_names: [
                  { san_type: 'URI', matcher: { prefix: 'spiffe://' } },
                ],
              },
              validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: ADS },
            },
          },
        }),
      },
      filters: [
        {
          name: 'http',
          typed_config: typed('filters.network.http_connection_manager.v3.HttpConnectionManager', {
            stat_prefix: 'front',
            codec_type: 'HTTP1',
            route_config: {
              virtual_hosts: [
                {
                  name: 'all',
                  domains: ['*'],
                  routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }],
                },
              ],
            },
            http_filters: [
              { name: 'router', typed_config: typed('filters.http.router.v3.Router', {}) },
            ],
          }),
        },
      ],
    },
  ],
});

test('an Envoy takes the bundle by trust domain: a foreign CA that names us is refused, and what is withdrawn is gone', {
  skip,
}, async () => {
  assert.ok(envoy.ok);
  await using stack = new AsyncDisposableStack();
  const ours = stack.use(await openLab());
  const identities = await issueIdentities({
    stateDir: ours.state,
    namespace: NAMESPACE,
    accounts: ['web'],
  });
  await ours.write(
    'all.yaml',
    MESH_CONFIG,
    podYaml({ name: 'web-0', ip: '127.88.9.1', ports: [] }),
  );
  await ours.startControlPlane();
  const theirs = stack.use(await openLab());
  const serve = ['--trust-domain', THEIRS, '--bundle-endpoint', '127.0.0.1:0'];
  const { bundleEndpoint } = await theirs.startControlPlane({ args: serve });
  const front = await freeEndpoint();
  const half = { lab: ours, identities, binary: envoy.path, withinMs: 60_000 };
  const listener = frontOf(front);
  const proxy = stack.use(
    await startConfiguredEnvoy({ ...half, pod: 'web-0', account: 'web', listener }),
  );
  const address = `${front.host}:${front.port}`;
  const [own, foreign] = [await caOf(ours, OURS), await caOf(theirs, THEIRS)];
  const cart = (pki: TestPki, trustDomain: string) =>
    pki.issue({ uris: [`spiffe://${trustDomain}/ns/shop/sa/cart`] });
  const soon = (ask: () => Promise<string>, answer: string): Promise<unknown> =>
    eventually(async () => (await ask()) === answer, { what: answer, withinMs: 10_000 });
  await soon(() => callAs(cart(own, OURS), address), '200');
  assert.equal(await callAs(cart(foreign, THEIRS), address), 'refused', 'before it is federated');
  await ours.write('theirs.yaml', await federationYaml(theirs, THEIRS, String(bundleEndpoint)));
  await believed(ours);
  await soon(() => callAs(cart(foreign, THEIRS), address), '200');
  assert.equal(await callAs(cart(own, OURS), address), '200');
  assert.equal(await callAs(cart(foreign, OURS), address), 'refused', 'their CA, our name');
  assert.equal(await callAs(cart(own, THEIRS), address), 'refused', 'our CA, their name');
  assert.equal(await callAs(cart(foreign, 'third.example'), address), 'refused');
  await ours.remove('theirs.yaml');
  await soon(() => callAs(cart(foreign, THEIRS), address), 'refused');
  assert.equal(await callAs(cart(own, OURS), address), '200');
  const rejected = await proxy.stats('update_rejected$');
  assert.deepEqual(
    [...rejected].filter(([, count]) => count > 0),
    [],
  );
  shown('envoy', 'federates');
});
