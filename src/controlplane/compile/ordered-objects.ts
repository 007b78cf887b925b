// Sorts a snapshot's objects by kind and name, so that the order in which they came decides nothing.
import type { MeshPolicies } from '@weft/model/mesh/mesh';
import type {
  EndpointSliceObject,
  MeshConfigObject,
  NamespaceObject,
  PodObject,
  RegistryObject,
  ServiceObject,
  Snapshot,
} from '@weft/model/mesh/objects';

export interface OrderedObjects {
  readonly namespaces: ReadonlyMap<string, NamespaceObject>;
  readonly pods: readonly PodObject[];
  readonly services: readonly ServiceObject[];
  readonly slices: readonly EndpointSliceObject[];
  readonly policies: MeshPolicies;
  readonly configs: readonly MeshConfigObject[];
}

export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function nameOf(object: RegistryObject): { readonly namespace: string; readonly name: string } {
  if ('meta' in object) return object.meta;
  if ('policy' in object) return object.policy;
  return { namespace: '', name: object.name };
}

/** By namespace, name and, where two objects have one name, by the source's key. */
export function orderObjects(snapshot: Snapshot): OrderedObjects {
  const sorted = [...snapshot.objects]
    .map(([key, object]) => ({ key, object, ...nameOf(object) }))
    .sort(
      (a, b) =>
        compareTexts(a.namespace, b.namespace) ||
        compareTexts(a.name, b.name) ||
        compareTexts(a.key, b.key),
    )
    .map(({ object }) => object);
  const ofKind = <K extends RegistryObject['kind']>(
    kind: K,
  ): Extract<RegistryObject, { kind: K }>[] =>
    sorted.filter((object): object is Extract<RegistryObject, { kind: K }> => object.kind === kind);
  return {
    namespaces: new Map(ofKind('Namespace').map((object) => [object.meta.name, object])),
    pods: ofKind('Pod'),
    services: ofKind('Service'),
    slices: ofKind('EndpointSlice'),
    policies: {
      authorization: ofKind('AuthorizationPolicy').map(({ policy }) => policy),
      peerAuthentication: ofKind('PeerAuthentication').map(({ policy }) => policy),
      requestAuthentication: ofKind('RequestAuthentication').map(({ policy }) => policy),
      broken: ofKind('BrokenPolicy'),
    },
    configs: ofKind('MeshConfig'),
  };
}
