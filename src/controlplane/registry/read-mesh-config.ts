// Reads a MeshConfig: settings that hold for the whole mesh.
import type { OutboundPolicy } from '@weft/model/egress/egress';
import { isDnsLabel, parseTrustDomain } from '@weft/model/identity';
import { parseCidr } from '@weft/model/ip';
import {
  DEFAULT_MESH_CONFIG,
  STRICTEST_MESH_CONFIG,
  type MeshConfig,
} from '@weft/model/mesh/config';
import type { MeshConfigObject } from '@weft/model/mesh/objects';
import { Reader, shown, type PlainObject } from '@weft/model/policy/reader';
import { readExtensionProviders } from './read-extension-providers.ts';
import { given, outcome, readMeta, type Reading } from './reading.ts';

export const MESH_CONFIG_API_VERSION = 'mesh.weft.dev/v1';
/** Aliases are for migrations: a handful at a time. */
const MAX_ALIASES = 64;
const MAX_NETWORKS = 64;
/** Proxies in front of a mesh: load balancers, gateways, content networks. */
const MAX_TRUSTED_HOPS = 16;
const NORMALIZATIONS = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const;
const AMBIGUOUS_PATHS = ['NORMALIZE', 'REFUSE'] as const;
const OUTBOUND_POLICIES = ['ALLOW_ANY', 'REGISTRY_ONLY'] as const;

/** What is not set holds as in `DEFAULT_MESH_CONFIG`. */
export function readMeshConfig(object: PlainObject): Reading {
  const reader = new Reader();
  reader.object(object, '', ['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  if (object['apiVersion'] !== MESH_CONFIG_API_VERSION) {
    const cure = `write ${MESH_CONFIG_API_VERSION}`;
    reader.error('apiVersion', 'unknown-api-version', 'is no version of MeshConfig', cure);
  }
  const { name } = readMeta(reader, object, 'cluster');
  const keys = [...Object.keys(DEFAULT_MESH_CONFIG), 'outboundTrafficPolicyByNamespace'];
  const spec = reader.object(given(object['spec']) ?? {}, 'spec', keys) ?? {};
  const byNamespace = readByNamespace(reader, spec);
  const config: MeshConfig = {
    trustDomainAliases: readAliases(reader, spec),
    pathNormalization: oneOf(reader, spec, 'pathNormalization', NORMALIZATIONS),
    ambiguousPaths: oneOf(reader, spec, 'ambiguousPaths', AMBIGUOUS_PATHS),
    outboundTrafficPolicy: oneOf(reader, spec, 'outboundTrafficPolicy', OUTBOUND_POLICIES),
    extensionProviders: readExtensionProviders(reader, spec['extensionProviders']),
    trustedHops: readHops(reader, spec),
    jwksAllowedNetworks: readNetworks(reader, spec),
    ...(byNamespace.size > 0 && { outboundTrafficPolicyByNamespace: byNamespace }),
  };
  const reading = outcome(reader, { kind: 'MeshConfig', name, config });
  return reading.kind === 'good' ? reading : { ...reading, closed: closedMeshConfig(object) };
}

export function closedMeshConfig(object: PlainObject): MeshConfigObject {
  const { name } = readMeta(new Reader(), object, 'cluster');
  return { kind: 'MeshConfig', name, config: STRICTEST_MESH_CONFIG };
}

function readAliases(reader: Reader, spec: PlainObject): readonly string[] {
  const field = 'spec.trustDomainAliases';
  const aliases = reader.strings(given(spec['trustDomainAliases']), field, MAX_ALIASES);
  aliases.forEach((alias, index) => {
    if (parseTrustDomain(alias) === undefined) {
      const message = `${shown(alias)} is no trust domain`;
      reader.error(`${field}[${index}]`, 'bad-trust-domain', message);
    }
  });
  return aliases;
}

function oneOf<K extends 'pathNormalization' | 'ambiguousPaths' | 'outboundTrafficPolicy'>(
  reader: Reader,
  spec: PlainObject,
  key: K,
  known: readonly MeshConfig[K][],
): MeshConfig[K] {
  const text = reader.string(given(spec[key]), `spec.${key}`);
  const value = known.find((each) => each === text);
  if (text !== undefined && value === undefined) {
    const cure = `write one of ${known.join(', ')}`;
    reader.error(`spec.${key}`, 'unknown-value', `unknown value ${shown(text)}`, cure);
  }
  return value ?? DEFAULT_MESH_CONFIG[key];
}

/** As many as a large cluster has of teams whose policy differs. */
const MAX_NAMESPACES = 4_096;

function readByNamespace(reader: Reader, spec: PlainObject): ReadonlyMap<string, OutboundPolicy> {
  const field = 'spec.outboundTrafficPolicyByNamespace';
  const texts = given(spec['outboundTrafficPolicyByNamespace']);
  const policies = new Map<string, OutboundPolicy>();
  for (const [namespace, text] of reader.stringMap(texts, field, MAX_NAMESPACES) ?? []) {
    const policy = OUTBOUND_POLICIES.find((each) => each === text);
    const at = `${field}.${namespace.slice(0, 64)}`;
    if (!isDnsLabel(namespace)) {
      reader.error(at, 'bad-namespace', `${shown(namespace)} is no namespace`);
    } else if (policy === undefined) {
      const cure = `write one of ${OUTBOUND_POLICIES.join(', ')}`;
      reader.error(at, 'unknown-value', `unknown value ${shown(text)}`, cure);
    } else policies.set(namespace, policy);
  }
  return policies;
}

function readNetworks(reader: Reader, spec: PlainObject): readonly string[] {
  const field = 'spec.jwksAllowedNetworks';
  const networks = reader.strings(given(spec['jwksAllowedNetworks']), field, MAX_NETWORKS);
  networks.forEach((network, index) => {
    if (parseCidr(network) !== undefined) return;
    const cure = 'write for example 10.96.0.0/12';
    reader.error(`${field}[${index}]`, 'bad-network', `${shown(network)} is no network`, cure);
  });
  return networks;
}

function readHops(reader: Reader, spec: PlainObject): number {
  const value = given(spec['trustedHops']) ?? DEFAULT_MESH_CONFIG.trustedHops;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) {
    if (value <= MAX_TRUSTED_HOPS) return value;
  }
  const message = `expected a whole number from 0 to ${MAX_TRUSTED_HOPS}`;
  reader.error('spec.trustedHops', 'bad-number', message);
  return 0;
}
