// What Envoys are told in place of Weft's own traffic filters: Envoy's filters, as far as they can say the same, and in doubt stricter.
import type { HeaderMatcher, Permission, RbacRules } from '@weft/model/policy/rbac';
import type { RequestLimits, ThrottleKey } from '@weft/model/traffic/types';
import type { PlainMessage } from '../registry.ts';
import type { HttpFilter } from '../resources/listener.ts';
import type { FaultConfig, LimitsConfig, ThrottleConfig } from '../resources/traffic.ts';
import { encodeAny } from './fields.ts';
import { encodeRbac } from './rbac.ts';
import { encodeBool, encodeDuration, encodeUint, nonZero } from './well-known.ts';

export interface TwinFilter {
  readonly name: string;
  readonly typeName: string;
  readonly config: PlainMessage;
}

const FILTERS = 'envoy.extensions.filters.http';
const MAX_UINT32 = 4_294_967_295;
/** As the sidecar bounds the requests that it holds up. */
const MAX_ACTIVE_FAULTS = 10_000;

/** Empty where Envoy has nothing that says it: docs/capabilities.md has the table. */
export function twinsOf(filter: HttpFilter): readonly TwinFilter[] {
  if (filter.kind === 'requestLimits') return limitsTwins(filter.limits);
  if (filter.kind !== 'traffic') return [];
  const { throttles, faults } = filter.traffic;
  return [...throttles.map(throttleTwin), ...faults.flatMap(faultTwin)];
}

const ALWAYS: PlainMessage = { default_value: { numerator: 100 } };

/**
 * Of the key the parts that Envoy can count by as Weft does, and every request, whatever the rules: what it counts
 * together it lets through less of. What has no key shares the bucket without one.
 */
function throttleTwin(throttle: ThrottleConfig): TwinFilter {
  const { name, key, requests, burst, intervalMs, maxKeys } = throttle;
  const bucket = {
    max_tokens: Math.min(burst, MAX_UINT32),
    tokens_per_fill: encodeUint(Math.min(requests, MAX_UINT32)),
    fill_interval: encodeDuration(intervalMs),
  };
  const parts = key.flatMap((part) => keyPart(part));
  const entries = parts.map(({ entry }) => ({ key: entry }));
  const keyed = {
    rate_limits: [{ actions: parts.map(({ action }) => action) }],
    descriptors: [{ entries, token_bucket: bucket }],
    always_consume_default_token_bucket: encodeBool(false),
    max_dynamic_descriptors: encodeUint(maxKeys),
  };
  return {
    name: `weft.twin/throttle/${name}`,
    typeName: `${FILTERS}.local_ratelimit.v3.LocalRateLimit`,
    config: {
      stat_prefix: 'weft_throttle',
      token_bucket: bucket,
      filter_enabled: ALWAYS,
      filter_enforced: ALWAYS,
      ...(parts.length > 0 && keyed),
    },
  };
}

interface KeyPart {
  readonly entry: string;
  readonly action: PlainMessage;
}

const URI_SAN = 'envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput';

/** Envoy's path has the query in it, by which a client would have as many keys as it likes. */
function keyPart(part: ThrottleKey): readonly KeyPart[] {
  switch (part.kind) {
    case 'caller': {
      const extension = { name: 'caller', typed_config: encodeAny(URI_SAN, {}) };
      return [{ entry: 'caller', action: { extension } }];
    }
    case 'address':
      return [{ entry: 'remote_address', action: { remote_address: {} } }];
    case 'host':
      return [headerPart(':authority')];
    case 'method':
      return [headerPart(':method')];
    case 'header':
      return [headerPart(part.name)];
    case 'path':
    case 'rule':
      return [];
    default:
      return part satisfies never;
  }
}

const headerPart = (name: string): KeyPart => ({
  entry: name,
  action: { request_headers: { header_name: name, descriptor_key: name } },
});

