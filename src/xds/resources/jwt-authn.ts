// Which tokens a proxy verifies: Envoy's JWT filter as Weft emits and reads it.
import type { TokenRule } from '@weft/model/policy/token-rules';

/**
 * `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`. A token at a place that a rule reads must be good by
 * one of the rules that read that place; a request without any has no identity and passes. Never empty.
 */
export interface JwtAuthentication {
  /** In the order in which they are tried; of several good tokens the last rule's is who the request is from. */
  readonly rules: readonly TokenRule[];
}

/** Seconds by which clocks may differ: Envoy's own default. */
export const CLOCK_SKEW_SECONDS = 60;
