// Many fake proxies in one process of their own: connects them, and tells when all have acknowledged what is expected.
import { parseSpiffeId } from '@weft/model/identity';
import { splitAddress } from '../../support/lab-clients.ts';
import { FleetProxy } from './fleet-proxy.ts';
import { type FromFleet, monotonicMs, type ToFleet } from './messages.ts';

/** Handshakes under way at once. */
const CONNECT_AT_ONCE = 25;

const tell = (message: FromFleet): void => void process.send?.(message);

let size = 0;
let marker: Buffer | undefined;
let firstAtMs = 0;
const acknowledged = new Set<string>();

function noteListener(node: string, response: Buffer): void {
  if (marker === undefined || !response.includes(marker)) return;
  const nowMs = monotonicMs();
  if (acknowledged.size === 0) firstAtMs = nowMs;
  acknowledged.add(node);
  if (acknowledged.size < size) return;
  marker = undefined;
  tell({ kind: 'acknowledged', firstAtMs, lastAtMs: nowMs });
}

async function connectAll(message: Extract<ToFleet, { kind: 'connect' }>): Promise<void> {
  const { members, xds, bundlePem } = message;
  const controlPlaneId = parseSpiffeId(message.controlPlaneId);
  if (controlPlaneId === undefined) throw new TypeError('Cannot connect: no control plane id');
  size = members.length;
  const queue = [...members];
  const connectNext = async (): Promise<void> => {
    for (let member = queue.pop(); member !== undefined; member = queue.pop()) {
      const { node } = member;
      const proxy = new FleetProxy({
        ...splitAddress(xds),
        bundlePem,
        controlPlaneId,
        member,
        onListener: (response) => noteListener(node, response),
        onLost: (reason) => tell({ kind: 'lost', reason: `${node}: ${reason}` }),
      });
      await proxy.configured;
    }
  };
  await Promise.all(Array.from({ length: CONNECT_AT_ONCE }, connectNext));
  tell({ kind: 'connected' });
}

if (import.meta.main) {
  process.on('message', (message: ToFleet) => {
    if (message.kind === 'connect') {
      connectAll(message).catch((error: unknown) => tell({ kind: 'lost', reason: String(error) }));
      return;
    }
    acknowledged.clear();
    marker = Buffer.from(message.marker);
    tell({ kind: 'expecting' });
  });
  process.on('disconnect', () => process.exit(0));
  tell({ kind: 'started' });
}