const share = (partsPerMillion: number): PlainMessage => ({
  numerator: nonZero(partsPerMillion),
  denominator: 'MILLION',
});

/** One for some requests alone, or until a date, is left out: an Envoy would do it to all, and for ever. */
function faultTwin({ name, rules, delay, abort, untilMs }: FaultConfig): readonly TwinFilter[] {
  if (rules !== undefined || untilMs !== undefined) return [];
  const config = {
    delay: delay && {
      fixed_delay: encodeDuration(delay.durationMs),
      percentage: share(delay.partsPerMillion),
    },
    abort: abort && { http_status: abort.status, percentage: share(abort.partsPerMillion) },
    max_active_faults: encodeUint(MAX_ACTIVE_FAULTS),
  };
  return [{ name: `weft.twin/fault/${name}`, typeName: `${FILTERS}.fault.v3.HTTPFault`, config }];
}

function limitsTwins({ limits }: LimitsConfig): readonly TwinFilter[] {
  const { maxBodyBytes, methods, contentTypes } = limits;
  const buffer = {
    name: 'weft.twin/limits/buffer',
    typeName: `${FILTERS}.buffer.v3.Buffer`,
    // It takes no 0.
    config: { max_request_bytes: encodeUint(Math.min(Math.max(maxBodyBytes ?? 0, 1), MAX_UINT32)) },
  };
  const rules = {
    name: 'weft.twin/limits/rbac',
    typeName: `${FILTERS}.rbac.v3.RBAC`,
    config: { rules: encodeRbac(headRules(limits)) },
  };
  const hasRules = methods !== undefined || contentTypes !== undefined;
  return [...(hasRules ? [rules] : []), ...(maxBodyBytes === undefined ? [] : [buffer])];
}

/** What a request may not be. */
function headRules({ methods, contentTypes }: RequestLimits): RbacRules {
  const denied = [
    ...(methods === undefined ? [] : [{ name: 'method', permission: otherThan(methods) }]),
    ...(contentTypes === undefined
      ? []
      : [{ name: 'content-type', permission: otherTypes(contentTypes) }]),
  ];
  return {
    action: 'DENY',
    policies: denied.map(({ name, permission }) => ({
      name: `weft-limits[${name}]`,
      permissions: [permission],
      principals: [{ kind: 'any' }],
    })),
  };
}

const headerOf = (name: string, match: HeaderMatcher['match']): Permission => ({
  kind: 'header',
  header: { name, match, invert: false },
});
const is = (name: string, kind: 'exact' | 'prefix', value: string): Permission =>
  headerOf(name, { kind: 'string', string: { kind, value, ignoreCase: name !== ':method' } });
const has = (name: string): Permission => headerOf(name, { kind: 'present' });
const not = (rule: Permission): Permission => ({ kind: 'not', rule });
const all = (...rules: readonly Permission[]): Permission => ({ kind: 'and', rules });
const any = (...rules: readonly Permission[]): Permission => ({ kind: 'or', rules });

const otherThan = (methods: readonly string[]): Permission =>
  not(any(...methods.map((method) => is(':method', 'exact', method))));

const TYPE = 'content-type';

/** A type that is not listed, or a body, as far as the head tells of one, without a type. */
function otherTypes(types: readonly string[]): Permission {
  const listed = types.flatMap((type) =>
    type.endsWith('/*')
      ? [is(TYPE, 'prefix', type.slice(0, -1))]
      : [is(TYPE, 'exact', type), is(TYPE, 'prefix', `${type};`), is(TYPE, 'prefix', `${type} ;`)],
  );
  const hasLength = all(has('content-length'), not(is('content-length', 'exact', '0')));
  const isPosted = any(...['POST', 'PUT', 'PATCH'].map((method) => is(':method', 'exact', method)));
  const isOpen = all(isPosted, not(has('content-length')));
  const hasBody = any(hasLength, has('transfer-encoding'), isOpen);
  return any(all(has(TYPE), not(any(...listed))), all(not(has(TYPE)), hasBody));
}
