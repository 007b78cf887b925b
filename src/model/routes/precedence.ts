// Which of several matches is tried first, as Gateway API says for HTTPRoute and GRPCRoute.
import type { RouteMatch, ServiceRoute } from './types.ts';

/** One match of one rule of one route. */
export interface Candidate {
  readonly route: Pick<ServiceRoute, 'kind' | 'namespace' | 'name' | 'createdAtMs'>;
  readonly match: RouteMatch;
  /** Where it stands in its route. */
  readonly ruleIndex: number;
  readonly matchIndex: number;
}

/**
 * The more exact first: exact paths, then expressions, then prefixes, the longer before the shorter (of gRPC the longer
 * service, then the longer method); with a method; with more headers; with more of the query. Then the older route, the
 * first by `NAMESPACE/NAME`, and the order within it. Where expressions stand is left to implementations.
 */
export function comparePrecedence(a: Candidate, b: Candidate): number {
  const [mine, other] = [rankOf(a), rankOf(b)];
  for (const [at, rank] of mine.entries()) {
    const difference = (other[at] ?? 0) - rank;
    if (difference !== 0) return difference;
  }
  return (
    a.route.createdAtMs - b.route.createdAtMs ||
    compareTexts(nameOf(a), nameOf(b)) ||
    a.ruleIndex - b.ruleIndex ||
    a.matchIndex - b.matchIndex
  );
}

const nameOf = ({ route: { namespace, name } }: Candidate): string => `${namespace}/${name}`;

const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const KINDS = { exact: 2, regex: 1, prefix: 0 } as const;

function rankOf({ route, match }: Candidate): readonly number[] {
  const { path, method, headers, query } = match;
  const byPath =
    route.kind === 'GRPCRoute'
      ? callRank(path)
      : [KINDS[path.kind], path.kind === 'exact' ? 0 : path.value.length];
  return [...byPath, method === undefined ? 0 : 1, headers.length, query.length];
}

/** Characters of service and method. */
function callRank({ kind, value }: RouteMatch['path']): readonly number[] {
  const [, service = '', method = ''] = value.split('/');
  if (kind === 'exact') return [service.length, method.length];
  if (kind === 'prefix') return [service.length, 0];
  return [0, value.slice(value.lastIndexOf('/') + 1).length];
}
