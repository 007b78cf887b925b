// Which spellings of a path two readers may understand differently, and which of them an application behind is known to.
import type { PathNormalization } from './path.ts';
import type { Permission, RbacRules } from './rbac.ts';

/**
 * `parameters`: `;x` after a segment, which servlet containers cut off. `encodedSlash`, `encodedBackslash`: `%2f`, `%5c`,
 * which some readers decode before they split; a raw backslash too. `doubleSlash`: empty segments, which some drop.
 * `dotSegments`: `.` and `..`, also encoded or with parameters.
 */
export const AMBIGUOUS_PATHS = [
  'parameters',
  'encodedSlash',
  'encodedBackslash',
  'doubleSlash',
  'dotSegments',
] as const;

export type AmbiguousPath = (typeof AMBIGUOUS_PATHS)[number];

/** How the paths of one workload are read. */
export interface PathOptions {
  readonly normalization: PathNormalization;
  /** Answered with 400; in the order of `AMBIGUOUS_PATHS`. */
  readonly refused: readonly AmbiguousPath[];
}

/**
 * What is known of the applications behind: forwarded is only what they read as it was matched.
 * tomcat: cuts parameters off and merges slashes; refuses `%2f` and `\` itself unless it was told otherwise.
 * express: splits before it decodes, and keeps empty segments; `express.static` does neither.
 * nginx: decodes, then merges slashes and resolves dots; a backslash is a character like others.
 * go: `http.ServeMux` and other routers disagree on `%2f`; empty segments are redirected away.
 */
export const APPLICATION_PRESETS: ReadonlyMap<string, PathOptions> = new Map([
  [
    'tomcat',
    {
      normalization: 'MERGE_SLASHES',
      refused: ['parameters', 'encodedSlash', 'encodedBackslash'],
    },
  ],
  [
    'express',
    { normalization: 'BASE', refused: ['encodedSlash', 'encodedBackslash', 'doubleSlash'] },
  ],
  ['nginx', { normalization: 'DECODE_AND_MERGE_SLASHES', refused: ['encodedBackslash'] }],
  ['go', { normalization: 'MERGE_SLASHES', refused: ['encodedSlash', 'encodedBackslash'] }],
]);

/** Why a path is refused, for the log and the answer's reason. */
export const AMBIGUITY_REASONS: { readonly [kind in AmbiguousPath]: string } = {
  parameters: 'path-parameters',
  encodedSlash: 'path-encoded-slash',
  encodedBackslash: 'path-encoded-backslash',
  doubleSlash: 'path-double-slash',
  dotSegments: 'path-dot-segments',
};

/**
 * Looks at a target as it came, before anything is normalised; what stands in its query is no path.
 * @returns which of the refused spellings it has; `undefined` when none.
 */
export function findAmbiguity(
  target: string,
  refused: readonly AmbiguousPath[],
): AmbiguousPath | undefined {
  let end = target.length;
  for (let at = 0; at < target.length; at++) {
    const code = target.charCodeAt(at);
    if (code === 0x3f || code === 0x23) {
      end = at;
      break;
    }
  }
  const path = target.slice(0, end).toLowerCase();
  return refused.find((kind) => IS_THERE[kind](path));
}

/** Of a path in lower case. */
const IS_THERE: { readonly [kind in AmbiguousPath]: (path: string) => boolean } = {
  parameters: (path) => path.includes(';') || path.includes('%3b'),
  encodedSlash: (path) => path.includes('%2f'),
  encodedBackslash: (path) => path.includes('\\') || path.includes('%5c'),
  doubleSlash: (path) => path.includes('//'),
  dotSegments: hasDotSegment,
};

/** Whatever anybody could take for the end of a segment ends one here. */
function hasDotSegment(path: string): boolean {
  if (!path.includes('.') && !path.includes('%2e')) return false;
  const plain = path
    .replaceAll('%2e', '.')
    .replaceAll('%2f', '/')
    .replaceAll('%5c', '/')
    .replaceAll('\\', '/');
  return plain.split('/').some((segment) => {
    const semicolon = segment.indexOf(';');
    const name = semicolon === -1 ? segment : segment.slice(0, semicolon);
    return name === '.' || name === '..';
  });
}

/** What the names of these rules begin with. */
export const AMBIGUOUS_PATH_RULES = 'weft-ambiguous-path[';

export const ambiguousPathRule = (kind: AmbiguousPath): string => `${AMBIGUOUS_PATH_RULES}${kind}]`;

/** Whether rules are there to refuse ambiguous paths and nothing else. */
export const areAmbiguousPathRules = ({ policies }: RbacRules): boolean =>
  policies.some(({ name }) => name.startsWith(AMBIGUOUS_PATH_RULES));

/**
 * The same for proxies that know rules alone. They are asked after paths are normalised: dot segments are resolved
 * by then and slashes may be merged, so those are seen in mode NONE only; what they match is still what they forward.
 */
export const ambiguousPathRules = (refused: readonly AmbiguousPath[]): RbacRules => ({
  action: 'DENY',
  policies: refused
    .map((kind) => ({
      name: ambiguousPathRule(kind),
      permissions: LITERALS[kind].map(
        ([at, value]): Permission => ({
          kind: 'urlPath',
          path: { kind: at, value, ignoreCase: true },
        }),
      ),
      principals: [{ kind: 'any' as const }],
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1)),
});

const LITERALS: {
  readonly [kind in AmbiguousPath]: readonly (readonly ['contains' | 'suffix', string])[];
} = {
  parameters: [
    ['contains', ';'],
    ['contains', '%3b'],
  ],
  encodedSlash: [['contains', '%2f']],
  encodedBackslash: [
    ['contains', '\\'],
    ['contains', '%5c'],
  ],
  doubleSlash: [['contains', '//']],
  dotSegments: [
    ['contains', '/./'],
    ['contains', '/../'],
    ['suffix', '/.'],
    ['suffix', '/..'],
    ['contains', '%2e'],
  ],
};
