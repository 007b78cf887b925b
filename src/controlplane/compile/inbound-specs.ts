// Gives workloads that let in the same the same object, and keeps it for as long as one of them lives.
import type { InboundSpec } from '@weft/model/mesh/mesh';
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

interface Known {
  readonly spec: InboundSpec;
  readonly key: string;
  /** How many workloads have it. */
  count: number;
}

export class InboundSpecs {
  readonly #byKey = new Map<string, Known[]>();
  readonly #bySpec = new Map<object, Known>();

  /** @param seed of meshes before: an equal one is taken from there; those of which none is are forgotten by `prune`. */
  constructor(seed: Iterable<InboundSpec> = []) {
    for (const spec of seed) if (!this.#bySpec.has(spec)) this.#add(spec, keyOf(spec));
  }

  /** The one object for all specs that are equal, held once more. */
  hold(spec: InboundSpec): InboundSpec {
    const known = this.#bySpec.get(spec) ?? this.#find(spec);
    known.count++;
    return known.spec;
  }

  has(spec: object): boolean {
    return this.#bySpec.has(spec);
  }

  release(spec: InboundSpec): void {
    const known = this.#bySpec.get(spec);
    if (known !== undefined && --known.count <= 0) this.#forget(known);
  }

  prune(): void {
    for (const known of this.#bySpec.values()) if (known.count <= 0) this.#forget(known);
  }

  #find(spec: InboundSpec): Known {
    const key = keyOf(spec);
    const found = this.#byKey.get(key)?.find((other) => isSame(other.spec, spec));
    return found ?? this.#add(spec, key);
  }

  #add(spec: InboundSpec, key: string): Known {
    const known = { spec, key, count: 0 };
    this.#bySpec.set(spec, known);
    const list = this.#byKey.get(key);
    if (list === undefined) this.#byKey.set(key, [known]);
    else list.push(known);
    return known;
  }

  #forget(known: Known): void {
    this.#bySpec.delete(known.spec);
    const others = this.#byKey.get(known.key)?.filter((one) => one !== known) ?? [];
    if (others.length > 0) this.#byKey.set(known.key, others);
    else this.#byKey.delete(known.key);
  }
}
