// Measures what the control plane keeps of a large cluster, how long it reads it, and what one change costs then.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { table } from './report.ts';

export interface RegistryFigures {
  readonly pods: number;
  readonly services: number;
  readonly objects: number;
  readonly pages: number;
  /** JSON that the API server sends until all is read. */
  readonly sentMb: number;
  /** Until the first snapshot; with the JSON of both sides, without a network. */
  readonly firstMs: number;
  /** Live after a full collection, more than before reading. */
  readonly heapMb: number;
  readonly residentMb: number;
  readonly residentBeforeMb: number;
  /** Median, of one changed Pod until the next snapshot is told. */
  readonly changeCpuMs: number;
}

const READER = fileURLToPath(new URL('registry/reader-process.ts', import.meta.url));

export async function measureRegistry(
  sizes: readonly { readonly pods: number; readonly services: number }[],
  progress: (what: string) => void,
): Promise<readonly RegistryFigures[]> {
  const figures: RegistryFigures[] = [];
  for (const { pods, services } of sizes) {
    progress(`a cluster of ${pods} Pods and ${services} Services`);
    const args = ['--expose-gc', READER, String(pods), String(services)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    figures.push(JSON.parse(stdout) as RegistryFigures);
  }
  return figures;
}

export function registryText(all: readonly RegistryFigures[]): string {
  const head = [
    'Pods',
    'Services',
    'sent MiB',
    'read ms',
    'heap MiB',
    'KiB/Pod',
    'RSS MiB (before)',
    'CPU ms/change',
  ];
  const rows = all.map((one) => [
    String(one.pods),
    String(one.services),
    one.sentMb.toFixed(0),
    one.firstMs.toFixed(0),
    one.heapMb.toFixed(1),
    ((one.heapMb * 1_024) / one.pods).toFixed(2),
    `${one.residentMb.toFixed(0)} (${one.residentBeforeMb.toFixed(0)})`,
    one.changeCpuMs.toFixed(2),
  ]);
  return `Registry: a cluster read whole, and one Pod of it changed\n\n${table(head, rows)}`;
}
