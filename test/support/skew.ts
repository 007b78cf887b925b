// Labs in which one side speaks with the wire files of the release before (`test/skew/previous`).
import { fileURLToPath } from 'node:url';

const PREVIOUS_WIRE = new URL('../skew/previous-wire.ts', import.meta.url).href;

/** Of a `weft` process of the release before, as far as its wire files go. */
export const PREVIOUS = { NODE_OPTIONS: `--import ${PREVIOUS_WIRE}` } as const;

export const PREVIOUS_PROTOS = fileURLToPath(new URL('../skew/previous', import.meta.url));

/** @returns why a process cannot be of the release before. Bundles hold their wire files, and cannot be told others. */
export const skewMissing = (): string | false =>
  process.env['WEFT_TEST_BUNDLES'] !== undefined && 'bundles hold the wire files of today';
