// Holds a registry's objects so that each can be found by what refers to it, and says of every change whom it concerns.
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import { matchesLabels } from '@weft/model/policy/select';
import type {
  DataObject,
  EndpointSliceObject,
  MeshConfigObject,
  NamespaceObject,
  PodObject,
  RegistryObject,
  ServiceObject,
} from '@weft/model/mesh/objects';
import type { Difference } from '../registry/persistent-map.ts';
import { compareTexts } from './compare-texts.ts';
import { isOutside } from './egress/outside-table.ts';
import { type PolicyObject, PolicyTable } from './policy-table.ts';
import type { RoutingObject } from './routes/route-table.ts';

/** Keys by {@link placeOf}, whose order is that of namespace, then name. */
export type Place = string;

export const placeOf = (meta: { readonly namespace: string; readonly name: string }): Place =>
  `${meta.namespace}\0${meta.name}`;

/** What has to be made anew after a change. */
export interface Touched {
  /** Pods that are new, other or gone. */
  readonly pods: Set<Place>;
  /** Services that are new, other or gone, or behind which others may stand now. */
  readonly services: Set<Place>;
  readonly policies: Difference<PolicyObject>[];
  readonly routing: Difference<RoutingObject>[];
  /** What is said of the world outside the mesh. */
  readonly outside: Difference<RegistryObject>[];
  readonly namespaces: Set<string>;
  areConfigsNew: boolean;
}

const NONE: readonly PodObject[] = [];
const NO_PODS: ReadonlyMap<Place, PodObject> = new Map();

/** A source has one object of each kind, namespace and name. */
export class ObjectIndex {
  readonly policies: PolicyTable;
  readonly namespaces = new Map<string, NamespaceObject>();
  /** By place; another map whenever one of them changes. */
  #secrets: ReadonlyMap<Place, DataObject> = new Map();
  readonly #configs = new Map<string, MeshConfigObject>();
  readonly #federations = new Map<string, FederatedTrustDomain>();
  /** Those that run or will; one that has ended has no address and no identity any more. */
  readonly pods = new Map<Place, PodObject>();
  readonly #labelTexts = new Map<Place, string>();
  readonly #podsByNamespace = new Map<string, Map<Place, PodObject>>();
  readonly #podsByIp = new Map<string, readonly PodObject[]>();
  readonly services = new Map<Place, ServiceObject>();
  /** By namespace and one label of their selectors. */
  readonly #selecting = new Map<string, Set<ServiceObject>>();
  /** Pods, ended ones too, and Services by namespace. */
  readonly #populated = new Map<string, number>();
  readonly #selected = new Map<Place, Map<Place, PodObject>>();
  readonly #slices = new Map<Place, Map<string, EndpointSliceObject>>();
  /** Which Services' slices name an address, and how often. */
  readonly #slicedAt = new Map<string, Map<Place, number>>();

  constructor(rootNamespace: string) {
    this.policies = new PolicyTable(rootNamespace);
  }

  get secrets(): ReadonlyMap<Place, DataObject> {
    return this.#secrets;
  }

  #setSecret(object: DataObject, isThere: boolean): void {
    if (object.of !== 'Secret') return;
    const secrets = new Map(this.#secrets);
    if (isThere) secrets.set(placeOf(object.meta), object);
    else secrets.delete(placeOf(object.meta));
    this.#secrets = secrets;
  }

  federations(): Iterable<FederatedTrustDomain> {
    return this.#federations.values();
  }

