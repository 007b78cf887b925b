// Says which Pods are behind the Services that TrafficPolicies name, and notices when that becomes another.
import type { TrafficPolicy } from '@weft/model/traffic/types';
import type { SelectorOf } from '@weft/model/traffic/compose';
import { type ObjectIndex, type Place, placeOf } from './object-index.ts';
import { isSame } from './structural-sharing.ts';

type Labels = ReadonlyMap<string, string>;

export class TrafficTargets {
  /** Of every Service that a policy names. */
  #known: ReadonlyMap<Place, Labels | undefined> = new Map();

  readonly selectorOf: SelectorOf = (namespace, name) =>
    this.#known.get(placeOf({ namespace, name }));

  /** @returns the namespaces where other Pods may be meant than before; policies that changed see to their own. */
  refresh(policies: readonly TrafficPolicy[], index: ObjectIndex): ReadonlySet<string> {
    const known = new Map<Place, Labels | undefined>();
    const changed = new Set<string>();
    for (const { namespace, targetRefs } of policies) {
      for (const { name } of targetRefs) {
        const place = placeOf({ namespace, name });
        const selector = index.services.get(place)?.selector;
        // One that selects nothing in particular has nobody behind it.
        known.set(place, selector === undefined || selector.size === 0 ? undefined : selector);
        if (!isSame(this.#known.get(place), known.get(place))) changed.add(namespace);
      }
    }
    this.#known = known;
    return changed;
  }
}
