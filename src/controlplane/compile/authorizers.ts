// Which external authorizers a workload's CUSTOM policies can ask: those that are declared, and that the mesh knows the way to.
import type { MeshSettings } from '@weft/model/mesh/mesh';
import { clusterOfProvider, type ExtAuthzProvider } from '@weft/model/policy/ext-authz';
import { shown } from '@weft/model/policy/reader';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';
import type { ServiceMembers } from './service-members.ts';

export interface Authorizers {
  /** By name; `undefined` when nobody can be asked. */
  find(provider: string): ExtAuthzProvider | undefined;
  /** Of the CUSTOM policies that deny everything because nobody can be asked. */
  readonly problems: readonly Problem[];
}

export function findAuthorizers(of: {
  readonly policies: readonly AuthorizationPolicy[];
  readonly services: readonly ServiceMembers[];
  readonly settings: MeshSettings;
}): Authorizers {
  const { extensionProviders, clusterDomain } = of.settings;
  const reachable = new Set<string>();
  if (extensionProviders.length > 0) {
    for (const { service, ports } of of.services) {
      const host = `${service.meta.name}.${service.meta.namespace}.svc.${clusterDomain}`;
      for (const { spec } of ports) reachable.add(`outbound|${spec.port}||${host}`);
    }
  }
  const byName = new Map(extensionProviders.map((provider) => [provider.name, provider]));
  const find = (name: string): ExtAuthzProvider | undefined => {
    const provider = byName.get(name);
    return provider !== undefined && reachable.has(clusterOfProvider(provider))
      ? provider
      : undefined;
  };
  const problems = of.policies.flatMap(({ action, provider, targetRefs, namespace, name }) => {
    if (action !== 'CUSTOM' || provider === undefined || targetRefs.length > 0) return [];
    if (find(provider) !== undefined) return [];
    const declared = byName.get(provider);
    const problem: Problem = {
      severity: 'error',
      code: 'missing-provider',
      field: 'spec.provider.name',
      message:
        declared === undefined
          ? `names ${shown(provider)}, which is no extension provider: what it selects is closed`
          : `names ${shown(provider)} at ${declared.host}:${declared.port}, which no Service offers: what it selects is closed`,
      cure:
        declared === undefined
          ? 'add it to spec.extensionProviders of the MeshConfig'
          : 'create the Service, or correct service and port of the provider',
      object: { kind: 'AuthorizationPolicy', namespace, name },
    };
    return [problem];
  });
  return { find, problems };
}

/** Of one workload, by name. */
export function authorizersOf(
  policies: readonly AuthorizationPolicy[],
  authorizers: Authorizers,
): readonly ExtAuthzProvider[] {
  const names = new Set(
    policies.flatMap(({ action, provider }) => (action === 'CUSTOM' ? (provider ?? []) : [])),
  );
  return [...names].sort().flatMap((name) => authorizers.find(name) ?? []);
}
