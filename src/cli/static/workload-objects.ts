// The mesh of one workload that a sidecar of its own file is compiled as: its namespace, its Pod, and no mutual TLS.
import type { PeerAuthenticationObject, PodObject, RegistryObject } from '@weft/model/mesh/objects';
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import type { StaticPorts } from './read-ports.ts';

/** Its name in logs, metrics and policies. */
export const WORKLOAD = {
  namespace: 'default',
  name: 'sidecar',
  serviceAccount: 'sidecar',
  /** Where connections are said to go; the application is on this machine. */
  ip: '127.0.0.1',
} as const;

/** Nobody has a certificate of it: policies about principals of it match nobody. */
export function staticIdentity(): {
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
} {
  const trustDomain = parseTrustDomain('cluster.local');
  if (trustDomain === undefined) throw new TypeError('Cannot name the trust domain');
  return { trustDomain, rootNamespace: 'weft-system' };
}

const NOTHING: ReadonlyMap<string, string> = new Map();

export function workloadObjects({
  ports,
  protocol,
}: StaticPorts): ReadonlyMap<string, RegistryObject> {
  const { namespace, name, serviceAccount, ip } = WORKLOAD;
  const numbers = [...new Set(ports.map(({ port }) => port))];
  const pod: PodObject = {
    kind: 'Pod',
    meta: { namespace, name, labels: NOTHING, annotations: NOTHING },
    serviceAccount,
    ips: [ip],
    ports: numbers.map((port) => ({ name: protocol === 'auto' ? '' : protocol, port })),
    isReady: true,
    isDeleting: false,
    isFinished: false,
  };
  const plaintext: PeerAuthenticationObject = {
    kind: 'PeerAuthentication',
    policy: {
      namespace,
      name: 'plaintext',
      createdAtMs: 0,
      selector: undefined,
      mode: 'DISABLE',
      portModes: new Map(),
    },
  };
  return new Map<string, RegistryObject>([
    [`Pod/${namespace}/${name}`, pod],
    [`PeerAuthentication/${namespace}/plaintext`, plaintext],
    [
      `Namespace/${namespace}`,
      {
        kind: 'Namespace',
        meta: { namespace: '', name: namespace, labels: NOTHING, annotations: NOTHING },
      },
    ],
  ]);
}
