// Reads an ExternalService from its manifest, and says of one that cannot be read what it closes.
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import { formatIp, parseCidr, parseIp } from '../ip.ts';
import { DEFAULT_NAMESPACE, parseEnvelope } from '../policy/parse-metadata.ts';
import { isPlainObject, type PlainObject, Reader, shown } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import type {
  AllowedCallers,
  ExternalPort,
  ExternalResolution,
  ExternalService,
} from './external-service.ts';
import { parseExternalTls } from './parse-external-tls.ts';

export const EXTERNAL_SERVICE_API_VERSION = 'mesh.weft.dev/v1';
const KIND = 'ExternalService';
/** Each host and port is a cluster and a chain of its own at every caller. */
export const MAX_HOSTS = 64;
export const MAX_PORTS = 16;
export const MAX_ADDRESSES = 64;
const MAX_CALLERS = 256;
const MAX_NETWORKS = 16;
const WILDCARD = '*.';
const DEFAULT_MIN_TTL_SECONDS = 5;
const DEFAULT_MAX_TTL_SECONDS = 300;
/** A day: what is believed for longer is better written down as an address. */
const LONGEST_TTL_SECONDS = 86_400;

export const EXTERNAL_PROTOCOLS: ReadonlyMap<string, ExternalPort['protocol']> = new Map([
  ['HTTP', 'http1'],
  ['HTTP2', 'http2'],
  ['GRPC', 'grpc'],
  ['HTTPS', 'tls'],
  ['TLS', 'tls'],
  ['TCP', 'tcp'],
]);

const SPEC_KEYS = [
  'hosts',
  'ports',
  'resolution',
  'addresses',
  'dns',
  'allowedNetworks',
  'tls',
  'exportTo',
  'allowedCallers',
] as const;

export function parseExternalService(object: PlainObject): Result<ExternalService> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, KIND, [
    EXTERNAL_SERVICE_API_VERSION,
  ]);
  const spec = reader.object(object['spec'] ?? {}, 'spec', SPEC_KEYS) ?? {};
  const hosts = parseHosts(reader, spec['hosts']);
  const ports = parsePorts(reader, spec['ports']);
  const resolution = parseResolution(reader, spec);
  const allowedNetworks = parseNetworks(reader, spec['allowedNetworks']);
  const tls = parseExternalTls(reader, spec['tls']);
  const exportTo = parseExportTo(reader, spec['exportTo']);
  const allowedCallers = parseCallers(reader, spec['allowedCallers']);
  checkTogether(reader, { hosts, ports, resolution, tls });
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const value: ExternalService = {
    namespace,
    name,
    createdAtMs,
    hosts,
    ports,
    resolution,
    allowedNetworks,
    tls,
    exportTo,
    allowedCallers,
    isClosed: false,
  };
  return { ok: true, value, problems: [] };
}

const isHost = (text: string): boolean =>
  isDnsSubdomain(text) && text.includes('.') && parseIp(text) === undefined;

/** A name with a dot; `*.` before it stands for one label or more. Two labels at least follow a star. */
function hostOf(text: string): string | undefined {
  const lower = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase();
  return isHost(lower.startsWith(WILDCARD) ? lower.slice(WILDCARD.length) : lower)
    ? lower
    : undefined;
}

export const isWildcard = (host: string): boolean => host.startsWith(WILDCARD);

function parseHosts(reader: Reader, value: unknown): readonly string[] {
  const field = 'spec.hosts';
  const texts = reader.strings(value, field, MAX_HOSTS);
  if (texts.length === 0 && reader.problems.length === 0) {
    reader.error(field, 'missing', 'names no host', 'write for example [api.example.com]');
  }
  const hosts = new Set<string>();
  texts.forEach((text, index) => {
    const host = hostOf(text);
    const at = `${field}[${index}]`;
    if (host === undefined) {
      const cure = 'write a whole DNS name (api.example.com) or *.example.com; no address';
      reader.error(at, 'bad-host', `${shown(text)} is no host`, cure);
    } else if (hosts.has(host)) reader.error(at, 'duplicate-host', `${shown(text)} is there twice`);
    else hosts.add(host);
  });
  return [...hosts];
}

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;

function readPort(reader: Reader, value: unknown, field: string): number {
  if (isPort(value)) return value;
  reader.error(field, 'bad-port', 'is no port', 'write a number from 1 to 65535');
  return 0;
}

