// Reads HTTPRoutes and GRPCRoutes as far as they are attached to Services; those of gateways are somebody else's.
import { isDnsLabel } from '../identity.ts';
import { parseEnvelope } from '../policy/parse-metadata.ts';
import { isPlainObject, Reader, shown, type PlainObject } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { BACKEND_KEYS, parseBackendName } from './parse-backends.ts';
import { type Filters, type FilterType, HEADER_FILTERS, parseFilters } from './parse-filters.ts';
import { parseMatches } from './parse-matches.ts';
import {
  entries,
  MAX_RULES,
  readDuration,
  readNamespace,
  readPort,
  readWhole,
} from './parse-values.ts';
import type {
  BackendRef,
  RetryRule,
  RouteKind,
  RouteMatch,
  RouteParent,
  RouteRule,
  ServiceRoute,
} from './types.ts';

const API_VERSIONS: readonly string[] = ['gateway.networking.k8s.io/v1'];
const MAX_PARENTS = 32;
const MAX_WEIGHT = 1_000_000;
/** More tries than that are an outage of their own. */
const MAX_ATTEMPTS = 10;

const HTTP_FILTERS: readonly FilterType[] = [
  ...HEADER_FILTERS,
  'RequestRedirect',
  'URLRewrite',
  'RequestMirror',
];
const GRPC_FILTERS: readonly FilterType[] = [...HEADER_FILTERS, 'RequestMirror'];

interface Place {
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly field: string;
}

/** The value is absent for a sound one that is attached to no Service. */
export function parseRoute(object: PlainObject, kind: RouteKind): Result<ServiceRoute | undefined> {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, kind, API_VERSIONS);
  const keys = ['parentRefs', 'hostnames', 'rules', 'useDefaultGateways'];
  const spec = reader.object(object['spec'] ?? {}, 'spec', keys) ?? {};
  const parents = parseParents(reader, spec['parentRefs'], namespace);
  // What stands in a gateway's route is for the gateway to judge.
  if (parents.length === 0 && reader.problems.every(({ field }) => field?.startsWith('spec'))) {
    return { ok: true, value: undefined, problems: [] };
  }
  const listed = entries(reader, spec['rules'], 'spec.rules', MAX_RULES);
  const rules = (listed.length === 0 ? [[{}, 'spec.rules[0]'] as const] : listed).map(
    ([rule, field]) => parseRule(reader, rule, { kind, namespace, field }),
  );
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const value: ServiceRoute = { kind, namespace, name, createdAtMs, parents, rules };
  return { ok: true, value, problems: [] };
}

function parseParents(reader: Reader, value: unknown, own: string): readonly RouteParent[] {
  const found: RouteParent[] = [];
  for (const [parent, field] of entries(reader, value, 'spec.parentRefs', MAX_PARENTS)) {
    const { group, kind } = parent;
    if (kind !== 'Service' || (group !== '' && group !== 'core')) continue;
    reader.object(parent, field, ['group', 'kind', 'name', 'namespace', 'port', 'sectionName']);
    const name = reader.string(parent['name'] ?? undefined, `${field}.name`) ?? '';
    if (!isDnsLabel(name)) {
      reader.error(`${field}.name`, 'bad-name', `${shown(name)} is no name of a Service`);
    }
    const port = readPort(reader, parent['port'], `${field}.port`);
    const sectionName = reader.string(parent['sectionName'] ?? undefined, `${field}.sectionName`);
    const namespace = readNamespace(reader, parent['namespace'], `${field}.namespace`);
    const more = {
      ...(port !== undefined && { port }),
      ...(sectionName !== undefined && { sectionName }),
    };
    found.push({
      index: Number(field.slice(field.indexOf('[') + 1, -1)),
      namespace: namespace ?? own,
      name,
      ref: { group, kind, name, ...(namespace !== undefined && { namespace }), ...more },
      ...more,
    });
  }
  return found;
}

/** Of one that cannot be read: what it was to be attached to. @returns `undefined` when that is no Service. */
export function brokenRoute(object: PlainObject, kind: RouteKind): ServiceRoute | undefined {
  const reader = new Reader();
  const { namespace, name, createdAtMs } = parseEnvelope(reader, object, kind, API_VERSIONS);
  const spec = isPlainObject(object['spec']) ? object['spec'] : {};
  const parents = parseParents(reader, spec['parentRefs'], namespace);
  if (parents.length === 0) return undefined;
  return { kind, namespace, name, createdAtMs, parents, rules: [], isBroken: true };
}

