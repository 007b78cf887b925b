// What the memory benchmark says: between its own processes, on the terminal and in the JSON.
import type { ProxyName } from './memory-proxies.ts';
import type { Summary } from './statistics.ts';

export interface MemoryPlan {
  /** Proxies of the run with many. */
  readonly many: number;
  readonly connections: readonly number[];
  readonly meshes: readonly number[];
  /** Proxies in each mesh, one after the other. */
  readonly starts: number;
  readonly soakMinutes: number;
  /** Leaves Envoy out. */
  readonly whyNoEnvoy?: string;
}

/** Of proxies of one kind in one state. */
export interface StateFigures {
  readonly state: string;
  readonly proxy: ProxyName;
  readonly residentMb: Summary;
  /** Pages that nobody shares: what one more such process costs. */
  readonly privateMb: Summary;
  /** Of them those that were written: without the program's own, which a lone process has to itself. */
  readonly dirtyMb: Summary;
  /** Shared pages counted by their share. */
  readonly proportionalMb: Summary;
  /** Received from the control plane since its start; TLS and all. */
  readonly configKb: Summary | undefined;
  /** Above the same proxy before, for each connection. */
  readonly kbPerConnection?: number;
}

export interface Slope {
  readonly proxy: ProxyName;
  readonly minutes: number;
  readonly requests: number;
  readonly firstPrivateMb: number;
  readonly lastPrivateMb: number;
  /** Least squares over the second half: what is left when it has warmed up; absent when that is too short. */
  readonly mbPerHour?: number;
}

export interface MemoryResult {
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly checks: readonly string[];
  readonly states: readonly StateFigures[];
  readonly soak: readonly Slope[];
}

export type MemoryWord =
  | { readonly kind: 'progress'; readonly what: string }
  | { readonly kind: 'result'; readonly result: MemoryResult };

/** Slope of least squares, per unit of x; no number for fewer than two points. */
export function slopeOf(points: readonly { readonly x: number; readonly y: number }[]): number {
  const count = points.length;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / count;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / count;
  let products = 0;
  let squares = 0;
  for (const { x, y } of points) {
    products += (x - meanX) * (y - meanY);
    squares += (x - meanX) ** 2;
  }
  return products / squares;
}
