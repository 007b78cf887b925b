// Many fake proxies in one process of their own: connects them, and tells when all have acknowledged what is expected.
import { createHash } from 'node:crypto';
import { parseSpiffeId } from '@weft/model/identity';
import { splitAddress } from '../../support/lab-clients.ts';
import { FleetProxy } from './fleet-proxy.ts';
import { type Expected, type FromFleet, monotonicMs, type ToFleet } from './messages.ts';

/** Handshakes under way at once. */
const CONNECT_AT_ONCE = 25;

type Connect = Extract<ToFleet, { kind: 'connect' }>;

const tell = (message: FromFleet): void => void process.send?.(message);

/** Those that are yet to acknowledge, by text. */
interface Expectation {
  readonly marker: Buffer;
  readonly acknowledgements: number;
  readonly nodes: Set<string>;
}

const proxies = new Map<string, FleetProxy>();
let told: Connect | undefined;
let expectations: Expectation[] = [];
let firstAtMs: number | undefined;
/** Of connections that are closed. */
const past = { receivedBytes: 0, sentBytes: 0, responses: 0 };

function expect(expected: readonly Expected[]): void {
  firstAtMs = undefined;
  expectations = expected.map(({ marker, acknowledgements }) => ({
    marker: Buffer.from(marker),
    acknowledgements,
    nodes: new Set(),
  }));
  tell({ kind: 'expecting' });
}

function noteAcknowledged(node: string, response: Buffer): void {
  for (const { marker, nodes } of expectations) {
    if (!response.includes(marker)) continue;
    firstAtMs ??= monotonicMs();
    nodes.add(node);
  }
  if (firstAtMs === undefined || expectations.length === 0) return;
  expectations = expectations.filter(
    ({ nodes, acknowledgements }) => nodes.size < acknowledgements,
  );
  if (expectations.length > 0) return;
  tell({ kind: 'acknowledged', firstAtMs, lastAtMs: monotonicMs() });
}

async function connectAll(message: Connect, atOnce: number): Promise<void> {
  const { members, xds, bundlePem, variant = 'delta' } = message;
  const controlPlaneId = parseSpiffeId(message.controlPlaneId);
  if (controlPlaneId === undefined) throw new TypeError('Cannot connect: no control plane id');
  told = message;
  const queue = [...members];
  const connectNext = async (): Promise<void> => {
    for (let member = queue.pop(); member !== undefined; member = queue.pop()) {
      const { node } = member;
      const proxy = new FleetProxy({
        ...splitAddress(xds),
        bundlePem,
        controlPlaneId,
        member,
        variant,
        onAcknowledged: (response) => noteAcknowledged(node, response),
        onLost: (reason) => tell({ kind: 'lost', reason: `${node}: ${reason}` }),
      });
      proxies.set(node, proxy);
      await proxy.configured;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, connectNext));
}

async function disconnectAll(): Promise<void> {
  const closed = [...proxies.values()];
  proxies.clear();
  await Promise.all(closed.map((proxy) => proxy.close()));
  for (const { receivedBytes, sentBytes, responses } of closed) {
    past.receivedBytes += receivedBytes;
    past.sentBytes += sentBytes;
    past.responses += responses;
  }
}

async function reconnectAll(): Promise<void> {
  if (told === undefined) throw new TypeError('Cannot connect again: never connected');
  const startedAtMs = monotonicMs();
  await connectAll(told, told.members.length);
  tell({ kind: 'reconnected', startedAtMs, lastAtMs: monotonicMs() });
}

function tellAccount(): void {
  const account = { ...past, resources: 0 };
  const digest = createHash('sha256');
  for (const [node, proxy] of [...proxies].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    account.receivedBytes += proxy.receivedBytes;
    account.sentBytes += proxy.sentBytes;
    account.responses += proxy.responses;
    account.resources += proxy.held.size;
    const held = [...proxy.held].map(([name, hash]) => `${name} ${hash}`).toSorted();
    digest.update(`${node}\n${held.join('\n')}\n`);
  }
  tell({ kind: 'account', ...account, digest: digest.digest('hex') });
}

async function obey(message: ToFleet): Promise<void> {
  switch (message.kind) {
    case 'connect':
      await connectAll(message, message.atOnce ?? CONNECT_AT_ONCE);
      return tell({ kind: 'connected' });
    case 'expect':
      return expect([{ marker: message.marker, acknowledgements: proxies.size }]);
    case 'expect-all':
      return expect(message.expected);
    case 'disconnect':
      await disconnectAll();
      return tell({ kind: 'disconnected' });
    case 'reconnect':
      return reconnectAll();
    case 'tell':
      return tellAccount();
    default:
      return message satisfies never;
  }
}

if (import.meta.main) {
  process.on('message', (message: ToFleet) => {
    obey(message).catch((error: unknown) => tell({ kind: 'lost', reason: String(error) }));
  });
  process.on('disconnect', () => process.exit(0));
  tell({ kind: 'started' });
}
