// Reads what a proxy says of its credentials: what it holds, what is in force there, whom it gave them to. A peer's word, so bounded.
import { MAX_CREDENTIALS } from '@weft/model/credentials/types';
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';

export interface HandOver {
  readonly name: string;
  readonly version: string;
  readonly way: string;
  readonly receiver: string;
  readonly count: number;
}

export interface WatchRequest {
  readonly nodeId: string;
  /** Versions by name. */
  readonly held: ReadonlyMap<string, string>;
  readonly inForce: ReadonlyMap<string, string>;
  readonly handOvers: readonly HandOver[];
}

const MAX_HAND_OVERS = 256;
const MAX_NAME = 63;
const MAX_VERSION = 128;
const MAX_RECEIVER = 256;
const MAX_NODE_ID = 512;
const WAYS: ReadonlyMap<string, string> = new Map([
  ['WAY_INJECTED', 'inject'],
  ['WAY_URL', 'url'],
  ['WAY_FILES', 'files'],
]);

export function readWatchRequest(message: PlainMessage): WatchRequest {
  return {
    nodeId: textOf(message, 'node_id').slice(0, MAX_NODE_ID),
    held: versionsOf(message, 'held'),
    inForce: versionsOf(message, 'in_force'),
    handOvers: messagesOf(message, 'hand_overs').slice(0, MAX_HAND_OVERS).map(readHandOver),
  };
}

const versionsOf = (message: PlainMessage, field: string): ReadonlyMap<string, string> =>
  new Map(
    messagesOf(message, field)
      .slice(0, MAX_CREDENTIALS)
      .map((one) => [
        textOf(one, 'name').slice(0, MAX_NAME),
        textOf(one, 'version').slice(0, MAX_VERSION),
      ]),
  );

function readHandOver(message: PlainMessage): HandOver {
  const count = message['count'];
  return {
    name: textOf(message, 'name').slice(0, MAX_NAME),
    version: textOf(message, 'version').slice(0, MAX_VERSION),
    way: WAYS.get(textOf(message, 'way')) ?? 'unknown',
    receiver: textOf(message, 'receiver').slice(0, MAX_RECEIVER),
    count: typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? count : 1,
  };
}
