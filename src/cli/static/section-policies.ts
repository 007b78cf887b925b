// The sections that hold policies as they are written in a mesh: who may call what, and which tokens are read.
import { isPlainObject } from '@weft/model/policy/reader';
import { manifestOf, NO_PARTS, type Section, type SectionContext } from './section.ts';

/** Policies of one workload; a mesh's namespace has fewer. */
const MAX_POLICIES = 256;

/** Each entry is the `spec` of one AuthorizationPolicy. */
export const AUTHORIZATION = listOf('authorization', 'AuthorizationPolicy');
/** Each entry is the `spec` of one RequestAuthentication. */
export const REQUEST_AUTHENTICATION = listOf('requestAuthentication', 'RequestAuthentication');

function listOf(key: string, kind: string): Section {
  return {
    key,
    async read(value, context) {
      const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
      if (entries.length > MAX_POLICIES) {
        context.problem(key, 'too-many', `${entries.length} entries, at most ${MAX_POLICIES}`);
        return NO_PARTS;
      }
      return {
        objects: entries.flatMap((spec, index) => {
          const at = Array.isArray(value) ? `${key}[${index}]` : key;
          if (!isSpec(spec, at, context)) return [];
          const name = `${key.toLowerCase()}-${index}`;
          const version = { apiVersion: 'security.weft.dev/v1', kind, name };
          return [{ manifest: manifestOf(version, context.namespace, { spec }), at }];
        }),
      };
    },
  };
}

/** What chooses workloads in a mesh: there is one here, and what does not choose it would not hold. */
const CHOOSING = ['selector', 'targetRef', 'targetRefs'];

/** A mapping that holds for the one workload; anything else is among the problems. */
export function isSpec(spec: unknown, at: string, context: SectionContext): boolean {
  if (!isPlainObject(spec)) {
    context.problem(at, 'wrong-type', 'expected a mapping', 'write what stands under spec');
    return false;
  }
  const choosing = CHOOSING.filter((name) => Object.hasOwn(spec, name));
  for (const name of choosing) {
    const message = 'chooses workloads, and a sidecar of its own file has one';
    context.problem(`${at}.${name}`, 'not-supported', message, 'remove it');
  }
  return choosing.length === 0;
}

/** What a MeshConfig says, `trustedHops` and `pathNormalization` among it. */
export const SETTINGS: Section = {
  key: 'settings',
  async read(spec, context) {
    if (!isSpec(spec, 'settings', context)) return NO_PARTS;
    const manifest = {
      apiVersion: 'mesh.weft.dev/v1',
      kind: 'MeshConfig',
      metadata: { name: 'settings' },
      spec,
    };
    return { objects: [{ manifest, at: 'settings' }] };
  },
};
