// Gives the system back what starting took: garbage, half-empty pages, and compiled code that has run for the last time.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** The first with the flags and the kind of collection as they are used here. */
const FIRST_NODE = 26;
/** 500 ms: the first configuration is in force, and a kubelet has yet to ask whether the Pod is ready. */
const SETTLE_MS = 500;

/**
 * Before the modules of a bundle are loaded: they are one function of a megabyte that runs once, and machine code for it
 * (the baseline compiler's, 0.6 MB) would be kept for as long as the process lives. `giveBackStartMemory()` ends this.
 */
export function startWithoutBaselineCode(): void {
  if (Number.parseInt(process.versions.node, 10) < FIRST_NODE) return;
  setFlagsFromString('--no-sparkplug');
}

/** Once, some time after the start; it stops the process for 30 to 60 ms. */
export function giveBackStartMemorySoon(): void {
  setTimeout(giveBackStartMemory, SETTLE_MS).unref();
}

/**
 * A quarter of what an idle sidecar has written is garbage of its start, or code that is not called again. V8 by itself
 * collects that when the heap has grown by half, which an idle one's does not. Code that is called again after all is
 * compiled again, from its text.
 */
export function giveBackStartMemory(): void {
  if (Number.parseInt(process.versions.node, 10) < FIRST_NODE) return;
  setFlagsFromString('--expose-gc');
  const collect: NodeJS.GCFunction = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  setFlagsFromString('--stress-flush-code');
  collect({ flavor: 'last-resort' });
  setFlagsFromString('--no-stress-flush-code');
  setFlagsFromString('--sparkplug');
}
