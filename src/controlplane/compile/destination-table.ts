// Holds the destinations of a mesh by name and by address, and makes anew those of the Services that a change concerns.
import type { Destination, MeshSettings, Workload } from '@weft/model/mesh/mesh';
import type { Problem } from '@weft/model/problem';
import { PersistentMap } from '../registry/persistent-map.ts';
import { compareTexts } from './compare-texts.ts';
import { compileDestinations, vipClash } from './destinations.ts';
import type { Place } from './object-index.ts';
import type { RouteTable } from './routes/route-table.ts';
import type { CallsOf } from './service-calls.ts';
import type { ServiceTable } from './service-table.ts';

export interface DestinationContext {
  readonly callsOf: CallsOf;
  readonly routes: Pick<RouteTable, 'waysOf'>;
  readonly services: ServiceTable;
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly settings: MeshSettings;
}

/** A port of a Service at an address. */
interface Claim {
  readonly by: Place;
  readonly destination: Destination;
}

const compareDestinations = (
  [one, { target: a }]: readonly [string, Destination],
  [other, { target: b }]: readonly [string, Destination],
): number =>
  compareTexts(a.namespace, b.namespace) ||
  compareTexts(a.service, b.service) ||
  a.port - b.port ||
  compareTexts(one, other);

const NONE: readonly never[] = [];

export class DestinationTable {
  #all: PersistentMap<Destination>;
  #byAddress = PersistentMap.from<Destination>([], { compare: compareDestinations });
  #problems = PersistentMap.from<readonly Problem[]>([]);
  readonly #ofService = new Map<Place, readonly Destination[]>();
  /** By address, in the order of Services; the first holds it. */
  readonly #claims = new Map<string, readonly Claim[]>();
  /** Those of a mesh before that were not made here. */
  #seed: ReadonlyMap<string, Destination> | undefined;

  constructor(seed?: ReadonlyMap<string, Destination>) {
    this.#all = PersistentMap.from<Destination>([], { compare: compareDestinations });
    this.#seed = seed;
  }

  get all(): PersistentMap<Destination> {
    return this.#all;
  }

  get byAddress(): PersistentMap<Destination> {
    return this.#byAddress;
  }

  /** By address. */
  get problems(): PersistentMap<readonly Problem[]> {
    return this.#problems;
  }

  update(places: ReadonlySet<Place>, context: DestinationContext): void {
    const { services, workloads, settings, routes, callsOf } = context;
    const changes = new Map<string, Destination | undefined>();
    const addresses = new Set<string>();
    const seed = this.#seed;
    const before = (name: string): Destination | undefined =>
      this.#all.get(name) ?? seed?.get(name);
    for (const place of places) {
      const old = this.#ofService.get(place) ?? NONE;
      const members = services.get(place);
      const made =
        members === undefined
          ? NONE
          : compileDestinations(members, { workloads, settings, before, routes, callsOf });
      if (old.length === made.length && old.every((one, at) => one === made[at])) continue;
      if (made.length > 0) this.#ofService.set(place, made);
      else this.#ofService.delete(place);
      for (const { target } of old) changes.set(target.name, undefined);
      for (const destination of made) changes.set(destination.target.name, destination);
      this.#unclaim(place, old, addresses);
      this.#claim(place, made, addresses);
    }
    this.#all = this.#all.with(changes);
    this.#settleAddresses(addresses);
    this.#seed = undefined;
  }

  #unclaim(place: Place, old: readonly Destination[], addresses: Set<string>): void {
    for (const address of old.flatMap(addressesOf)) {
      addresses.add(address);
      const others = (this.#claims.get(address) ?? NONE).filter(({ by }) => by !== place);
      if (others.length > 0) this.#claims.set(address, others);
      else this.#claims.delete(address);
    }
  }

  #claim(place: Place, made: readonly Destination[], addresses: Set<string>): void {
    for (const destination of made) {
      for (const address of addressesOf(destination)) {
        addresses.add(address);
        const claims = [...(this.#claims.get(address) ?? NONE), { by: place, destination }];
        // Stable: the ports of a Service stay in their order.
        this.#claims.set(
          address,
          claims.sort((a, b) => compareTexts(a.by, b.by)),
        );
      }
    }
  }

  #settleAddresses(addresses: ReadonlySet<string>): void {
    const changes = new Map<string, Destination | undefined>();
    const problems = new Map<string, readonly Problem[] | undefined>();
    for (const address of addresses) {
      const [first, ...others] = this.#claims.get(address) ?? NONE;
      changes.set(address, first?.destination);
      const holder = first?.destination.target;
      const clashes = others.flatMap(({ destination: { target } }) =>
        holder === undefined || holder.host === target.host
          ? []
          : [vipClash(target, address, holder)],
      );
      problems.set(address, clashes.length > 0 ? clashes : undefined);
    }
    this.#byAddress = this.#byAddress.with(changes);
    this.#problems = this.#problems.with(problems);
  }
}

const addressesOf = ({ target }: Destination): readonly string[] =>
  target.vips.map((vip) => `${vip}_${target.port}`);
