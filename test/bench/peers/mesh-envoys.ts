// Puts two Envoys into the measured mesh: the called one has everything from Weft's control plane, the caller everything but the port on which it is asked.
import { splitAddress } from '../../support/lab-clients.ts';
import { NAMESPACE, podYaml, serviceYaml } from '../../support/lab-manifests.ts';
import { CALLED, CALLER } from '../policies.ts';
import { startConfiguredEnvoy } from './configured-envoy.ts';
import type { Endpoint } from './envoy-config.ts';
import { freeEndpoint } from './envoy.ts';
import type { Place } from './kinds.ts';
import type { Pair } from './pairs.ts';

/** Workloads of their own behind the same service accounts: Weft's caller must not balance over Envoy's called one. */
export const ENVOY_CALLED = `${CALLED}-envoy`;
const ENVOY_CALLER = `${CALLER}-envoy`;
/** Connections to it are redirected to its listener: see the namespace in which this runs. */
const CALLED_IP = '127.88.0.1';
const CALLER_IP = '127.88.0.2';
const SERVICE_PORT = 80;
const DESTINATION = `outbound|${SERVICE_PORT}||${ENVOY_CALLED}.${NAMESPACE}.svc.cluster.local`;
const IN_FORCE_MS = 60_000;

/** Before the control plane starts. */
export async function writeEnvoyPods({ lab, appAddress, mesh }: Place): Promise<void> {
  const { port } = splitAddress(appAddress);
  await lab.write(
    'envoy.yaml',
    podYaml({ name: `${ENVOY_CALLED}-0`, ip: CALLED_IP, ports: [port], serviceAccount: CALLED }),
    podYaml({ name: `${ENVOY_CALLER}-0`, ip: CALLER_IP, ports: [], serviceAccount: CALLER }),
    serviceYaml({
      name: ENVOY_CALLED,
      ports: [{ name: mesh.port, port: SERVICE_PORT, targetPort: port }],
    }),
  );
}

/** @param binary of Envoy */
export async function startMeshEnvoyPair(place: Place, binary: string): Promise<Pair> {
  const { lab, identities, appAddress, mesh } = place;
  const half = { lab, identities, binary, withinMs: IN_FORCE_MS };
  await using stack = new AsyncDisposableStack();
  const second = stack.use(
    await startConfiguredEnvoy({ ...half, pod: `${ENVOY_CALLED}-0`, account: CALLED }),
  );
  const front = await freeEndpoint();
  const listener = mesh.app === 'tcp' ? tcpListener(front) : httpListener(front);
  const first = stack.use(
    await startConfiguredEnvoy({ ...half, pod: `${ENVOY_CALLER}-0`, account: CALLER, listener }),
  );
  const owned = stack.move();
  return {
    name: 'envoy',
    front,
    inbound: { host: CALLED_IP, port: splitAddress(appAddress).port },
    pids: [first.pid, second.pid],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const typed = (name: string, fields: object): object => ({
  '@type': `type.googleapis.com/envoy.extensions.filters.${name}`,
  ...fields,
});

const listenerOf = ({ host, port }: Endpoint, filter: object): object => ({
  name: 'bench',
  address: { socket_address: { address: host, port_value: port } },
  filter_chains: [{ filters: [filter] }],
});

/** Its route, and so its cluster, endpoints and TLS, are the control plane's. */
const httpListener = (front: Endpoint): object =>
  listenerOf(front, {
    name: 'http',
    typed_config: typed('network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: 'bench',
      codec_type: 'AUTO',
      rds: {
        route_config_name: DESTINATION,
        config_source: { ads: {}, resource_api_version: 'V3' },
      },
      http_filters: [{ name: 'router', typed_config: typed('http.router.v3.Router', {}) }],
    }),
  });

const tcpListener = (front: Endpoint): object =>
  listenerOf(front, {
    name: 'tcp',
    typed_config: typed('network.tcp_proxy.v3.TcpProxy', {
      stat_prefix: 'bench',
      cluster: DESTINATION,
    }),
  });
