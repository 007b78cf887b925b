// Labs in which one side speaks with the wire files of the release before (`test/skew/previous`).
import { fileURLToPath } from 'node:url';

const PREVIOUS_WIRE = new URL('../skew/previous-wire.ts', import.meta.url).href;

/** Of a `weft` process of the release before, as far as its wire files go. */
export const PREVIOUS = { NODE_OPTIONS: `--import ${PREVIOUS_WIRE}` } as const;

export const PREVIOUS_PROTOS = fileURLToPath(new URL('../skew/previous', import.meta.url));
