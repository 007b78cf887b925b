// Where a workload runs, as Kubernetes labels it.

export interface Locality {
  /** May be empty where the zone says it all. */
  readonly region: string;
  readonly zone: string;
}

export const REGION_LABEL = 'topology.kubernetes.io/region';
export const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** Kubernetes 1.35 puts them on every Pod; before, whoever makes the Pod may. @returns `undefined` without any. */
export function localityOf(labels: ReadonlyMap<string, string>): Locality | undefined {
  const region = labels.get(REGION_LABEL) ?? '';
  const zone = labels.get(ZONE_LABEL) ?? '';
  return region === '' && zone === '' ? undefined : { region, zone };
}

/** 2: the same zone; 1: the same region; 0: elsewhere, or nobody knows. */
export function nearness(a: Locality | undefined, b: Locality | undefined): 0 | 1 | 2 {
  if (a === undefined || b === undefined || a.region !== b.region) return 0;
  if (a.zone !== '' && a.zone === b.zone) return 2;
  return a.region === '' ? 0 : 1;
}