function parsePorts(reader: Reader, value: unknown): readonly ExternalPort[] {
  const field = 'spec.ports';
  const entries = reader.list(value, field, MAX_PORTS) ?? [];
  if (entries.length === 0) {
    reader.error(field, 'missing', 'names no port', 'write [{number: 443, protocol: TLS}]');
  }
  const seen = new Set<number>();
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const port = reader.object(entry, at, ['number', 'name', 'protocol', 'targetPort']) ?? {};
    const number = readPort(reader, port['number'], `${at}.number`);
    if (number !== 0 && seen.has(number)) {
      reader.error(`${at}.number`, 'duplicate-port', `the port ${number} is there twice`);
    }
    seen.add(number);
    reader.string(port['name'], `${at}.name`);
    const text = reader.string(port['protocol'], `${at}.protocol`) ?? '';
    const protocol = EXTERNAL_PROTOCOLS.get(text);
    if (protocol === undefined) {
      const cure = `write one of ${[...EXTERNAL_PROTOCOLS.keys()].join(', ')}`;
      reader.error(`${at}.protocol`, 'unknown-protocol', `unknown protocol ${shown(text)}`, cure);
      return [];
    }
    const target = port['targetPort'];
    const targetPort = target === undefined ? number : readPort(reader, target, `${at}.targetPort`);
    return [{ port: number, protocol, targetPort }];
  });
}

function parseResolution(reader: Reader, spec: PlainObject): ExternalResolution {
  const text = reader.string(spec['resolution'], 'spec.resolution') ?? 'DNS';
  const addresses = parseAddresses(reader, spec['addresses']);
  const dns = parseDns(reader, spec['dns']);
  if (text === 'STATIC') {
    if (addresses.length === 0) {
      const cure = 'write spec.addresses: [203.0.113.7]';
      reader.error('spec.addresses', 'missing', 'a STATIC resolution needs addresses', cure);
    }
    return { kind: 'static', addresses };
  }
  if (text !== 'DNS') {
    const message = `unknown resolution ${shown(text)}`;
    reader.error('spec.resolution', 'unknown-value', message, 'write DNS or STATIC');
  } else if (addresses.length > 0) {
    const message = 'addresses have no meaning where the name is resolved by DNS';
    reader.error('spec.addresses', 'not-used', message, 'write spec.resolution: STATIC');
  }
  return dns;
}

function parseAddresses(reader: Reader, value: unknown): readonly string[] {
  const field = 'spec.addresses';
  const addresses = new Set<string>();
  reader.strings(value, field, MAX_ADDRESSES).forEach((text, index) => {
    const ip = parseIp(text);
    if (ip !== undefined) addresses.add(formatIp(ip));
    else reader.error(`${field}[${index}]`, 'bad-ip', `${shown(text)} is no IP address`);
  });
  return [...addresses];
}

function parseDns(reader: Reader, value: unknown): ExternalResolution & { readonly kind: 'dns' } {
  const dns = reader.object(value, 'spec.dns', ['minTtlSeconds', 'maxTtlSeconds']) ?? {};
  const seconds = (key: string, otherwise: number): number => {
    const given = dns[key] ?? otherwise;
    if (typeof given === 'number' && Number.isInteger(given) && given >= 1) {
      if (given <= LONGEST_TTL_SECONDS) return given;
    }
    const message = `expected whole seconds from 1 to ${LONGEST_TTL_SECONDS}`;
    reader.error(`spec.dns.${key}`, 'bad-number', message);
    return otherwise;
  };
  const minTtlSeconds = seconds('minTtlSeconds', DEFAULT_MIN_TTL_SECONDS);
  const maxTtlSeconds = seconds('maxTtlSeconds', DEFAULT_MAX_TTL_SECONDS);
  if (minTtlSeconds > maxTtlSeconds) {
    reader.error('spec.dns.minTtlSeconds', 'bad-number', 'is above spec.dns.maxTtlSeconds');
  }
  return { kind: 'dns', minTtlSeconds, maxTtlSeconds };
}

function parseNetworks(reader: Reader, value: unknown): readonly string[] {
  const field = 'spec.allowedNetworks';
  const networks = reader.strings(value, field, MAX_NETWORKS);
  return networks.flatMap((text, index) => {
    const cidr = parseCidr(text);
    if (cidr !== undefined) return [`${cidr.address}/${cidr.prefixLength}`];
    const cure = 'write for example 10.96.0.0/12';
    reader.error(`${field}[${index}]`, 'bad-network', `${shown(text)} is no network`, cure);
    return [];
  });
}

