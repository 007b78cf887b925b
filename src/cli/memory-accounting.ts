// Decides when V8 collects garbage in processes that relay bytes, where most memory is behind received bytes.
import v8 from 'node:v8';

/** The first with the flags as they are used here; an older V8 would complain of them. */
const FIRST_NODE = 26;

/**
 * For processes that relay bytes. Node gives what a TLS socket read in an ArrayBuffer of 64 KiB, however little it was, and
 * a request makes little other garbage. By itself V8 collects all garbage for them, at one busy connection 20 times a
 * second. Counted with the heap as a whole they wait for the young generation to be collected. That is cheap but comes
 * when it is full, so it must not grow: at 16 MB thousands of them gather (docs/benchmarks.md has the figures).
 *
 * All garbage is collected when the heap, or what it holds outside, has grown by a factor since the last time, and V8's own
 * factors are near 1 for a heap so small: a busy minute of a proxy adds and drops more than that within one young
 * generation. With those below, 10 MB bodies, which gave up to half of their CPU to it, are collected hardly ever
 * (`npm run bench:dataplane -- --only '10 MB'`).
 */
export function countReceivedBytesWithHeap(): void {
  if (Number.parseInt(process.versions.node, 10) < FIRST_NODE) return;
  v8.setFlagsFromString('--external-memory-accounted-in-global-limit');
  v8.setFlagsFromString('--semi-space-growth-factor=1');
  v8.setFlagsFromString('--heap-growing-percent=300');
  v8.setFlagsFromString('--external-memory-max-growing-factor=10');
}
