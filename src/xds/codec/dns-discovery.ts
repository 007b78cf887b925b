// Names that a proxy resolves itself, on the wire: STRICT_DNS, and what Weft's sidecar holds the answers to.
import { isDnsSubdomain } from '@weft/model/identity';
import { parseCidr } from '@weft/model/ip';
import type { PlainMessage } from '../registry.ts';
import type { DnsDiscovery, NameRules } from '../resources/egress.ts';
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

/** Of a cluster that resolves server names: Envoy's own field for the shortest life is of DNS clusters alone. */
export const encodeNameRules = (rules: NameRules): PlainMessage =>
  encodeTexts({
    minTtlMs: String(rules.minTtlMs),
    maxTtlMs: String(rules.maxTtlMs),
    allowedNetworks: networksOf(rules),
  });

const networksOf = ({ allowedNetworks }: NameRules): string | undefined =>
  allowedNetworks.length === 0 ? undefined : allowedNetworks.join(',');

export const encodeDnsMetadata = (rules: DnsDiscovery): PlainMessage =>
  encodeTexts({
    maxTtlMs: String(rules.maxTtlMs),
    allowedNetworks: networksOf(rules),
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

export function withDnsMetadata(
  fields: Fields,
  dns: OnTheWire,
  texts: ReadonlyMap<string, string> | undefined,
): DnsDiscovery | undefined {
  const rules = readRules(fields, texts ?? new Map(), { minTtlMs: dns.minTtlMs });
  return rules && { ...dns, ...rules };
}

export const readNameRules = (
  fields: Fields,
  texts: ReadonlyMap<string, string>,
): NameRules | undefined => readRules(fields, texts, {});

/** Read too loosely, it would let answers lead to where nobody meant them to. */
function readRules(
  fields: Fields,
  texts: ReadonlyMap<string, string>,
  known: { readonly minTtlMs?: number },
): NameRules | undefined {
  const numberOf = (key: string): number => Number(texts.get(key) ?? '');
  const minTtlMs = known.minTtlMs ?? numberOf('minTtlMs');
  const maxTtlMs = numberOf('maxTtlMs');
  const listed = texts.get('allowedNetworks');
  const allowedNetworks = listed === undefined ? [] : listed.split(',', MAX_NETWORKS + 1);
  const keys = [
    'maxTtlMs',
    'allowedNetworks',
    ...(known.minTtlMs === undefined ? ['minTtlMs'] : []),
  ];
  const areNetworks =
    allowedNetworks.length <= MAX_NETWORKS &&
    allowedNetworks.every((text) => parseCidr(text) !== undefined);
  const areTimes =
    Number.isSafeInteger(minTtlMs) && Number.isSafeInteger(maxTtlMs) && maxTtlMs >= minTtlMs;
  if ([...texts.keys()].every((key) => keys.includes(key)) && areNetworks && areTimes)
    return { minTtlMs, maxTtlMs, allowedNetworks };
  const field = `metadata.filter_metadata["${EGRESS_METADATA}"]`;
  return report(fields, field, 'not-supported', 'must hold times and networks');
}
