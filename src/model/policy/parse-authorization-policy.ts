// Reads an AuthorizationPolicy from its manifest: every problem with its field, its value and its cure.
import type { Problem, Result } from '../problem.ts';
import { checkConditionValues, checkValues, parseConditionKey } from './parse-values.ts';
import { parseEnvelope, parseSelector } from './parse-metadata.ts';
import { parseDenial } from './parse-denial.ts';
import { Reader, shown, type PlainObject } from './reader.ts';
import {
  OPERATION_FIELDS,
  SOURCE_FIELDS,
  type AuthorizationPolicy,
  type Condition,
  type FieldValues,
  type Operation,
  type Rule,
  type Source,
  type TargetRef,
} from './types.ts';

const MAX_RULES = 512;
const MAX_ENTRIES = 512;
const MAX_TARGETS = 16;
const MAX_VALUES = 4_096;
const ACTIONS = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'] as const;
/** Istio's spelling and Weft's own; either one that says true has the policy tried and not enforced. */
export const DRY_RUN_ANNOTATIONS = ['istio.io/dry-run', 'weft.dev/dry-run'] as const;
/** Go's strconv.ParseBool, by which existing manifests were checked. */
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
]);

/** Attributes that a CUSTOM policy cannot use: it runs before tokens are read. */
const AFTER_CUSTOM: ReadonlySet<string> = new Set([
  'namespaces',
  'serviceAccounts',
  'trustDomains',
  'principals',
  'requestPrincipals',
  'source.namespace',
  'source.serviceAccount',
  'source.trustDomain',
  'source.principal',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'claim',
]);

