// External authorization in a listener: who is asked about a request before anything else of it is judged.
import type { StringMatcher } from '@weft/model/policy/rbac';

/**
 * `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`. It stands behind shadow rules with the prefix
 * `extAuthzPrefix(provider)`, and asks only about what they match.
 */
export interface ExtAuthz {
  readonly provider: string;
  readonly cluster: string;
  /** `authz.shop.svc.cluster.local:9000`. */
  readonly host: string;
  readonly timeoutMs: number;
  /** Whether requests pass that nobody could be asked about. */
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly service: HttpAuthorizer | { readonly kind: 'grpc' };
}

/** Names are matched in lower case. */
export interface HttpAuthorizer {
  readonly kind: 'http';
  readonly pathPrefix: string;
  readonly requestHeaders: readonly StringMatcher[];
  readonly additionalHeaders: readonly (readonly [string, string])[];
  readonly toUpstreamOnAllow: readonly StringMatcher[];
  /** Empty: all of them. */
  readonly toDownstreamOnDeny: readonly StringMatcher[];
}

/** Of the shadow rules that say what a provider is asked about. */
export const extAuthzPrefix = (provider: string): string => PREFIX + provider + END;

const PREFIX = 'weft_ext_authz_';
const END = '_';

/** The provider that shadow rules with this prefix are for; `undefined` when they are for something else. */
export function providerOf(statPrefix: string): string | undefined {
  if (!statPrefix.startsWith(PREFIX) || !statPrefix.endsWith(END)) return undefined;
  const provider = statPrefix.slice(PREFIX.length, -END.length);
  return provider === '' ? undefined : provider;
}
