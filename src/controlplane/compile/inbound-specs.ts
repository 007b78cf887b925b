// Gives workloads that let in the same the same object, and keeps it from one mesh to the next.
import type { InboundSpec, Mesh } from '@weft/model/mesh/mesh';
import { isSame } from './structural-sharing.ts';

/** All that is short; policies are compared one by one. */
const keyOf = (spec: InboundSpec): string => {
  const ports = spec.ports.map(({ port, protocol, mode }) => `${port}:${protocol}:${mode}`);
  const names = [...spec.policies, ...spec.broken].map(
    ({ namespace, name }) => `${namespace}/${name}`,
  );
  const issuers = (spec.tokens ?? []).map(({ issuer }) => issuer);
  const parts = [spec.namespace, spec.serviceAccount, spec.mode, ...ports, '', ...names];
  return [...parts, '', ...issuers].join('\0');
};

/** @returns the one object for all specs that are equal; an older one where there is one. */
export function createInboundSpecs(previous: Mesh | undefined): (spec: InboundSpec) => InboundSpec {
  const known = new Map<string, InboundSpec[]>();
  const add = (spec: InboundSpec): void => {
    const key = keyOf(spec);
    const list = known.get(key);
    if (list === undefined) known.set(key, [spec]);
    else list.push(spec);
  };
  const specs = [...(previous?.workloads.values() ?? [])].map(({ inbound }) => inbound);
  for (const spec of new Set(specs)) add(spec);
  return (spec) => {
    const found = known.get(keyOf(spec))?.find((other) => isSame(other, spec));
    if (found !== undefined) return found;
    add(spec);
    return spec;
  };
}