function parseExportTo(reader: Reader, value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const field = 'spec.exportTo';
  const names = reader.strings(value, field, MAX_CALLERS);
  if (names.length === 0) {
    reader.error(field, 'empty-list', 'must not be empty', 'remove it, or name a namespace');
  }
  names.forEach((name, index) => {
    if (name === '*' || name === '.' || isDnsLabel(name)) return;
    const cure = 'write a namespace, "." for its own, or "*" for all';
    reader.error(`${field}[${index}]`, 'bad-namespace', `${shown(name)} is no namespace`, cure);
  });
  return names;
}

function parseCallers(reader: Reader, value: unknown): AllowedCallers | undefined {
  if (value === undefined) return undefined;
  const field = 'spec.allowedCallers';
  const callers = reader.object(value, field, ['principals', 'namespaces']) ?? {};
  const principals = reader.strings(callers['principals'], `${field}.principals`, MAX_CALLERS);
  const namespaces = reader.strings(callers['namespaces'], `${field}.namespaces`, MAX_CALLERS);
  principals.forEach((text, index) => {
    const at = `${field}.principals[${index}]`;
    const star = text.indexOf('*');
    const isInside = star > 0 && star < text.length - 1;
    if (isInside || star !== text.lastIndexOf('*')) {
      const cure = 'write it at one end alone: "cluster.local/ns/shop/sa/*"';
      reader.error(at, 'bad-wildcard', `${shown(text)} has a star inside`, cure);
    } else if (text.startsWith('spiffe://')) {
      reader.error(at, 'bad-principal', 'is written with spiffe://', 'leave spiffe:// away');
    }
  });
  namespaces.forEach((text, index) => {
    if (isDnsLabel(text)) return;
    const message = `${shown(text)} is no namespace`;
    reader.error(`${field}.namespaces[${index}]`, 'bad-namespace', message);
  });
  return { principals, namespaces };
}

/** What is sound by itself and has no meaning beside the rest. */
function checkTogether(
  reader: Reader,
  parts: Pick<ExternalService, 'hosts' | 'ports' | 'resolution' | 'tls'>,
): void {
  const { hosts, ports, resolution, tls } = parts;
  const wildcard = hosts.findIndex(isWildcard);
  if (wildcard !== -1) {
    const field = `spec.hosts[${wildcard}]`;
    if (ports.some(({ protocol }) => protocol !== 'tls')) {
      const message = 'a star is known by the server name of TLS alone';
      reader.error(
        field,
        'wildcard-without-tls',
        message,
        'use ports of protocol TLS, or write each host',
      );
    }
    if (resolution.kind === 'static') {
      const message = 'a star has no addresses of its own';
      reader.error(field, 'wildcard-static', message, 'write spec.resolution: DNS');
    }
  }
  if (tls !== undefined && ports.every(({ protocol }) => protocol === 'tls')) {
    const message = 'every port carries TLS of the caller already: there is nothing to originate';
    const cure = 'give a port the protocol HTTP or TCP, or remove spec.tls';
    reader.error('spec.tls', 'tls-in-tls', message, cure);
  }
}

/** Where ports cannot be read those that such hosts are called at. */
const CLOSED_PORTS: readonly ExternalPort[] = [
  { port: 80, protocol: 'http1', targetPort: 80 },
  { port: 443, protocol: 'tls', targetPort: 443 },
];

/**
 * What one that cannot be read closes, for as many as it can have been for: the hosts that can be read, for everybody
 * who might see them.
 */
export function closedExternalService(object: PlainObject): ExternalService {
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const { name, namespace } = { name: metadata['name'], namespace: metadata['namespace'] };
  const spec = isPlainObject(object['spec']) ? object['spec'] : {};
  const given: unknown = spec['hosts'];
  const texts: readonly unknown[] = Array.isArray(given) ? given.slice(0, MAX_HOSTS) : [];
  const hosts = texts.flatMap((text) => {
    const host = typeof text === 'string' ? hostOf(text) : undefined;
    return host === undefined ? [] : [host];
  });
  const ports = parsePorts(new Reader(), spec['ports']).filter(({ port }) => port !== 0);
  return {
    namespace:
      typeof namespace === 'string' && isDnsLabel(namespace) ? namespace : DEFAULT_NAMESPACE,
    name: typeof name === 'string' && isDnsSubdomain(name) ? name : 'unnamed',
    createdAtMs: 0,
    hosts: [...new Set(hosts)],
    ports: ports.length > 0 ? ports : CLOSED_PORTS,
    resolution: { kind: 'static', addresses: [] },
    allowedNetworks: [],
    tls: undefined,
    exportTo: undefined,
    allowedCallers: { principals: [], namespaces: [] },
    isClosed: true,
  };
}
