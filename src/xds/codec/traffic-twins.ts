// What Envoys are told in place of Weft's own traffic filters: Envoy's filters, as far as they can say the same.
import type { PlainMessage } from '../registry.ts';
import type { HttpFilter } from '../resources/listener.ts';

export interface TwinFilter {
  readonly name: string;
  readonly typeName: string;
  readonly config: PlainMessage;
}

/** Empty where Envoy has nothing that says it: docs/traffic-limits.md has the table. */
export function twinsOf(_filter: HttpFilter): readonly TwinFilter[] {
  return [];
}
