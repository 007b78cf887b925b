// Tells changes that may take something from somebody from those that only add: the first never wait behind churn.
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { type Difference, differences } from '../registry/persistent-map.ts';

/**
 * The rule: whatever restricts (policies, what the mesh and namespaces say) narrows, and so does anything that goes or
 * becomes other than it was, for an endpoint that is called no more may be one that must not be called any more. Only
 * what is new and restricts nothing can wait: a Pod, a Service, a slice that were not there.
 */
export function isNarrowing(before: Snapshot, after: Snapshot): boolean {
  for (const difference of differences(before.objects, after.objects)) {
    if (narrows(difference)) return true;
  }
  return false;
}

function narrows({ before, after }: Difference<RegistryObject>): boolean {
  if (before !== undefined || after === undefined) return true;
  switch (after.kind) {
    case 'Pod':
    case 'Service':
    case 'EndpointSlice':
    case 'ServiceAccount':
      return false;
    default:
      return true;
  }
}
