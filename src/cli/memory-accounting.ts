// Decides how V8 counts the memory behind received bytes when it plans the next full garbage collection.
import v8 from 'node:v8';

/** The first with the flag as it is used here; an older V8 would complain of it. */
const FIRST_NODE = 26;

/**
 * For processes that relay bytes. Node gives what a TLS socket read in an ArrayBuffer of 64 KiB, however little it was. A
 * request makes little other garbage, so thousands of them gather before the young generation is full, and V8 collects
 * all garbage instead, at one busy connection 20 times a second. Counted with the heap as a whole they are let be for
 * longer (`npm run bench:dataplane` shows CPU and p99).
 */
export function countReceivedBytesWithHeap(): void {
  if (Number.parseInt(process.versions.node, 10) < FIRST_NODE) return;
  v8.setFlagsFromString('--external-memory-accounted-in-global-limit');
}
