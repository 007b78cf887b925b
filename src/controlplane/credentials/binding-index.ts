// Holds the bindings in force by namespace, and says of a workload what it is granted.
import { type Grants, grantsOf, selectsWorkload } from '@weft/model/credentials/grants';
import type { CredentialBinding } from '@weft/model/credentials/types';
import type { Workload } from '@weft/model/mesh/mesh';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { differences } from '../registry/persistent-map.ts';
import { isRevoked } from '../vulnerabilities/revoked-label.ts';

const NONE: readonly CredentialBinding[] = [];
const NOTHING: Grants = { byName: new Map(), refused: [] };

export class BindingIndex {
  readonly #byNamespace = new Map<string, Map<string, CredentialBinding>>();
  /** Of the version of now. */
  readonly #lists = new Map<string, readonly CredentialBinding[]>();
  #grants = new WeakMap<Workload, Grants>();
  #objects: ReadonlyMap<string, RegistryObject> = new Map();
  #size = 0;
  #version = 0;

  get size(): number {
    return this.#size;
  }

  /** Another number whenever there are other bindings. */
  get version(): number {
    return this.#version;
  }

  /** @returns whether bindings have changed. It takes time by what differs from the snapshot before. */
  follow({ objects }: Snapshot): boolean {
    const before = this.#version;
    for (const difference of differences(this.#objects, objects)) {
      this.#put(difference.key, difference.before, undefined);
      this.#put(difference.key, undefined, difference.after);
    }
    this.#objects = objects;
    if (this.#version === before) return false;
    this.#lists.clear();
    this.#grants = new WeakMap();
    return true;
  }

  #put(key: string, gone: RegistryObject | undefined, come: RegistryObject | undefined): void {
    if (gone?.kind === 'CredentialBinding') {
      const own = this.#byNamespace.get(gone.binding.namespace);
      if (own?.delete(key) === true) this.#size--;
      if (own?.size === 0) this.#byNamespace.delete(gone.binding.namespace);
      this.#version++;
    }
    if (come?.kind !== 'CredentialBinding') return;
    const { namespace } = come.binding;
    const own = this.#byNamespace.get(namespace) ?? new Map<string, CredentialBinding>();
    this.#byNamespace.set(namespace, own.set(key, come.binding));
    this.#size++;
    this.#version++;
  }

  all(): readonly CredentialBinding[] {
    return [...this.#byNamespace.values()].flatMap((own) => [...own.values()]);
  }

  in(namespace: string): readonly CredentialBinding[] {
    const own = this.#byNamespace.get(namespace);
    if (own === undefined) return NONE;
    const known = this.#lists.get(namespace) ?? [...own.values()];
    this.#lists.set(namespace, known);
    return known;
  }

  /** The same object until bindings or the workload are others. */
  grantsOf(workload: Workload): Grants {
    const bindings = this.in(workload.namespace);
    if (bindings.length === 0 || isRevoked(workload)) return NOTHING;
    const known = this.#grants.get(workload) ?? grantsOf(bindings, workload);
    this.#grants.set(workload, known);
    return known;
  }

  /** Whether any binding selects it. */
  hasAny(workload: Workload | undefined): boolean {
    if (workload === undefined || isRevoked(workload)) return false;
    return this.in(workload.namespace).some((binding) => selectsWorkload(binding, workload));
  }
}
