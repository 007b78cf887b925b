// Holds who stands behind every Service, and from the Pods' side: behind which ones each stands, and what they say of its ports.
import type { PodObject } from '@weft/model/mesh/objects';
import { type ObjectIndex, type Place, placeOf } from './object-index.ts';
import { membersOf, type ServiceMembers } from './service-members.ts';
import type { PortDeclaration } from './workloads.ts';

interface Declared extends PortDeclaration {
  readonly by: Place;
}

const NONE: readonly never[] = [];

export class ServiceTable {
  readonly #members = new Map<Place, ServiceMembers>();
  /** Services, of whatever namespace, by the Pods behind them. */
  readonly #behind = new Map<Place, readonly Place[]>();
  readonly #declared = new Map<Place, readonly Declared[]>();

  get(place: Place): ServiceMembers | undefined {
    return this.#members.get(place);
  }

  servicesBefore(pod: Place): readonly Place[] {
    return this.#behind.get(pod) ?? NONE;
  }

  declaredOf(pod: Place): readonly PortDeclaration[] {
    return this.#declared.get(pod) ?? NONE;
  }

  /** Finds a Service's members anew. @returns the Pods of whose ports it says something else than before. */
  update(place: Place, index: ObjectIndex): Iterable<Place> {
    const before = this.#members.get(place);
    const service = index.services.get(place);
    const after = service && membersOf(service, index);
    if (after === undefined) this.#members.delete(place);
    else this.#members.set(place, after);
    this.#follow(place, podsOf(before), podsOf(after));
    return this.#declare(place, declarationsOf(place, before), declarationsOf(place, after));
  }

  #follow(place: Place, before: ReadonlySet<Place>, after: ReadonlySet<Place>): void {
    for (const pod of before) {
      if (after.has(pod)) continue;
      const others = this.servicesBefore(pod).filter((one) => one !== place);
      if (others.length > 0) this.#behind.set(pod, others);
      else this.#behind.delete(pod);
    }
    for (const pod of after) {
      if (!before.has(pod)) this.#behind.set(pod, [...this.servicesBefore(pod), place]);
    }
  }

  #declare(place: Place, before: Declarations, after: Declarations): Iterable<Place> {
    const changed: Place[] = [];
    for (const pod of new Set([...before.keys(), ...after.keys()])) {
      const said = after.get(pod) ?? NONE;
      if (isSaidAlready(said, before.get(pod) ?? NONE)) continue;
      changed.push(pod);
      const others = (this.#declared.get(pod) ?? NONE).filter(({ by }) => by !== place);
      const all = [...others, ...said];
      if (all.length > 0) this.#declared.set(pod, all);
      else this.#declared.delete(pod);
    }
    return changed;
  }
}

type Declarations = ReadonlyMap<Place, readonly Declared[]>;

function isSaidAlready(said: readonly Declared[], before: readonly Declared[]): boolean {
  return (
    said.length === before.length &&
    said.every(({ port, protocol }, at) => {
      const other = before[at];
      return port === other?.port && protocol === other.protocol;
    })
  );
}

function* membersWithPods(of: ServiceMembers | undefined): Iterable<{
  readonly pod: PodObject;
  readonly declaration: PortDeclaration;
}> {
  for (const { protocol, members } of of?.ports ?? NONE) {
    for (const { pod, port } of members) {
      if (pod !== undefined) yield { pod, declaration: { port, protocol } };
    }
  }
}

function podsOf(members: ServiceMembers | undefined): ReadonlySet<Place> {
  const pods = new Set<Place>();
  for (const { pod } of membersWithPods(members)) pods.add(placeOf(pod.meta));
  return pods;
}

/** Equal ones are one object for all Pods of the Service. */
function declarationsOf(place: Place, members: ServiceMembers | undefined): Declarations {
  const shared = new Map<string, Declared>();
  const byPod = new Map<Place, Declared[]>();
  for (const { pod, declaration } of membersWithPods(members)) {
    if (pod.meta.namespace !== members?.service.meta.namespace) continue;
    const text = `${declaration.port} ${declaration.protocol}`;
    const declared = shared.get(text) ?? { by: place, ...declaration };
    shared.set(text, declared);
    const podPlace = placeOf(pod.meta);
    const list = byPod.get(podPlace);
    if (list === undefined) byPod.set(podPlace, [declared]);
    else if (!list.includes(declared)) list.push(declared);
  }
  return byPod;
}
