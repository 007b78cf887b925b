// Builds the filters that ask external authorizers: for each, the rules that say about what, and who is asked.
import type { InboundSpec } from '@weft/model/mesh/mesh';
import { compileCustom } from '@weft/model/policy/compile';
import type { CompileOptions } from '@weft/model/policy/compile-parts';
import { clusterOfProvider, type ExtAuthzProvider } from '@weft/model/policy/ext-authz';
import { type ExtAuthz, extAuthzPrefix } from '@weft/xds/resources/ext-authz';
import type { HttpFilter } from '@weft/xds/resources/listener';

/** Before tokens are read, and so before the rules: in the order of the authorizers' names. */
export function buildExtAuthzFilters(
  { policies, authorizers = [] }: InboundSpec,
  options: CompileOptions,
): readonly HttpFilter[] {
  return compileCustom(policies, options).flatMap(({ provider, rules }): readonly HttpFilter[] => {
    const declared = authorizers.find(({ name }) => name === provider);
    if (declared === undefined) return [];
    return [
      { kind: 'shadowRbac', shadow: { statPrefix: extAuthzPrefix(provider), rules } },
      { kind: 'extAuthz', authz: extAuthzOf(declared) },
    ];
  });
}

function extAuthzOf(provider: ExtAuthzProvider): ExtAuthz {
  const { name, host, port, timeoutMs, failOpen, statusOnError, http } = provider;
  return {
    provider: name,
    cluster: clusterOfProvider(provider),
    host: `${host}:${port}`,
    timeoutMs,
    failOpen,
    statusOnError,
    service: http === undefined ? { kind: 'grpc' } : { kind: 'http', ...http },
  };
}
