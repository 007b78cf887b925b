// Says which route of a configuration a request takes, as Envoy does.
import { compileLinearRegex } from '@weft/model/routes/linear-regex';
import type { Route, RouteConfiguration, RouteMatch } from '@weft/xds/resources/route';
import type { TextMatcher } from '@weft/xds/resources/route-rule';

/** What of a request routes ask for; its path is normalised. */
export interface RoutedRequest {
  readonly method: string | undefined;
  /** Without the query. */
  readonly path: string | undefined;
  /** With it. */
  readonly target: string | undefined;
  readonly authority: string | undefined;
  header(name: string): readonly string[] | undefined;
}

/** The virtual host that fits the authority best, then its first route that matches. */
export function findRoute(
  configuration: RouteConfiguration,
  request: RoutedRequest,
): Route | undefined {
  const [only, ...more] = configuration.virtualHosts;
  const host =
    only !== undefined && more.length === 0 && only.domains.includes('*')
      ? only
      : bestHost(configuration, (request.authority ?? '').toLowerCase());
  const path = request.path ?? '';
  return host?.routes.find(
    ({ match }) => isPathMatched(match, path) && isRestMatched(match, request),
  );
}

function isPathMatched(match: RouteMatch, path: string): boolean {
  const { kind, value } = match;
  switch (kind) {
    case 'prefix':
      return path.startsWith(value);
    case 'path':
      return path === value;
    case 'separatedPrefix':
      return path.startsWith(value) && (path.length === value.length || path[value.length] === '/');
    case 'regex':
      return regexOf(match, value)(path);
    default:
      return kind satisfies never;
  }
}

function isRestMatched({ headers, query }: RouteMatch, request: RoutedRequest): boolean {
  if (headers === undefined && query === undefined) return true;
  return (
    (headers ?? NONE).every((matcher) => isHeaderMatched(matcher, request)) &&
    (query ?? NONE).every((matcher) =>
      isTextMatched(matcher, parameterOf(request.target ?? '', matcher.name)),
    )
  );
}

const NONE: readonly TextMatcher[] = [];

/** Any value of the name, as rules on headers are judged too: none is picked (CVE-2020-25017). */
function isHeaderMatched(matcher: TextMatcher, request: RoutedRequest): boolean {
  const { name } = matcher;
  return name === ':method'
    ? isTextMatched(matcher, request.method)
    : request.header(name)?.some((value) => isTextMatched(matcher, value)) === true;
}

function isTextMatched(matcher: TextMatcher, text: string | undefined): boolean {
  if (text === undefined) return false;
  const { kind, value } = matcher;
  return kind === 'exact' ? text === value : regexOf(matcher, value)(text);
}

type Matches = (text: string) => boolean;

/** For as long as the configuration lives. */
const compiled = new WeakMap<object, Matches>();

/** The codec has let in none that is not in the dialect; one that is not matches nothing. */
function regexOf(of: object, pattern: string): Matches {
  let matches = compiled.get(of);
  if (matches === undefined) {
    const regex = compileLinearRegex(pattern);
    matches = regex.ok ? regex.matches : () => false;
    compiled.set(of, matches);
  }
  return matches;
}

/** The first value of a parameter, as it is written. */
function parameterOf(target: string, name: string): string | undefined {
  const start = target.indexOf('?');
  for (let at = start; at !== -1; at = target.indexOf('&', at)) {
    at++;
    if (!target.startsWith(name, at)) continue;
    const after = at + name.length;
    const end = target.indexOf('&', after);
    if (target[after] === '=') return target.slice(after + 1, end === -1 ? undefined : end);
    if (after === target.length || target[after] === '&') return '';
  }
  return undefined;
}

/** Exact, then the longest `*.suffix`, then the longest `prefix.*`, then `*`: Envoy's order. */
function bestHost(configuration: RouteConfiguration, authority: string) {
  let best:
    | { readonly host: (typeof configuration.virtualHosts)[number]; readonly score: number }
    | undefined;
  for (const host of configuration.virtualHosts) {
    for (const domain of host.domains) {
      const score = domainScore(domain, authority);
      if (score > (best?.score ?? -1)) best = { host, score };
    }
  }
  return best?.host;
}

function domainScore(domain: string, authority: string): number {
  if (domain === authority) return 3_000_000;
  if (domain === '*') return 0;
  if (domain.startsWith('*') && authority.endsWith(domain.slice(1)))
    return 2_000_000 + domain.length;
  if (domain.endsWith('*') && authority.startsWith(domain.slice(0, -1)))
    return 1_000_000 + domain.length;
  return -1;
}
