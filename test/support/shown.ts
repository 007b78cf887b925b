// By which a test says what it has just shown of a data plane; docs/data-planes.md is made of it.
import { appendFileSync } from 'node:fs';
import type { Capability, Plane } from '../data-planes/rows.ts';

/**
 * As the last statement of a test: whoever comes there has shown it. Nothing is kept but in a run of all tests. Where
 * these run with another Envoy, WEFT_SHOWN_ENVOY says as what it counts.
 */
export function shown(plane: Plane, ...capabilities: readonly Capability[]): void {
  const file = process.env['WEFT_SHOWN_FILE'];
  if (file === undefined) return;
  const named = plane === 'envoy' ? (process.env['WEFT_SHOWN_ENVOY'] ?? plane) : plane;
  appendFileSync(file, capabilities.map((capability) => `${named} ${capability}\n`).join(''));
}