const notName = (name: string): string => `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/**
 * Parses the whole object.
 * Source of the rules: Istio's `ValidateAuthorizationPolicy`; see docs/policy.md.
 */
export function parseAuthorizationPolicy(object: PlainObject): Result<AuthorizationPolicy> {
  const reader = new Reader();
  const metadata = parseEnvelope(reader, object, 'AuthorizationPolicy');
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', [
      'selector',
      'targetRef',
      'targetRefs',
      'action',
      'provider',
      'rules',
    ]) ?? {};
  const action = parseAction(reader, spec['action']);
  const provider = parseProvider(reader, spec['provider'], action);
  const selector = parseSelector(reader, spec['selector'], 'spec.selector');
  const targetRefs = parseTargets(reader, spec);
  const rules = parseRules(reader, spec['rules'], action);
  const isDryRun = parseDryRun(reader, metadata.annotations, action);
  const denial = parseDenial(reader, metadata.annotations, action);
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const { namespace, name, createdAtMs } = metadata;
  const value = {
    namespace,
    name,
    createdAtMs,
    selector,
    action,
    provider,
    rules,
    targetRefs,
    isDryRun,
    ...(denial && { denial }),
  };
  return { ok: true, value, problems: [] };
}

function parseAction(reader: Reader, value: unknown): AuthorizationPolicy['action'] {
  const text = reader.string(value, 'spec.action') ?? 'ALLOW';
  const action = ACTIONS.find((known) => known === text);
  if (action !== undefined) return action;
  reader.error(
    'spec.action',
    'unknown-action',
    `unknown action ${shown(text)}`,
    `write one of ${ACTIONS.join(', ')}`,
  );
  return 'DENY';
}

function parseProvider(reader: Reader, value: unknown, action: string): string | undefined {
  const provider = reader.object(value, 'spec.provider', ['name']);
  const name = reader.string(provider?.['name'], 'spec.provider.name');
  if (action !== 'CUSTOM' && value !== undefined) {
    reader.error(
      'spec.provider',
      'provider-without-custom',
      `a provider goes with action CUSTOM, not ${action}`,
      'remove spec.provider',
    );
  }
  if (action === 'CUSTOM' && (name === undefined || name === '')) {
    reader.error(
      'spec.provider.name',
      'no-provider',
      'action CUSTOM needs the name of a provider',
      'set spec.provider.name',
    );
  }
  return name;
}

const TARGET_KINDS: readonly string[] = [
  '/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
];

export function parseTargets(reader: Reader, spec: PlainObject): readonly TargetRef[] {
  const listed = reader.list(spec['targetRefs'], 'spec.targetRefs', MAX_TARGETS) ?? [];
  const single = spec['targetRef'];
  const set = [spec['selector'], single, spec['targetRefs']].filter((value) => value !== undefined);
  if (set.length > 1) {
    reader.error('spec', 'two-scopes', 'only one of selector, targetRef and targetRefs can be set');
  }
  const entries: (readonly [unknown, string])[] = listed.map((value, index) => [
    value,
    `spec.targetRefs[${index}]`,
  ]);
  if (single !== undefined) entries.push([single, 'spec.targetRef']);
  return entries.flatMap(([value, field]) => {
    const ref = reader.object(value ?? [], field, ['group', 'kind', 'name', 'namespace']);
    if (ref === undefined) return [];
    const group = reader.string(ref['group'], `${field}.group`) ?? '';
    const kind = reader.string(ref['kind'], `${field}.kind`) ?? '';
    const name = reader.string(ref['name'], `${field}.name`) ?? '';
    if (name === '') reader.error(`${field}.name`, 'no-name', 'a target needs a name');
    if (ref['namespace'] !== undefined && ref['namespace'] !== '') {
      reader.error(
        `${field}.namespace`,
        'cross-namespace',
        "a target is in the policy's own namespace",
        'remove the namespace',
      );
    }
    if (!TARGET_KINDS.includes(`${group}/${kind}`)) {
      reader.error(
        `${field}.kind`,
        'unknown-target',
        `${shown(`${group}/${kind}`)} cannot be a target`,
        `use one of ${TARGET_KINDS.join(', ')}`,
      );
    }
    return [{ group, kind, name }];
  });
}

function parseDryRun(
  reader: Reader,
  annotations: ReadonlyMap<string, string>,
  action: string,
): boolean {
  return DRY_RUN_ANNOTATIONS.map((key): boolean => {
    const text = annotations.get(key);
    if (text === undefined) return false;
    const field = `metadata.annotations.${key}`;
    const isDryRun = BOOLEANS.get(text);
    if (isDryRun === undefined) {
      reader.error(
        field,
        'bad-boolean',
        `${shown(text)} is neither true nor false`,
        'write "true" or "false"',
      );
    }
    if (action !== 'ALLOW' && action !== 'DENY') {
      reader.error(field, 'dry-run-action', `dry run works with ALLOW and DENY, not ${action}`);
    }
    return isDryRun ?? false;
  }).includes(true);
}

function parseRules(reader: Reader, value: unknown, action: string): readonly Rule[] | undefined {
  const entries = reader.list(value, 'spec.rules', MAX_RULES);
  const isEmpty = value === undefined || entries?.length === 0;
  if (isEmpty && (action === 'DENY' || action === 'CUSTOM')) {
    reader.error(
      'spec.rules',
      'no-rules',
      `${action} without rules never applies`,
      'add an empty rule "- {}" if it is meant for every request',
    );
  }
  return entries && parseRuleList(reader, entries, { field: 'spec.rules', action });
}

/** Rules by which something else than access is chosen: absent, all of it. */
export function parseMatchRules(
  reader: Reader,
  value: unknown,
  field: string,
): readonly Rule[] | undefined {
  const entries = reader.list(value ?? undefined, field, MAX_RULES);
  if (entries?.length === 0)
    reader.error(field, 'empty-list', 'matches nothing', 'remove it to match everything');
  return entries && parseRuleList(reader, entries, { field, action: 'AUDIT' });
}

function parseRuleList(
  reader: Reader,
  entries: readonly unknown[],
  of: { readonly field: string; readonly action: string },
): readonly Rule[] {
  return entries.map((entry, index) => {
    const field = `${of.field}[${index}]`;
    const rule = reader.object(entry, field, ['from', 'to', 'when']) ?? {};
    const parsed = {
      from: parseFrom(reader, rule['from'], `${field}.from`),
      to: parseTo(reader, rule['to'], `${field}.to`),
      when: parseWhen(reader, rule['when'], `${field}.when`),
    };
    if (of.action === 'CUSTOM') refuseAfterCustom(reader, parsed, field);
    return parsed;
  });
}

/** A list that is given must have something in it: an empty one would match nothing, or all, by reading. */
function nonEmpty(reader: Reader, value: unknown, field: string): readonly unknown[] | undefined {
  const entries = reader.list(value, field, MAX_ENTRIES);
  if (entries?.length === 0)
    reader.error(field, 'empty-list', 'must not be empty', 'remove it to match everything');
  return entries;
}

function parseFrom(reader: Reader, value: unknown, field: string): readonly Source[] | undefined {
  return nonEmpty(reader, value, field)?.map((entry, index) => {
    const at = `${field}[${index}]`;
    const outer = reader.object(entry, at, ['source']);
    const source = parseFields(reader, outer?.['source'], `${at}.source`, SOURCE_FIELDS);
    const set = new Set(source.map(({ field: name }) => name));
    if (set.has('serviceAccounts') && (set.has('principals') || set.has('namespaces'))) {
      reader.error(
        `${at}.source.serviceAccounts`,
        'exclusive-fields',
        'cannot be set together with principals or namespaces',
        'put them into two entries of from',
      );
    }
    return source;
  });
}

function parseTo(reader: Reader, value: unknown, field: string): readonly Operation[] | undefined {
  return nonEmpty(reader, value, field)?.map((entry, index) => {
    const at = `${field}[${index}]`;
    const outer = reader.object(entry, at, ['operation']);
    return parseFields(reader, outer?.['operation'], `${at}.operation`, OPERATION_FIELDS);
  });
}

function parseFields<F extends (typeof SOURCE_FIELDS)[number] | (typeof OPERATION_FIELDS)[number]>(
  reader: Reader,
  value: unknown,
  field: string,
  names: readonly F[],
): readonly FieldValues<F>[] {
  const object = reader.object(
    value,
    field,
    names.flatMap((name) => [name, notName(name)]),
  );
  const found: FieldValues<F>[] = [];
  if (object !== undefined) {
    for (const name of names) {
      const values = reader.strings(object[name], `${field}.${name}`, MAX_VALUES);
      const notValues = reader.strings(
        object[notName(name)],
        `${field}.${notName(name)}`,
        MAX_VALUES,
      );
      checkValues(reader, name, `${field}.${name}`, values);
      checkValues(reader, name, `${field}.${notName(name)}`, notValues);
      if (values.length + notValues.length > 0) found.push({ field: name, values, notValues });
    }
  }
  if (found.length === 0) {
    reader.error(field, 'empty-match', 'must not be empty', `set one of ${names.join(', ')}`);
  }
  return found;
}

function parseWhen(reader: Reader, value: unknown, field: string): readonly Condition[] {
  const entries = reader.list(value, field, MAX_ENTRIES) ?? [];
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const object = reader.object(entry ?? [], at, ['key', 'values', 'notValues']);
    if (object === undefined) return [];
    const text = reader.string(object['key'], `${at}.key`) ?? '';
    const values = reader.strings(object['values'], `${at}.values`, MAX_VALUES);
    const notValues = reader.strings(object['notValues'], `${at}.notValues`, MAX_VALUES);
    if (text === '') {
      reader.error(`${at}.key`, 'no-key', 'a condition needs a key');
      return [];
    }
    if (values.length + notValues.length === 0) {
      reader.error(at, 'no-values', `${shown(text)} needs values or notValues`);
    }
    const key = parseConditionKey(text);
    if (typeof key === 'string') {
      reader.error(`${at}.key`, 'unknown-attribute', key);
      return [];
    }
    checkConditionValues(reader, key, `${at}.values`, values);
    checkConditionValues(reader, key, `${at}.notValues`, notValues);
    return [{ text, key, values, notValues }];
  });
}

function refuseAfterCustom(reader: Reader, rule: Rule, field: string): void {
  const refuse = (at: string, name: string): void => {
    reader.error(
      at,
      'not-with-custom',
      `${name} cannot be used with action CUSTOM, which runs before it is known`,
    );
  };
  rule.from?.forEach((source, index) => {
    for (const { field: name } of source) {
      if (AFTER_CUSTOM.has(name)) refuse(`${field}.from[${index}].source.${name}`, name);
    }
  });
  rule.when.forEach((condition, index) => {
    if (AFTER_CUSTOM.has(condition.key.kind)) refuse(`${field}.when[${index}].key`, condition.text);
  });
}

/** What is valid and not enforced by this version: to be refused, never ignored. */
export function unsupportedFeatures(policy: AuthorizationPolicy): readonly Problem[] {
  const problems: Problem[] = [];
  const refuse = (field: string, message: string, cure: string): void => {
    problems.push({ severity: 'error', code: 'not-supported', field, message, cure });
  };
  if (policy.targetRefs.length > 0) {
    refuse('spec.targetRefs', 'targets are not supported by this version', 'use spec.selector');
  }
  return problems;
}
