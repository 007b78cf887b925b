// Turns Services and their endpoints into the rules that lead a Service's address to a Pod: pure, as kube-proxy's own tables do.
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';

interface Endpoint {
  readonly addresses?: readonly string[];
  readonly conditions?: {
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
  };
  readonly hostname?: string;
}

interface SlicePort {
  readonly name?: string;
  readonly port?: number;
  readonly protocol?: string;
}

/** What the node reads of an EndpointSlice, as the API server has checked it. */
export interface Slice {
  readonly addressType?: string;
  readonly endpoints?: readonly Endpoint[] | null;
  readonly ports?: readonly SlicePort[] | null;
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
}

export const asSlice = (object: KubeObject): Slice => object;

/** Of an EndpointSlice: `shop/web`. */
export const serviceKeyOf = (slice: KubeObject): string =>
  `${textAt(slice, 'metadata', 'namespace') ?? ''}/${
    textAt(slice, 'metadata', 'labels', 'kubernetes.io/service-name') ?? ''
  }`;

export const portsOf = (service: KubeObject): readonly ServicePort[] =>
  (objectAt(service, 'spec')?.['ports'] ?? []) as readonly ServicePort[];

/** Empty for a headless one and for an ExternalName. */
export function clusterIpOf(service: KubeObject): string {
  const address = textAt(service, 'spec', 'clusterIP') ?? '';
  return address === 'None' ? '' : address;
}

/** Ready ones; when there are none, those that still serve while they end. */
export function usableEndpoints(slices: readonly Slice[]): readonly Endpoint[] {
  const all = slices
    .filter(({ addressType }) => addressType === 'IPv4')
    .flatMap(({ endpoints }) => endpoints ?? []);
  const ready = all.filter(({ conditions }) => conditions?.ready !== false);
  if (ready.length > 0) return ready;
  return all.filter(
    ({ conditions }) => conditions?.serving === true && conditions.terminating === true,
  );
}

function targetsOf(
  slices: readonly Slice[],
  { name = '', protocol = 'TCP' }: ServicePort,
): readonly string[] {
  const withPort = slices.flatMap((slice) => {
    const port = (slice.ports ?? []).find(
      (one) => (one.name ?? '') === name && (one.protocol ?? 'TCP') === protocol,
    );
    return port?.port === undefined ? [] : [{ slice, port: port.port }];
  });
  const usable = new Set(usableEndpoints(withPort.map(({ slice }) => slice)));
  return withPort.flatMap(({ slice, port }) =>
    (slice.endpoints ?? [])
      .filter((endpoint) => usable.has(endpoint))
      .map(({ addresses }) => `${addresses?.[0] ?? ''}:${port}`),
  );
}

/** Chains that are filled anew as a whole, in one step of the kernel's. */
export const SERVICE_CHAINS = {
  services: 'WEFT-NODE-SERVICES',
  hairpin: 'WEFT-NODE-HAIRPIN',
  noEndpoints: 'WEFT-NODE-NO-ENDPOINTS',
} as const;

/** Input of `iptables-restore --noflush`. */
export function serviceRules(
  services: Iterable<KubeObject>,
  slicesByService: ReadonlyMap<string, readonly Slice[]>,
): string {
  const nat: string[] = [];
  const filter: string[] = [];
  const pods = new Set<string>();
  const { services: chain, hairpin, noEndpoints } = SERVICE_CHAINS;
  for (const service of services) {
    const address = clusterIpOf(service);
    if (address === '' || address.includes(':')) continue;
    const key = `${textAt(service, 'metadata', 'namespace') ?? ''}/${textAt(service, 'metadata', 'name') ?? ''}`;
    const slices = slicesByService.get(key) ?? [];
    for (const port of portsOf(service)) {
      const protocol = (port.protocol ?? 'TCP').toLowerCase();
      const match = `-d ${address}/32 -p ${protocol} -m ${protocol} --dport ${port.port}`;
      const targets = targetsOf(slices, port);
      if (targets.length === 0) filter.push(`-A ${noEndpoints} ${match} -j REJECT`);
      targets.forEach((target, index) => {
        const left = targets.length - index;
        const share =
          left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
        nat.push(`-A ${chain} ${match}${share} -j DNAT --to-destination ${target}`);
        pods.add(target.slice(0, target.indexOf(':')));
      });
    }
  }
  // A Pod that calls its own Service would answer itself without the node, and not know the answer.
  const masquerades = [...pods].map((pod) => `-A ${hairpin} -s ${pod} -d ${pod} -j MASQUERADE`);
  const natLines = [`:${chain} - [0:0]`, `:${hairpin} - [0:0]`, ...nat, ...masquerades];
  const filterLines = [`:${noEndpoints} - [0:0]`, ...filter];
  return ['*nat', ...natLines, 'COMMIT', '*filter', ...filterLines, 'COMMIT', ''].join('\n');
}
