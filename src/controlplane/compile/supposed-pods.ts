// Supposes Pods where manifests name some without having them: of folders that hold policies alone something can be said, too.
import type { PodObject, RegistryObject, ServiceObject, Snapshot } from '@weft/model/mesh/objects';
import { matchesLabels } from '@weft/model/policy/select';

type Labels = ReadonlyMap<string, string>;

/** More of them say no more. */
const MAX_PODS = 1_000;

/**
 * The snapshot with a Pod for each Service and each policy's selector that selects none, and for each namespace that
 * has policies and no Pod. Their names say what they stand for: `(app=web)`.
 * @param other another version of it: what that names is supposed here, too, so that the two can be compared.
 */
export function withSupposedPods(
  snapshot: Snapshot,
  rootNamespace: string,
  other?: Snapshot,
): Snapshot {
  const objects = new Map(snapshot.objects);
  const pods = [...objects.values()].filter((object) => object.kind === 'Pod');
  let supposed = 0;
  const suppose = (namespace: string, labels: Labels, hints: Hints): void => {
    const found = pods.some(
      ({ meta }) => meta.namespace === namespace && matchesLabels(labels, meta.labels),
    );
    if (found || supposed >= MAX_PODS) return;
    const pod = podOf(namespace, labels, hints);
    supposed++;
    pods.push(pod);
    objects.set(`Pod/${namespace}/${pod.meta.name}`, pod);
  };
  const all = [...snapshot.objects.values(), ...(other?.objects.values() ?? [])];
  for (const object of all) {
    if (object.kind !== 'Service' || object.selector === undefined) continue;
    if (object.selector.size > 0)
      suppose(object.meta.namespace, object.selector, { service: object, ports: [] });
  }
  const scopes = all.flatMap(scopeOf).filter(({ namespace }) => namespace !== rootNamespace);
  const hints = (namespace: string, labels: Labels): Hints => ({
    service: undefined,
    ports: portsNamed(all, namespace, labels),
  });
  for (const { namespace, selector } of scopes) {
    if (selector !== undefined) suppose(namespace, selector, hints(namespace, selector));
  }
  for (const { namespace } of scopes) suppose(namespace, new Map(), hints(namespace, new Map()));
  return { revision: snapshot.revision, objects };
}

function scopeOf(
  object: RegistryObject,
): readonly { readonly namespace: string; readonly selector: Labels | undefined }[] {
  switch (object.kind) {
    case 'AuthorizationPolicy':
    case 'PeerAuthentication':
      return [{ namespace: object.policy.namespace, selector: object.policy.selector }];
    case 'BrokenPolicy':
      return [{ namespace: object.policy.namespace, selector: object.selector }];
    default:
      return [];
  }
}

interface Hints {
  readonly service: ServiceObject | undefined;
  /** That rules name. */
  readonly ports: readonly number[];
}

function portsNamed(
  objects: readonly RegistryObject[],
  namespace: string,
  labels: Labels,
): readonly number[] {
  const ports = new Set<number>();
  for (const object of objects) {
    if (object.kind !== 'AuthorizationPolicy' || object.policy.namespace !== namespace) continue;
    if (!matchesLabels(object.policy.selector, labels)) continue;
    for (const { to } of object.policy.rules ?? []) {
      for (const { field, values } of (to ?? []).flat()) {
        if (field === 'ports') for (const port of values) ports.add(Number(port));
      }
    }
  }
  return [...ports].sort((a, b) => a - b);
}

/** At 8080 and what rules name, of a protocol that is not known, unless a Service says otherwise. */
function podOf(namespace: string, labels: Labels, { service, ports: named }: Hints): PodObject {
  const text = [...labels].map(([key, value]) => `${key}=${value}`).sort();
  const ports = service?.ports.map(({ name, port, targetPort }) =>
    typeof targetPort === 'number' ? { name, port: targetPort } : { name: targetPort, port },
  );
  return {
    kind: 'Pod',
    meta: { namespace, name: `(${text.join(',') || 'any'})`, labels, annotations: new Map() },
    serviceAccount: labels.get('app') ?? 'default',
    ips: [],
    ports: ports ?? [...new Set([8080, ...named])].map((port) => ({ name: '', port })),
    isReady: true,
    isDeleting: false,
    isFinished: false,
  };
}
