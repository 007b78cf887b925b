// Reads a TrafficPolicy from its manifest: what it is for, then section by section.
import { isDnsLabel } from '../identity.ts';
import { parseEnvelope, parseSelector } from '../policy/parse-metadata.ts';
import { type PlainObject, Reader, shown } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { CALL_SECTIONS } from './call-types.ts';
import { parseCircuitBreaking } from './parse-circuit-breaking.ts';
import { parseFaults } from './parse-faults.ts';
import { parseFloods } from './parse-floods.ts';
import { parseLimits } from './parse-limits.ts';
import { parseLoadBalancing } from './parse-load-balancing.ts';
import { parseOutlierDetection } from './parse-outlier-detection.ts';
import { parseRetries } from './parse-retries.ts';
import { parseThrottling } from './parse-throttling.ts';
import { parseTimeouts } from './parse-timeouts.ts';
import type { ServiceRef, TrafficPolicy, TrafficSections } from './types.ts';

export const TRAFFIC_API_VERSIONS: readonly string[] = ['mesh.weft.dev/v1'];
const MAX_TARGETS = 16;

type Section = keyof TrafficSections;

/** One reader for each section; the same ones read them where they stand without an object (a sidecar's own file). */
const SECTIONS: {
  readonly [K in Section]-?: (reader: Reader, value: unknown, field: string) => TrafficSections[K];
} = {
  faults: parseFaults,
  throttling: parseThrottling,
  floods: parseFloods,
  limits: parseLimits,
  timeouts: parseTimeouts,
  retries: parseRetries,
  circuitBreaking: parseCircuitBreaking,
  outlierDetection: parseOutlierDetection,
  loadBalancing: parseLoadBalancing,
};

export const TRAFFIC_SECTIONS = Object.keys(SECTIONS) as readonly Section[];

/** The sections of a mapping; absent ones stay absent. Problems go to the reader. */
export function parseTrafficSections(
  reader: Reader,
  spec: PlainObject,
  field: string,
): TrafficSections {
  const found: { [K in Section]?: unknown } = {};
  for (const section of TRAFFIC_SECTIONS) {
    const value = spec[section];
    if (value === undefined) continue;
    found[section] = SECTIONS[section](reader, value, `${field}.${section}`);
  }
  return found as TrafficSections;
}

export function parseTrafficPolicy(object: PlainObject): Result<TrafficPolicy> {
  const reader = new Reader();
  const metadata = parseEnvelope(reader, object, 'TrafficPolicy', TRAFFIC_API_VERSIONS);
  const known = ['selector', 'targetRefs', ...TRAFFIC_SECTIONS];
  const spec = reader.object(object['spec'] ?? {}, 'spec', known) ?? {};
  const selector = parseSelector(reader, spec['selector'] ?? undefined, 'spec.selector');
  const targetRefs = parseTargets(reader, spec['targetRefs'] ?? undefined);
  if (selector !== undefined && targetRefs.length > 0) {
    const message = 'only one of selector and targetRefs can be set';
    reader.error('spec', 'two-scopes', message, 'write two policies');
  }
  const sections = parseTrafficSections(reader, spec, 'spec');
  if (selector !== undefined) refuseCallSections(reader, sections);
  if (Object.keys(sections).length === 0 && reader.problems.length === 0) {
    const cure = `set one of ${TRAFFIC_SECTIONS.join(', ')}`;
    reader.error('spec', 'empty-policy', 'says nothing about traffic', cure);
  }
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const { namespace, name, createdAtMs } = metadata;
  const value = { namespace, name, createdAtMs, selector, targetRefs, ...sections };
  return { ok: true, value, problems: [] };
}

/** Callers call Services; who stands behind one is not theirs to tell apart. */
function refuseCallSections(reader: Reader, sections: TrafficSections): void {
  for (const section of CALL_SECTIONS) {
    if (sections[section] === undefined) continue;
    const message =
      'is for those who call, and Pods that a selector chooses are not what they call';
    const cure = 'write targetRefs with the Service, or another policy without selector';
    reader.error(`spec.${section}`, 'selector-with-calls', message, cure);
  }
}

function parseTargets(reader: Reader, value: unknown): readonly ServiceRef[] {
  const field = 'spec.targetRefs';
  const entries = reader.list(value, field, MAX_TARGETS) ?? [];
  if (value !== undefined && entries.length === 0) {
    reader.error(field, 'empty-list', 'must not be empty', 'remove it for the whole namespace');
  }
  return entries.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const ref = reader.object(entry ?? 0, at, ['group', 'kind', 'name']);
    if (ref === undefined) return [];
    const group = reader.string(ref['group'] ?? undefined, `${at}.group`) ?? '';
    const kind = reader.string(ref['kind'] ?? undefined, `${at}.kind`) ?? '';
    const name = reader.string(ref['name'] ?? undefined, `${at}.name`) ?? '';
    if (group !== '' || kind !== 'Service') {
      const message = `${shown(`${group}/${kind}`)} cannot be a target`;
      reader.error(`${at}.kind`, 'unknown-target', message, 'write kind: Service');
    }
    if (!isDnsLabel(name)) {
      const message = `${shown(name)} is no name of a Service`;
      reader.error(`${at}.name`, 'bad-name', message, 'name a Service of the same namespace');
    }
    return [{ name }];
  });
}
