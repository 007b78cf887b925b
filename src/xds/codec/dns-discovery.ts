// Names that a proxy resolves itself, on the wire: STRICT_DNS, and what Weft's sidecar holds the answers to.
import { isDnsSubdomain } from '@weft/model/identity';
import { parseCidr } from '@weft/model/ip';
import type { PlainMessage } from '../registry.ts';
import type { DnsDiscovery } from '../resources/egress.ts';
import {
  choose,
  type Fields,
  flag,
  integer,
  messages,
  oneOf,
  report,
  requiredMessage,
  requiredText,
  shown,
} from './fields.ts';
import { MAX_PORT } from './request-match.ts';
import { encodeDuration, encodeTexts, requiredDurationMs } from './well-known.ts';

/** Weft's own: what no field of Envoy's says. */
export const EGRESS_METADATA = 'weft.dev/egress';
const MAX_NETWORKS = 64;

export function encodeDns(name: string, dns: DnsDiscovery): PlainMessage {
  const address = { socket_address: { address: dns.host, port_value: dns.port } };
  return {
    type: 'STRICT_DNS',
    // What holds where an answer says nothing of its life.
    dns_refresh_rate: encodeDuration(dns.minTtlMs),
    respect_dns_ttl: true,
    dns_lookup_family: 'ALL',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
    },
  };
}

export const encodeDnsMetadata = ({ maxTtlMs, allowedNetworks }: DnsDiscovery): PlainMessage =>
  encodeTexts({
    maxTtlMs: String(maxTtlMs),
    allowedNetworks: allowedNetworks.length === 0 ? undefined : allowedNetworks.join(','),
  });

type OnTheWire = Omit<DnsDiscovery, 'maxTtlMs' | 'allowedNetworks'>;

export function readDns(fields: Fields, name: string): OnTheWire | undefined {
  const minTtlMs = requiredDurationMs(fields, 'dns_refresh_rate');
  if (!flag(fields, 'respect_dns_ttl'))
    report(fields, 'respect_dns_ttl', 'not-supported', 'must be true');
  choose(fields, 'dns_lookup_family', { ALL: true });
  const found = requiredMessage(fields, 'load_assignment', (assignment) => {
    if (requiredText(assignment, 'cluster_name') !== name)
      report(assignment, 'cluster_name', 'not-supported', 'is not the name of the cluster');
    return messages(assignment, 'endpoints', (locality) =>
      messages(locality, 'lb_endpoints', readTarget),
    ).flat();
  });
  const [target, ...more] = found ?? [];
  if (target === undefined || more.length > 0)
    return report(fields, 'load_assignment', 'not-supported', 'must hold one name');
  return { kind: 'dns', ...target, minTtlMs };
}

function readTarget(fields: Fields): Pick<DnsDiscovery, 'host' | 'port'> | undefined {
  oneOf(fields, 'host_identifier');
  return requiredMessage(fields, 'endpoint', (endpoint) =>
    requiredMessage(endpoint, 'address', (address) =>
      requiredMessage(address, 'socket_address', (socket) => {
        const host = requiredText(socket, 'address');
        const port = integer(socket, 'port_value', MAX_PORT);
        if (port === 0) report(socket, 'port_value', 'out-of-range', 'is 0');
        if (isDnsSubdomain(host)) return { host, port };
        return report(socket, 'address', 'out-of-range', `is ${shown(host)}, not a DNS name`);
      }),
    ),
  );
}

/** Read too loosely, it would let answers lead to where nobody meant them to. */
export function withDnsMetadata(
  fields: Fields,
  dns: OnTheWire,
  texts: ReadonlyMap<string, string> | undefined,
): DnsDiscovery | undefined {
  const maxTtlMs = Number(texts?.get('maxTtlMs') ?? '');
  const listed = texts?.get('allowedNetworks');
  const allowedNetworks = listed === undefined ? [] : listed.split(',', MAX_NETWORKS + 1);
  const isKnown = [...(texts?.keys() ?? [])].every(
    (key) => key === 'maxTtlMs' || key === 'allowedNetworks',
  );
  const areNetworks =
    allowedNetworks.length <= MAX_NETWORKS &&
    allowedNetworks.every((text) => parseCidr(text) !== undefined);
  if (isKnown && areNetworks && Number.isSafeInteger(maxTtlMs) && maxTtlMs >= dns.minTtlMs)
    return { ...dns, maxTtlMs, allowedNetworks };
  const field = `metadata.filter_metadata["${EGRESS_METADATA}"]`;
  return report(fields, field, 'not-supported', 'must hold maxTtlMs and networks');
}
