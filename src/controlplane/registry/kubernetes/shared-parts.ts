// Makes equal parts of objects one: replicas have the same labels, annotations and ports, and there are many replicas.
import type { ObjectMeta, PodObject, RegistryObject } from '@weft/model/mesh/objects';

/** Different ones that are remembered; what comes when it is full is shared with what comes after it. */
const MAX_PARTS = 4_096;

export class SharedParts {
  readonly #parts = new Map<string, ReadonlyMap<string, string> | PodObject['ports']>();

  /** The same object but for parts that it has in common with others. Policies stay as they are: there are few. */
  share(object: RegistryObject): RegistryObject {
    if (!('meta' in object)) return object;
    const meta = this.#meta(object.meta);
    if (object.kind !== 'Pod') return { ...object, meta };
    return { ...object, meta, ports: this.#one(JSON.stringify(object.ports), object.ports) };
  }

  #meta(meta: ObjectMeta): ObjectMeta {
    const { labels, annotations } = meta;
    return {
      ...meta,
      labels: this.#one(textOf(labels), labels),
      annotations: this.#one(textOf(annotations), annotations),
    };
  }

  /** @param text says all of the part, and what kind of part it is. */
  #one<T extends ReadonlyMap<string, string> | PodObject['ports']>(text: string, part: T): T {
    const known = this.#parts.get(text);
    // The text of one kind of part is never that of another.
    if (known !== undefined) return known as T;
    if (this.#parts.size >= MAX_PARTS) this.#parts.clear();
    this.#parts.set(text, part);
    return part;
  }
}

const textOf = (map: ReadonlyMap<string, string>): string => `Map${JSON.stringify([...map])}`;
