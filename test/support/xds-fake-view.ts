// A mesh that a test writes by hand: resources by name, whose content is their version and their bytes.
import {
  type EncodedResource,
  RESOURCE_ORDER,
  type ResourceKind,
  type ResourceView,
} from '@weft/xds/resource';

export class FakeView implements ResourceView {
  revision = 0;
  readonly #resources = new Map<ResourceKind, Map<string, EncodedResource>>(
    RESOURCE_ORDER.map((kind) => [kind, new Map()]),
  );

  /** `FakeView.of('cluster a 1', 'listener b 1')`. */
  static of(...resources: readonly string[]): FakeView {
    const view = new FakeView();
    view.put(...resources);
    return view;
  }

  /** Each `KIND NAME CONTENT`; content `-` removes. One revision for all. */
  put(...resources: readonly string[]): void {
    this.revision++;
    for (const text of resources) {
      const [kind, name = '', version = ''] = text.split(' ');
      const table = this.#resources.get(kindOf(kind));
      if (version === '-') table?.delete(name);
      else table?.set(name, { kind: kindOf(kind), name, version, bytes: Buffer.from(version) });
    }
  }

  get(kind: ResourceKind, name: string): EncodedResource | undefined {
    return this.#resources.get(kind)?.get(name);
  }

  list(kind: ResourceKind): Iterable<EncodedResource> {
    return this.#resources.get(kind)?.values() ?? [];
  }
}

export function kindOf(text: string | undefined): ResourceKind {
  const found = RESOURCE_ORDER.find((kind) => kind === text);
  if (found === undefined) throw new RangeError(`Cannot take ${text} for a kind: there is none`);
  return found;
}
