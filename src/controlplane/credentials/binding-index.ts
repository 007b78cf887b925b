// Holds the bindings in force by namespace, and says of a workload what it is granted.
import { type Grants, grantsOf, selectsWorkload } from '@weft/model/credentials/grants';
import type { CredentialBinding } from '@weft/model/credentials/types';
import type { Workload } from '@weft/model/mesh/mesh';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { differences } from '../registry/persistent-map.ts';

const NONE: readonly CredentialBinding[] = [];
const NOTHING: Grants = { byName: new Map(), refused: [] };

export class BindingIndex {
  readonly #byNamespace = new Map<string, Map<string, CredentialBinding>>();
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
    return this.#version !== before;
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
    return own === undefined ? NONE : [...own.values()];
  }

  grantsOf(workload: Workload): Grants {
    const bindings = this.in(workload.namespace);
    return bindings.length === 0 ? NOTHING : grantsOf(bindings, workload);
  }

  /** Whether any binding selects it. */
  hasAny(workload: Workload | undefined): boolean {
    if (workload === undefined) return false;
    return this.in(workload.namespace).some((binding) => selectsWorkload(binding, workload));
  }
}
