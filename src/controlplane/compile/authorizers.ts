// Which external authorizers a workload's CUSTOM policies can ask: those that are declared, and that the mesh knows the way to.
import type { MeshSettings } from '@weft/model/mesh/mesh';
import type { ExtAuthzProvider } from '@weft/model/policy/ext-authz';
import { shown } from '@weft/model/policy/reader';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import type { Problem } from '@weft/model/problem';

export interface Authorizers {
  /** By name; `undefined` when nobody can be asked. */
  readonly find: (provider: string) => ExtAuthzProvider | undefined;
  /** Declared, whether they can be asked or not. */
  readonly declared: ReadonlyMap<string, ExtAuthzProvider>;
  /** Names of those that can be asked; equal for equal ones of the same settings. */
  readonly reachable: string;
}

/** @param hasPort whether a Service of the mesh has the port */
export function findAuthorizers(
  { extensionProviders, clusterDomain }: MeshSettings,
  hasPort: (
    service: { readonly namespace: string; readonly name: string },
    port: number,
  ) => boolean,
): Authorizers {
  const suffix = `.svc.${clusterDomain}`;
  const reachable = extensionProviders.filter(({ host, port }) => {
    const service = host.endsWith(suffix) ? host.slice(0, -suffix.length) : '';
    const dot = service.lastIndexOf('.');
    return (
      dot > 0 && hasPort({ namespace: service.slice(dot + 1), name: service.slice(0, dot) }, port)
    );
  });
  const byName = new Map(reachable.map((provider) => [provider.name, provider]));
  return {
    find: (name) => byName.get(name),
    declared: new Map(extensionProviders.map((provider) => [provider.name, provider])),
    reachable: JSON.stringify([...byName.keys()]),
  };
}

/** Of the CUSTOM policies that deny everything because nobody can be asked. */
export function missingProviders(
  policies: readonly AuthorizationPolicy[],
  { find, declared: byName }: Authorizers,
): readonly Problem[] {
  return policies.flatMap(({ action, provider, targetRefs, namespace, name }) => {
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
