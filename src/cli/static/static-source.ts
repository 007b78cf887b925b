// The newest sound configuration of a sidecar's own file as a source of objects; the last good one stays when a newer is bad.
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';

export class StaticSource {
  #snapshot: Snapshot;
  readonly #listeners = new Listeners();

  constructor(objects: ReadonlyMap<string, RegistryObject>) {
    this.#snapshot = { revision: 1, objects };
  }

  get state(): { readonly snapshot: Snapshot; readonly problems: readonly Problem[] } {
    return { snapshot: this.#snapshot, problems: [] };
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  replace(objects: ReadonlyMap<string, RegistryObject>): void {
    this.#snapshot = { revision: this.#snapshot.revision + 1, objects };
    this.#listeners.tell();
  }
}
