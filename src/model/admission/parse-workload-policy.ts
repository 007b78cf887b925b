// Reads a WorkloadPolicy or ClusterWorkloadPolicy from its manifest: every problem with its field, its value and its cure.
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import { DEFAULT_NAMESPACE } from '../policy/parse-metadata.ts';
import { isPlainObject, Reader, shown, type PlainObject } from '../policy/reader.ts';
import type { Result } from '../problem.ts';
import { IMAGE_CHECKS } from './image-types.ts';
import { parseImagesSection } from './parse-images.ts';
import { parseExemptions, parseMatch } from './parse-match.ts';
import { parsePodSection } from './parse-pod.ts';
import { parseVulnerabilitiesSection } from './parse-vulnerabilities.ts';
import {
  ADMISSION_MODES,
  type AdmissionMode,
  POD_CHECKS,
  WORKLOAD_KINDS,
  type WorkloadPolicy,
  type WorkloadPolicyKind,
} from './types.ts';
import { VULNERABILITY_CHECKS } from './vulnerability-types.ts';

const API_VERSION = 'security.weft.dev/v1';
/** What a policy can ask for; each has a section of its own in the spec, and a file that reads it. */
const SECTIONS: readonly string[] = ['pod', 'images', 'vulnerabilities'];
/** What exemptions may be limited to. */
export const CHECK_NAMES: readonly string[] = [
  ...POD_CHECKS,
  ...IMAGE_CHECKS,
  ...VULNERABILITY_CHECKS,
];

const scopeOf = (kind: WorkloadPolicyKind): 'namespaced' | 'cluster' =>
  kind === 'ClusterWorkloadPolicy' ? 'cluster' : 'namespaced';

export function parseWorkloadPolicy(
  object: PlainObject,
  kind: WorkloadPolicyKind,
): Result<WorkloadPolicy> {
  const reader = new Reader();
  const metadata = parseEnvelope(reader, object, kind);
  const scope = scopeOf(kind);
  const spec =
    reader.object(object['spec'] ?? {}, 'spec', ['mode', 'match', 'exemptions', ...SECTIONS]) ?? {};
  const mode = parseMode(reader, spec['mode']);
  const match = parseMatch(reader, spec['match'], scope);
  const exemptions = parseExemptions(reader, spec['exemptions'], { scope, checks: CHECK_NAMES });
  const pod = parsePodSection(reader, spec['pod']);
  const images = parseImagesSection(reader, spec['images']);
  if (images?.digests === 'resolve' && !match.kinds.includes('Pod')) {
    const cure = 'add Pod to spec.match.kinds';
    reader.error('spec.images.digests', 'no-pods', 'images are resolved in Pods alone', cure);
  }
  const vulnerabilities = parseVulnerabilitiesSection(reader, spec['vulnerabilities']);
  if (!SECTIONS.some((section) => spec[section] !== undefined)) {
    const cure = `set one of ${SECTIONS.map((section) => `spec.${section}`).join(', ')}`;
    reader.error('spec', 'no-section', 'asks for nothing', cure);
  }
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const sections = { pod, ...(images && { images }), ...(vulnerabilities && { vulnerabilities }) };
  return {
    ok: true,
    value: { kind, ...metadata, mode, match, exemptions, ...sections },
    problems: [],
  };
}

type Metadata = Pick<WorkloadPolicy, 'namespace' | 'name' | 'createdAtMs'>;

/** Checks what stands around `spec`. A misspelt `spec` must not be read as an empty one. */
function parseEnvelope(reader: Reader, object: PlainObject, kind: WorkloadPolicyKind): Metadata {
  reader.object(object, '', ['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  if (object['kind'] !== kind) {
    reader.error('kind', 'wrong-kind', `expected the kind ${kind}`, `write kind: ${kind}`);
  }
  const { apiVersion } = object;
  if (apiVersion !== API_VERSION) {
    const message =
      typeof apiVersion === 'string' ? `unknown version ${shown(apiVersion)}` : 'no version is set';
    reader.error('apiVersion', 'unknown-api-version', message, `write ${API_VERSION}`);
  }
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const name = reader.string(metadata['name'], 'metadata.name') ?? '';
  if (!isDnsSubdomain(name)) {
    const cure = 'use lower-case letters, digits, "-" and "."';
    reader.error('metadata.name', 'bad-name', `${shown(name)} is no valid name`, cure);
  }
  const namespace =
    scopeOf(kind) === 'cluster'
      ? ''
      : (reader.string(metadata['namespace'], 'metadata.namespace') ?? DEFAULT_NAMESPACE);
  if (scopeOf(kind) === 'namespaced' && !isDnsLabel(namespace)) {
    const message = `${shown(namespace)} is no valid namespace`;
    reader.error('metadata.namespace', 'bad-namespace', message);
  }
  return { namespace, name, createdAtMs: timeOf(metadata['creationTimestamp']) };
}

function timeOf(value: unknown): number {
  const at = value instanceof Date ? value.getTime() : Date.parse(String(value));
  return Number.isNaN(at) ? 0 : at;
}

function parseMode(reader: Reader, value: unknown): AdmissionMode {
  const text = reader.string(value, 'spec.mode') ?? 'enforce';
  const mode = ADMISSION_MODES.find((known) => known === text);
  if (mode !== undefined) return mode;
  const message = `unknown mode ${shown(text)}`;
  reader.error('spec.mode', 'unknown-mode', message, `write one of ${ADMISSION_MODES.join(', ')}`);
  return 'enforce';
}

/** Stands for a name that is none: what is refused must say by whom. */
const UNNAMED = 'unnamed';

/**
 * What holds for one that its parser refused and of which no good version is known: all that it can have selected is
 * refused. One that says clearly that it only writes down or warns restricts nothing, and has nothing in its place.
 */
export function readBrokenWorkloadPolicy(
  object: PlainObject,
  kind: WorkloadPolicyKind,
): WorkloadPolicy | undefined {
  const spec = isPlainObject(object['spec']) ? object['spec'] : {};
  const { mode } = spec;
  if (mode === 'audit' || mode === 'warn') return undefined;
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const { name, namespace } = metadata;
  const isNamespace = typeof namespace === 'string' && isDnsLabel(namespace);
  return {
    kind,
    namespace: scopeOf(kind) === 'cluster' ? '' : isNamespace ? namespace : DEFAULT_NAMESPACE,
    name: typeof name === 'string' && isDnsSubdomain(name) ? name : UNNAMED,
    createdAtMs: 0,
    mode: 'enforce',
    match: matchOfBroken(spec['match'], kind),
    exemptions: [],
    pod: undefined,
    broken: 'the policy cannot be read, and no good version of it is known',
  };
}

/** A part that can be read narrows; a doubtful one does not. */
function matchOfBroken(value: unknown, kind: WorkloadPolicyKind): WorkloadPolicy['match'] {
  const reader = new Reader();
  const match = parseMatch(reader, value, scopeOf(kind));
  if (reader.problems.length === 0) return match;
  return {
    kinds: WORKLOAD_KINDS,
    labels: new Map(),
    namespaces: undefined,
    notNamespaces: [],
    namespaceLabels: new Map(),
  };
}
