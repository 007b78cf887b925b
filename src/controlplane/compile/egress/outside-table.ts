// Holds what a registry says of the world outside: ExternalServices, and the Secrets and ConfigMaps that TLS is made with.
import type { ExternalService } from '@weft/model/egress/external-service';
import type { MeshSettings } from '@weft/model/mesh/mesh';
import type { DataObject, ExternalServiceObject, RegistryObject } from '@weft/model/mesh/objects';
import { type Difference, PersistentMap } from '../../registry/persistent-map.ts';
import { EgressTable } from './egress-table.ts';

export type OutsideObject = ExternalServiceObject | DataObject;

export const isOutside = (object: RegistryObject | undefined): object is OutsideObject =>
  object?.kind === 'ExternalService' || object?.kind === 'Data';

/** `Secret/shop/pay-client`. */
export const dataKey = ({ of, meta }: DataObject): string => `${of}/${meta.namespace}/${meta.name}`;

export class OutsideTable {
  readonly #services = new Map<string, ExternalService>();
  #data = PersistentMap.from<DataObject>([]);
  #egress: EgressTable | undefined;

  get data(): PersistentMap<DataObject> {
    return this.#data;
  }

  apply(changes: readonly Difference<RegistryObject>[], settings: MeshSettings): EgressTable {
    const data = new Map<string, DataObject | undefined>();
    let isNew = this.#egress === undefined;
    for (const { key, before, after } of changes) {
      if (before?.kind === 'Data') data.set(dataKey(before), undefined);
      if (after?.kind === 'Data') data.set(dataKey(after), after);
      if (before?.kind !== 'ExternalService' && after?.kind !== 'ExternalService') continue;
      isNew = true;
      if (after?.kind === 'ExternalService') this.#services.set(key, after.service);
      else this.#services.delete(key);
    }
    if (data.size > 0) this.#data = this.#data.with(data);
    if (isNew || this.#egress === undefined) {
      this.#egress = new EgressTable([...this.#services.values()], settings);
    }
    return this.#egress;
  }
}