  /** Of the MeshConfigs, the order of their names. */
  configs(): readonly MeshConfigObject[] {
    return [...this.#configs]
      .sort(([a, one], [b, other]) => compareTexts(one.name, other.name) || compareTexts(a, b))
      .map(([, config]) => config);
  }

  podsIn(namespace: string): ReadonlyMap<Place, PodObject> {
    return this.#podsByNamespace.get(namespace) ?? NO_PODS;
  }

  /** Those of policies that are not declared and have neither Pods nor Services. @returns `known` when it says the same. */
  unknownNamespaces(known: ReadonlySet<string>): ReadonlySet<string> {
    const unknown = this.policies
      .namespaces()
      .filter((name) => !this.namespaces.has(name) && !this.#populated.has(name));
    const isSame = unknown.length === known.size && unknown.every((name) => known.has(name));
    return isSame ? known : new Set(unknown);
  }

  #populate(namespace: string, by: 1 | -1): void {
    const count = (this.#populated.get(namespace) ?? 0) + by;
    if (count > 0) this.#populated.set(namespace, count);
    else this.#populated.delete(namespace);
  }

  /** Equal for equal labels alone; values may hold no separators, so it is no plain list. */
  labelTextOf(pod: Place): string {
    return this.#labelTexts.get(pod) ?? '';
  }

  /** By namespace and name. */
  podsAt(ip: string): readonly PodObject[] {
    return this.#podsByIp.get(ip) ?? NONE;
  }

  /** In the order of their names. An empty selector finds nothing, as in Kubernetes' Services. */
  podsBehind(service: ServiceObject): readonly PodObject[] {
    return [...(this.#selected.get(placeOf(service.meta))?.values() ?? NONE)].sort(byName);
  }

  /** In the order of their names; `undefined` when the Service has none. */
  slicesOf(service: ServiceObject): readonly EndpointSliceObject[] | undefined {
    const slices = this.#slices.get(placeOf(service.meta));
    return slices && [...slices.values()].sort(byName);
  }

  /** Services before Pods: whom a new Service selects is then found out from the Pods' side, once for each. */
  apply(all: Iterable<Difference<RegistryObject>>): Touched {
    const touched: Touched = {
      pods: new Set(),
      services: new Set(),
      policies: [],
      routing: [],
      outside: [],
      namespaces: new Set(),
      areConfigsNew: false,
    };
    const later: Difference<RegistryObject>[] = [];
    for (const difference of all) {
      if ((difference.after ?? difference.before)?.kind === 'Pod') later.push(difference);
      else this.#take(difference, touched);
    }
    for (const difference of later) this.#take(difference, touched);
    this.policies.apply(touched.policies);
    return touched;
  }

  #take({ key, before, after }: Difference<RegistryObject>, touched: Touched): void {
    const isOtherKind = before !== undefined && after !== undefined && before.kind !== after.kind;
    if (isOtherKind) {
      this.#take({ key, before, after: undefined }, touched);
      this.#take({ key, before: undefined, after }, touched);
      return;
    }
    if (isOutside(before) || isOutside(after)) touched.outside.push({ key, before, after });
    if (before !== undefined) this.#remove(key, before, touched);
    if (after !== undefined) this.#add(key, after, touched);
    const policy = { key, before: policyOf(before), after: policyOf(after) };
    if (policy.before !== undefined || policy.after !== undefined) touched.policies.push(policy);
    const routing = { key, before: routingOf(before), after: routingOf(after) };
    if (routing.before !== undefined || routing.after !== undefined) touched.routing.push(routing);
  }

  #remove(key: string, object: RegistryObject, touched: Touched): void {
    switch (object.kind) {
      case 'Namespace':
        this.namespaces.delete(object.meta.name);
        touched.namespaces.add(object.meta.name);
        break;
      case 'Data':
        this.#setSecret(object, false);
        break;
      case 'MeshConfig':
        this.#configs.delete(key);
        touched.areConfigsNew = true;
        break;
      case 'FederatedTrustDomain':
        this.#federations.delete(key);
        touched.areConfigsNew = true;
        break;
      case 'Pod':
        this.#populate(object.meta.namespace, -1);
        this.#removePod(object, touched);
        break;
      case 'Service':
        this.#populate(object.meta.namespace, -1);
        this.#removeService(object, touched);
        break;
      case 'EndpointSlice':
        this.#countSlice(key, object, touched, -1);
        break;
      default:
    }
  }

  #add(key: string, object: RegistryObject, touched: Touched): void {
    switch (object.kind) {
      case 'Namespace':
        this.namespaces.set(object.meta.name, object);
        touched.namespaces.add(object.meta.name);
        break;
      case 'Data':
        this.#setSecret(object, true);
        break;
      case 'MeshConfig':
        this.#configs.set(key, object);
        touched.areConfigsNew = true;
        break;
      case 'FederatedTrustDomain':
        this.#federations.set(key, object.federation);
        touched.areConfigsNew = true;
        break;
      case 'Pod':
        this.#populate(object.meta.namespace, 1);
        if (!object.isFinished) this.#addPod(object, touched);
        break;
      case 'Service':
        this.#populate(object.meta.namespace, 1);
        this.#addService(object, touched);
        break;
      case 'EndpointSlice':
        this.#countSlice(key, object, touched, 1);
        break;
      default:
    }
  }

  #addPod(pod: PodObject, touched: Touched): void {
    const place = placeOf(pod.meta);
    this.pods.set(place, pod);
    this.#labelTexts.set(place, textOf(pod.meta.labels));
    touched.pods.add(place);
    mapIn(this.#podsByNamespace, pod.meta.namespace).set(place, pod);
    for (const ip of new Set(pod.ips)) {
      this.#podsByIp.set(ip, [...this.podsAt(ip), pod].sort(byPlace));
      this.#touchSliced(ip, touched);
    }
    for (const service of this.#servicesOf(pod)) {
      mapIn(this.#selected, placeOf(service.meta)).set(place, pod);
      touched.services.add(placeOf(service.meta));
    }
  }

  #removePod(pod: PodObject, touched: Touched): void {
    const place = placeOf(pod.meta);
    if (!this.pods.delete(place)) return;
    this.#labelTexts.delete(place);
    touched.pods.add(place);
    deleteIn(this.#podsByNamespace, pod.meta.namespace, place);
    for (const ip of new Set(pod.ips)) {
      const others = this.podsAt(ip).filter((one) => placeOf(one.meta) !== place);
      if (others.length > 0) this.#podsByIp.set(ip, others);
      else this.#podsByIp.delete(ip);
      this.#touchSliced(ip, touched);
    }
    for (const service of this.#servicesOf(pod)) {
      deleteIn(this.#selected, placeOf(service.meta), place);
      touched.services.add(placeOf(service.meta));
    }
  }

  #touchSliced(ip: string, touched: Touched): void {
    for (const place of this.#slicedAt.get(ip)?.keys() ?? []) touched.services.add(place);
  }

  #servicesOf({ meta: { namespace, labels } }: PodObject): readonly ServiceObject[] {
    const found: ServiceObject[] = [];
    for (const [key, value] of labels) {
      for (const service of this.#selecting.get(labelKey(namespace, key, value)) ?? []) {
        if (matchesLabels(service.selector, labels)) found.push(service);
      }
    }
    return found;
  }

  #addService(service: ServiceObject, touched: Touched): void {
    const place = placeOf(service.meta);
    this.services.set(place, service);
    touched.services.add(place);
    const label = selectingLabel(service);
    if (label === undefined) return;
    const selecting = this.#selecting.get(label) ?? new Set();
    this.#selecting.set(label, selecting.add(service));
    for (const [podPlace, pod] of this.podsIn(service.meta.namespace)) {
      if (matchesLabels(service.selector, pod.meta.labels)) {
        mapIn(this.#selected, place).set(podPlace, pod);
      }
    }
  }

  #removeService(service: ServiceObject, touched: Touched): void {
    const place = placeOf(service.meta);
    this.services.delete(place);
    this.#selected.delete(place);
    touched.services.add(place);
    const label = selectingLabel(service);
    if (label === undefined) return;
    const selecting = this.#selecting.get(label);
    selecting?.delete(service);
    if (selecting?.size === 0) this.#selecting.delete(label);
  }

  #countSlice(key: string, slice: EndpointSliceObject, touched: Touched, by: 1 | -1): void {
    const place = placeOf({ namespace: slice.meta.namespace, name: slice.service });
    touched.services.add(place);
    if (by === 1) mapIn(this.#slices, place).set(key, slice);
    else deleteIn(this.#slices, place, key);
    for (const address of slice.endpoints.flatMap(({ addresses }) => addresses.slice(0, 1))) {
      const places = mapIn(this.#slicedAt, address);
      const count = (places.get(place) ?? 0) + by;
      if (count > 0) places.set(place, count);
      else deleteIn(this.#slicedAt, address, place);
    }
  }
}

const textOf = (labels: ReadonlyMap<string, string>): string =>
  JSON.stringify([...labels].sort(([a], [b]) => compareTexts(a, b)));

const labelKey = (namespace: string, key: string, value: string): string =>
  `${namespace}\0${key}\0${value}`;

function selectingLabel({ meta, selector }: ServiceObject): string | undefined {
  for (const [key, value] of selector ?? []) return labelKey(meta.namespace, key, value);
  return undefined;
}

function policyOf(object: RegistryObject | undefined): PolicyObject | undefined {
  if (object === undefined || !('policy' in object)) return undefined;
  // Of no sidecar's business.
  return object.kind === 'WorkloadPolicy' ? undefined : object;
}

const routingOf = (object: RegistryObject | undefined): RoutingObject | undefined =>
  object?.kind === 'ServiceRoute' || object?.kind === 'ReferenceGrant' ? object : undefined;

interface Named {
  readonly meta: { readonly namespace: string; readonly name: string };
}

const byName = (a: Named, b: Named): number => compareTexts(a.meta.name, b.meta.name);

const byPlace = (a: Named, b: Named): number => compareTexts(placeOf(a.meta), placeOf(b.meta));

function mapIn<K, L, V>(maps: Map<K, Map<L, V>>, key: K): Map<L, V> {
  const known = maps.get(key);
  if (known !== undefined) return known;
  const made = new Map<L, V>();
  maps.set(key, made);
  return made;
}

function deleteIn<K, L, V>(maps: Map<K, Map<L, V>>, key: K, inner: L): void {
  const map = maps.get(key);
  map?.delete(inner);
  if (map?.size === 0) maps.delete(key);
}