const RULE_KEYS: Readonly<Record<RouteKind, readonly string[]>> = {
  HTTPRoute: ['name', 'matches', 'filters', 'backendRefs', 'timeouts', 'retry'],
  GRPCRoute: ['name', 'matches', 'filters', 'backendRefs'],
};

function parseRule(reader: Reader, rule: PlainObject, place: Place): RouteRule {
  const { kind, namespace, field } = place;
  reader.object(rule, field, RULE_KEYS[kind]);
  const isGrpc = kind === 'GRPCRoute';
  const matches = parseMatches(reader, rule['matches'], { field: `${field}.matches`, isGrpc });
  const filters = parseFilters(reader, rule['filters'], {
    field: `${field}.filters`,
    namespace,
    known: isGrpc ? GRPC_FILTERS : HTTP_FILTERS,
  });
  checkPrefixes(reader, { filters, matches, field });
  const backends = entries(reader, rule['backendRefs'], `${field}.backendRefs`).map(
    ([backend, at]) => parseBackend(reader, backend, { ...place, field: at }),
  );
  if (filters.redirect !== undefined && backends.length > 0) {
    const message = 'stands beside a redirect, which answers everything';
    reader.error(`${field}.backendRefs`, 'redirected', message);
  }
  return {
    matches,
    backends,
    ...filters,
    ...parseTimeouts(reader, rule['timeouts'], `${field}.timeouts`),
    ...parseRetry(reader, rule['retry'], `${field}.retry`),
  };
}

/** A prefix can be replaced only where one has matched. */
function checkPrefixes(
  reader: Reader,
  rule: {
    readonly filters: Filters;
    readonly matches: readonly RouteMatch[];
    readonly field: string;
  },
): void {
  const { filters, matches, field } = rule;
  const change = filters.redirect?.path ?? filters.rewrite?.path;
  if (change?.kind !== 'prefix' || matches.every(({ path }) => path.kind === 'prefix')) return;
  const message = 'replaces a prefix, and a match of the rule has none';
  reader.error(`${field}.filters`, 'no-prefix', message, 'match by PathPrefix alone');
}

function parseBackend(reader: Reader, backend: PlainObject, place: Place): BackendRef {
  const { field, namespace } = place;
  const named = parseBackendName(reader, backend, {
    field,
    namespace,
    keys: [...BACKEND_KEYS, 'weight', 'filters'],
  });
  const weight = readWhole(reader, backend['weight'], {
    field: `${field}.weight`,
    min: 0,
    max: MAX_WEIGHT,
  });
  const { requestHeaders, responseHeaders } = parseFilters(reader, backend['filters'], {
    field: `${field}.filters`,
    namespace,
    known: HEADER_FILTERS,
  });
  return {
    ...named,
    weight: weight ?? 1,
    ...(requestHeaders && { requestHeaders }),
    ...(responseHeaders && { responseHeaders }),
  };
}

function parseTimeouts(
  reader: Reader,
  value: unknown,
  field: string,
): Pick<RouteRule, 'timeoutMs' | 'tryTimeoutMs'> {
  const timeouts = reader.object(value ?? undefined, field, ['request', 'backendRequest']);
  if (timeouts === undefined) return {};
  const whole = readDuration(reader, timeouts['request'], `${field}.request`);
  const one = readDuration(reader, timeouts['backendRequest'], `${field}.backendRequest`);
  if (whole !== undefined && whole > 0 && one !== undefined && one > whole) {
    reader.error(`${field}.backendRequest`, 'longer-than-whole', 'is longer than request');
  }
  return {
    ...(whole !== undefined && { timeoutMs: whole }),
    ...(one !== undefined && { tryTimeoutMs: one }),
  };
}

function parseRetry(reader: Reader, value: unknown, field: string): { readonly retry?: RetryRule } {
  const retry = reader.object(value ?? undefined, field, ['codes', 'attempts', 'backoff']);
  if (retry === undefined) return {};
  const listed = reader.list(retry['codes'] ?? undefined, `${field}.codes`, 64) ?? [];
  const statuses = listed.flatMap((code, index) => {
    const at = { field: `${field}.codes[${index}]`, min: 400, max: 599 };
    return readWhole(reader, code, at) ?? [];
  });
  const attempts = readWhole(reader, retry['attempts'], {
    field: `${field}.attempts`,
    min: 1,
    max: MAX_ATTEMPTS,
  });
  const backoffMs = readDuration(reader, retry['backoff'], `${field}.backoff`);
  return {
    retry: {
      statuses: [...new Set(statuses)].sort((a, b) => a - b),
      attempts: attempts ?? 1,
      ...(backoffMs !== undefined && backoffMs > 0 && { backoffMs }),
    },
  };
}
