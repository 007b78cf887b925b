// Finds Pods by selector, by name and by address without looking at all of them.
import { matchesLabels } from '@weft/model/policy/select';
import type { PodObject } from '@weft/model/mesh/objects';

export interface PodIndex {
  /** Those that run or will; one that has ended has no address and no identity any more. */
  readonly pods: readonly PodObject[];
  /** An empty selector finds nothing, as in Kubernetes' Services. */
  select(namespace: string, selector: ReadonlyMap<string, string>): readonly PodObject[];
  byName(namespace: string, name: string): PodObject | undefined;
  byIp(ip: string): readonly PodObject[];
}

const NONE: readonly PodObject[] = [];

function addTo<K>(map: Map<K, PodObject[]>, key: K, pod: PodObject): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [pod]);
  else list.push(pod);
}

export function indexPods(all: readonly PodObject[]): PodIndex {
  const pods = all.filter((pod) => !pod.isFinished);
  const byLabel = new Map<string, PodObject[]>();
  const byName = new Map<string, PodObject>();
  const byIp = new Map<string, PodObject[]>();
  for (const pod of pods) {
    const { namespace, name, labels } = pod.meta;
    byName.set(`${namespace}\0${name}`, pod);
    for (const [key, value] of labels) addTo(byLabel, `${namespace}\0${key}\0${value}`, pod);
    for (const ip of new Set(pod.ips)) addTo(byIp, ip, pod);
  }
  return {
    pods,
    select(namespace, selector) {
      let fewest: readonly PodObject[] | undefined;
      for (const [key, value] of selector) {
        const found = byLabel.get(`${namespace}\0${key}\0${value}`) ?? NONE;
        if (fewest === undefined || found.length < fewest.length) fewest = found;
      }
      return (fewest ?? NONE).filter((pod) => matchesLabels(selector, pod.meta.labels));
    },
    byName: (namespace, name) => byName.get(`${namespace}\0${name}`),
    byIp: (ip) => byIp.get(ip) ?? NONE,
  };
}
