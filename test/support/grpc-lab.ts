// Workloads of a lab that have no proxy: an agent each, and the gRPC programs that go by its bootstrap.
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import type { Lab, LabSidecar } from './lab.ts';
import { appOf, podYaml, type ServicePortSpec, serviceYaml } from './lab-manifests.ts';
import { type ClientKind, GrpcClient, GrpcServer } from './grpc-programs.ts';

export interface ProxylessSpec {
  readonly pod: string;
  /** Where its server listens; default none. */
  readonly port?: number;
  readonly podIp?: string;
  readonly serviceAccount?: string;
  /** Default: one of the app's name, port 80, where it has a port. Empty: none. */
  readonly service?: readonly ServicePortSpec[];
  readonly args?: readonly string[];
}

/** One that is in the mesh by its agent alone. */
export interface ProxylessPod {
  readonly pod: string;
  readonly podIp: string;
  readonly bootstrap: string;
  readonly agent: LabSidecar;
}

/** Of the table of data planes. */
export const planeOf = (kind: ClientKind): 'grpc-go' | 'grpc-js' | 'grpc-python' =>
  kind === 'grpcio' ? 'grpc-python' : kind;

/** Put before a client's command: its library sends a server name (gRFC A101), if it knows how. */
export const SENDS_NAME = ['env', 'GRPC_EXPERIMENTAL_XDS_SNI=true'] as const;

export const PORT = 8_080;
export const targetOf = (service: string): string => `xds:///${service}.shop.svc.cluster.local:80`;
export const principalOf = (app: string): string => `cluster.local/ns/shop/sa/${app}`;

export async function startProxyless(lab: Lab, spec: ProxylessSpec): Promise<ProxylessPod> {
  const { pod, port, podIp = lab.nextIp(), args = [] } = spec;
  const { serviceAccount = appOf(pod) } = spec;
  const service = spec.service ?? [{ name: 'grpc', port: 80, targetPort: port ?? PORT }];
  await lab.write(
    `pod-${pod}.yaml`,
    podYaml({ name: pod, ip: podIp, ports: port === undefined ? [] : [port], serviceAccount }),
    ...(port === undefined || service.length === 0
      ? []
      : [serviceYaml({ name: appOf(pod), ports: service })]),
  );
  const bootstrap = join(lab.root, `${pod}.json`);
  const agent = await lab.startSidecar({
    pod,
    podIp,
    serviceAccount,
    manifest: false,
    args: ['--proxy', 'none', '--grpc-bootstrap', bootstrap, ...args],
  });
  return { pod, podIp, bootstrap, agent };
}

/** Free a moment ago: a server of grpc-js listens at its port of every address, whichever it was given. */
export const freePortEverywhere = (): Promise<number> => freePort('::');

/** A server at the Pod's address. */
export const startServer = (
  { podIp, pod: name, bootstrap }: ProxylessPod,
  kind: ClientKind = 'grpc-go',
  port = PORT,
): Promise<GrpcServer> => GrpcServer.start({ listen: `${podIp}:${port}`, name, bootstrap, kind });

export const startClient = (kind: ClientKind, at: ProxylessPod): Promise<GrpcClient> =>
  GrpcClient.start(kind, at.bootstrap);
