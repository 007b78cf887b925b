// What a policy that cannot be enforced still governs: read from as much of it as can be read, always the wider way.
import { isDnsLabel, isDnsSubdomain } from '../identity.ts';
import type { BrokenPolicy } from './compile.ts';
import { DEFAULT_NAMESPACE } from './parse-metadata.ts';
import { isPlainObject, type PlainObject } from './reader.ts';

/** Stands for a name that is none: rules must have one. */
const UNNAMED = 'unnamed';

/**
 * Reads an AuthorizationPolicy that its parser refused. What cannot be read is taken the wider way: no selector is
 * the whole namespace, an unknown action is a DENY.
 * @returns `undefined` when it is for gateways or waypoints (`targetRefs`) and so governs no workload.
 */
export function readBrokenPolicy(object: PlainObject): BrokenPolicy | undefined {
  const metadata = isPlainObject(object['metadata']) ? object['metadata'] : {};
  const { name, namespace } = { name: metadata['name'], namespace: metadata['namespace'] };
  const spec = isPlainObject(object['spec']) ? object['spec'] : undefined;
  if (spec !== undefined && spec['selector'] === undefined && hasTargets(spec)) return undefined;
  return {
    namespace:
      typeof namespace === 'string' && isDnsLabel(namespace) ? namespace : DEFAULT_NAMESPACE,
    name: typeof name === 'string' && isDnsSubdomain(name) ? name : UNNAMED,
    action: spec === undefined ? undefined : readAction(spec['action'] ?? 'ALLOW'),
    selector: readSelector(spec?.['selector']),
  };
}

const hasTargets = (spec: PlainObject): boolean =>
  spec['targetRef'] !== undefined ||
  (Array.isArray(spec['targetRefs']) && spec['targetRefs'].length > 0);

const readAction = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

/** Labels that can be trusted to mean what they say; anything doubtful selects the whole namespace. */
function readSelector(value: unknown): ReadonlyMap<string, string> | undefined {
  if (!isPlainObject(value) || Object.keys(value).some((key) => key !== 'matchLabels')) {
    return undefined;
  }
  const labels = value['matchLabels'];
  if (!isPlainObject(labels)) return undefined;
  const selector = new Map<string, string>();
  for (const [key, text] of Object.entries(labels)) {
    if (typeof text !== 'string' || key === '' || `${key}${text}`.includes('*')) return undefined;
    selector.set(key, text);
  }
  return selector.size === 0 ? undefined : selector;
}
