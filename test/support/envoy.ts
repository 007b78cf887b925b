// Runs a real Envoy as the proxy of one Pod: everything but its bootstrap and its own certificate comes from a control plane.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { OWN_CERTIFICATE_FILE } from '@weft/xds/codec/tls';
import { freeEndpoint } from '../bench/peers/envoy.ts';
import { eventually } from './lab-wait.ts';
import type { Credential } from './mesh-pki.ts';

export { findEnvoy, type FoundEnvoy } from '../bench/peers/envoy-binary.ts';

/** Both forms of the protocol. */
export type XdsVariant = 'GRPC' | 'DELTA_GRPC';

export interface EnvoyOptions {
  readonly binary: string;
  /** Its working directory; must exist. */
  readonly folder: string;
  /** `POD.NAMESPACE`. */
  readonly nodeId: string;
  readonly variant: XdsVariant;
  readonly xds: string;
  /** The identity that the control plane must prove. */
  readonly controlPlaneId: string;
  readonly credential: Credential;
  readonly bundlePem: string;
  /** In Envoy's JSON. It has this one then and none of the control plane's; default: all of the control plane's. */
  readonly listener?: object;
}

const START_MS = 20_000;
/** Wildcards of policies are regular expressions in Envoy, and its own limit of 100 is for smaller ones. */
const MAX_REGEX_PROGRAM = 32_768;

export class MeshEnvoy implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #admin: { readonly host: string; readonly port: number };
  readonly #logFile: string;

  constructor(
    child: ChildProcess,
    admin: { readonly host: string; readonly port: number },
    logFile: string,
  ) {
    this.#child = child;
    this.#admin = admin;
    this.#logFile = logFile;
  }

  get log(): string {
    return readFileSync(this.#logFile, 'utf8');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  ask(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = http.get({ ...this.#admin, path, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve(body));
      });
      request.on('error', reject);
    });
  }

  async configDump(): Promise<PlainObject> {
    const value: unknown = JSON.parse(await this.ask('/config_dump'));
    if (!isPlainObject(value)) throw new TypeError('Cannot read the config dump: no object');
    return value;
  }

  /** Counters and gauges whose names fit. */
  async stats(filter: string): Promise<ReadonlyMap<string, number>> {
    const body = await this.ask(`/stats?filter=${encodeURIComponent(filter)}`);
    return new Map(
      body.split('\n').flatMap((line): [string, number][] => {
        const at = line.lastIndexOf(': ');
        const value = Number(line.slice(at + 2));
        return at === -1 || Number.isNaN(value) ? [] : [[line.slice(0, at), value]];
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.hasEnded) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** It answers on its admin port when this returns; what it has of the control plane by then is to be waited for. */
export async function startMeshEnvoy(options: EnvoyOptions): Promise<MeshEnvoy> {
  const { folder, binary, nodeId } = options;
  const admin = await freeEndpoint();
  const configFile = join(folder, 'bootstrap.json');
  const logFile = join(folder, 'envoy.log');
  await writeFile(configFile, JSON.stringify(bootstrapOf(options, admin)), { mode: 0o600 });
  await mkdir(join(folder, 'weft'), { recursive: true });
  await writeFile(
    join(folder, OWN_CERTIFICATE_FILE),
    JSON.stringify({ resources: [ownSecret(options.credential)] }),
    { mode: 0o600 },
  );
  const log = openSync(logFile, 'w');
  const args = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'];
  const child = spawn(binary, ['-c', configFile, ...args], {
    cwd: folder,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const envoy = new MeshEnvoy(child, admin, logFile);
  try {
    await eventually(
      async () => {
        if (envoy.hasEnded) throw Object.assign(new Error('Envoy has ended'), { isFinal: true });
        return (await envoy.ask('/server_info')) !== '';
      },
      { what: `Envoy of ${nodeId}`, withinMs: START_MS, told: () => envoy.log.slice(0, 2_000) },
    );
  } catch (error) {
    await envoy[Symbol.asyncDispose]();
    throw error;
  }
  return envoy;
}

const ownSecret = ({ chainPem, keyPem }: Credential): object => ({
  '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  name: 'default',
  tls_certificate: {
    certificate_chain: { inline_string: chainPem },
    private_key: { inline_string: keyPem },
  },
});

function bootstrapOf(
  options: EnvoyOptions,
  admin: { readonly host: string; readonly port: number },
): object {
  const { nodeId, variant, listener } = options;
  const ads = { ads: {}, resource_api_version: 'V3' };
  return {
    node: { id: nodeId, cluster: nodeId.slice(nodeId.lastIndexOf('.') + 1) },
    admin: { address: addressOf(admin) },
    layered_runtime: {
      layers: [
        {
          name: 'weft',
          static_layer: {
            're2.max_program_size.error_level': MAX_REGEX_PROGRAM,
            // The contract cuts a fragment off, as Istio's own Envoys are told to; by itself Envoy answers 400.
            'envoy.reloadable_features.http_reject_path_with_fragment': false,
          },
        },
      ],
    },
    dynamic_resources: {
      ads_config: {
        api_type: variant,
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'weft' } }],
      },
      ...(listener === undefined && { lds_config: ads }),
      cds_config: ads,
    },
    static_resources: {
      clusters: [controlPlaneCluster(options)],
      ...(listener !== undefined && { listeners: [listener] }),
    },
  };
}

const addressOf = ({ host, port }: { readonly host: string; readonly port: number }): object => ({
  socket_address: { address: host, port_value: port },
});

function controlPlaneCluster(options: EnvoyOptions): object {
  const { xds, controlPlaneId, credential, bundlePem } = options;
  const colon = xds.lastIndexOf(':');
  const endpoint = { host: xds.slice(0, colon), port: Number(xds.slice(colon + 1)) };
  return {
    name: 'weft',
    type: 'STATIC',
    connect_timeout: '5s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: 'weft',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(endpoint) } }] }],
    },
    transport_socket: {
      name: 'tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
        common_tls_context: {
          tls_params: {
            tls_minimum_protocol_version: 'TLSv1_3',
            tls_maximum_protocol_version: 'TLSv1_3',
          },
          alpn_protocols: ['h2'],
          tls_certificates: [
            {
              certificate_chain: { inline_string: credential.chainPem },
              private_key: { inline_string: credential.keyPem },
            },
          ],
          validation_context: {
            trusted_ca: { inline_string: bundlePem },
            match_typed_subject_alt_names: [
              { san_type: 'URI', matcher: { exact: controlPlaneId } },
            ],
          },
        },
      },
    },
  };
}
