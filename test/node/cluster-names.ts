// Answers the names of the cluster: Services, headless Services' Pods, external names and named ports.
import { textAt } from '@weft/kube/object-fields';
import { type Answer, TYPE } from './dns-message.ts';
import type { ServiceProxy } from './service-proxy.ts';
import { clusterIpOf, type Slice } from './service-rules.ts';

const SUFFIX = '.svc.cluster.local';
const NOT_FOUND: Answer = { isFound: false, records: [] };
/** A chain of external names that leads back into the cluster ends here. */
const MAX_HOPS = 4;

type Names = Pick<ServiceProxy, 'service' | 'slices'>;

/** Ready Pods, or those that are published without it: the API server has worked that out as `ready`. */
const readyEndpoints = (slices: readonly Slice[]) =>
  slices
    .filter(({ addressType }) => addressType === 'IPv4')
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false);

function addressRecords(name: string, addresses: readonly string[], type: number): Answer {
  const records = addresses.map((address) => ({ name, data: { kind: 'A', address } as const }));
  return { isFound: true, records: type === TYPE.A ? records : [] };
}

export function answerName(names: Names, name: string, type: number, hops = 0): Answer {
  if (!name.endsWith(SUFFIX) || hops > MAX_HOPS) return NOT_FOUND;
  const labels = name.slice(0, -SUFFIX.length).split('.');
  const [namespace = '', service = '', ...before] = labels.toReversed();
  const found = names.service(namespace, service);
  if (found === undefined) return NOT_FOUND;
  const slices = names.slices(namespace, service);
  const external = textAt(found, 'spec', 'externalName');
  if (external !== undefined && before.length === 0) {
    const target = external.toLowerCase();
    const alias = { name, data: { kind: 'CNAME', name: target } as const };
    return {
      isFound: true,
      records: [alias, ...answerName(names, target, type, hops + 1).records],
    };
  }
  if (before.length === 2 && before.every((label) => label.startsWith('_'))) {
    return namedPort(name, { slices, labels: before, base: `${service}.${namespace}${SUFFIX}` });
  }
  if (before.length > 1) return NOT_FOUND;
  const [host] = before;
  const address = clusterIpOf(found);
  if (host === undefined && address !== '') return addressRecords(name, [address], type);
  const endpoints = readyEndpoints(slices).filter(
    (one) => host === undefined || one.hostname === host,
  );
  if (endpoints.length === 0) return NOT_FOUND;
  return addressRecords(
    name,
    endpoints.flatMap(({ addresses }) => addresses?.[0] ?? []),
    type,
  );
}

/** `_http._tcp.web.shop.svc.cluster.local`: labels come from right to left. */
function namedPort(
  name: string,
  {
    slices,
    labels,
    base,
  }: {
    readonly slices: readonly Slice[];
    readonly labels: readonly string[];
    readonly base: string;
  },
): Answer {
  const [protocol = '', port = ''] = labels.map((label) => label.slice(1));
  const records = slices.flatMap((slice) =>
    (slice.ports ?? [])
      .filter((one) => one.name === port && (one.protocol ?? 'TCP').toLowerCase() === protocol)
      .map((one) => ({ name, data: { kind: 'SRV', port: one.port ?? 0, name: base } as const })),
  );
  return records.length === 0 ? NOT_FOUND : { isFound: true, records };
}
