// Measures the floor of a proxy in Node: two processes that pass bytes on between TLS and TCP unread, beside Weft's pair and Envoy's.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { splitAddress } from '../support/lab-clients.ts';
import { cpuUsOf } from './accounting.ts';
import { openMesh } from './dataplane-mesh.ts';
import { type Effort, jobOf } from './dataplane-rounds.ts';
import type { RelayOrder } from './floor-relay.ts';
import { credentialOf, type Identities } from './identities.ts';
import { nextMessage, startApp, startChild, startLoadGenerator } from './load/processes.ts';
import type { Pair } from './peers/pairs.ts';
import { CALLED, CALLER } from './policies.ts';
import { ratioText, type Row, spread, table } from './report.ts';
import { HTTP1_SCENARIOS, TWO_POLICIES } from './scenarios-http1.ts';
import { ratioOf, type Summary, summarize } from './statistics.ts';

const NAMES = ['relay', 'weft', 'envoy'] as const;
type FloorName = (typeof NAMES)[number];
type Peer = Pick<Pair, 'front' | 'inbound' | 'pids'>;

export interface FloorResult {
  readonly rounds: number;
  readonly leftOut: readonly string[];
  readonly costs: readonly {
    readonly scenario: string;
    /** CPU µs a request, of both processes together. */
    readonly byPeer: Readonly<Partial<Record<FloorName, Summary>>>;
  }[];
}

const START_MS = 10_000;
/** Time for code to be compiled: full speed comes late where requests are few. */
const WARM_UP_MS = 2_000;
const MEASURED = HTTP1_SCENARIOS.filter(
  ({ isQuick, load }) => isQuick === true && load.rate === undefined,
);

export async function measureFloor(
  effort: Effort,
  progress: (what: string) => void,
): Promise<FloorResult> {
  await using stack = new AsyncDisposableStack();
  const opened = await openMesh(stack, TWO_POLICIES, {
    pairs: ['weft', 'envoy'],
    whyNoRedirect: 'the floor is measured where the benchmark runs',
  });
  if (!opened.ok) throw new Error(`Cannot measure the floor: ${opened.reason}`);
  const { identities, leftOut, pairs } = opened.mesh;
  const peers = new Map<FloorName, Peer>([['relay', await startRelayPair(stack, identities)]]);
  for (const pair of pairs) {
    if (pair.name === 'weft' || pair.name === 'envoy') peers.set(pair.name, pair);
  }
  const generator = stack.use(await startLoadGenerator());
  const costs: FloorResult['costs'][number][] = [];
  for (const scenario of MEASURED) {
    progress(scenario.name);
    const cpuOf = async (peer: Peer, durationMs: number): Promise<number> => {
      const before = cpuUsOf(peer.pids);
      const done = await generator.run(jobOf({ scenario, identities }, peer, durationMs));
      const { requests, failures, firstFailure } = done;
      assert.ok(requests > 0 && failures === 0, `${failures} failed: ${firstFailure ?? 'none'}`);
      return (cpuUsOf(peer.pids) - before) / requests;
    };
    costs.push({ scenario: scenario.name, byPeer: await measurePeers(peers, effort, cpuOf) });
  }
  return { rounds: effort.rounds, leftOut, costs };
}

async function measurePeers(
  peers: ReadonlyMap<FloorName, Peer>,
  { rounds, roundMs }: Effort,
  cpuOf: (peer: Peer, durationMs: number) => Promise<number>,
): Promise<Partial<Record<FloorName, Summary>>> {
  const samples = new Map<FloorName, number[]>();
  for (const [name, peer] of peers) {
    await cpuOf(peer, WARM_UP_MS);
    samples.set(name, []);
  }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [...peers] : [...peers].toReversed();
    for (const [name, peer] of order) samples.get(name)?.push(await cpuOf(peer, roundMs));
  }
  const byPeer: Partial<Record<FloorName, Summary>> = {};
  for (const [name, own] of samples) byPeer[name] = summarize(own);
  return byPeer;
}

async function startRelayPair(stack: AsyncDisposableStack, identities: Identities): Promise<Peer> {
  const { address } = stack.use(await startApp());
  const start = async (account: string, order: Pick<RelayOrder, 'half' | 'to'>) => {
    const child = stack.use(startChild(fileURLToPath(new URL('floor-relay.ts', import.meta.url))));
    await nextMessage(child, START_MS);
    const { keyPem, chainPem } = credentialOf(identities, account);
    child.send({ ...order, keyPem, chainPem, bundlePem: identities.bundlePem });
    const listening = await nextMessage(child, START_MS);
    const { pid } = child;
    assert.ok(typeof listening === 'object' && listening !== null && pid !== undefined);
    assert.ok('port' in listening && typeof listening.port === 'number');
    return { pid, endpoint: { host: '127.0.0.1', port: listening.port } };
  };
  const called = await start(CALLED, { half: 'called', to: splitAddress(address) });
  const caller = await start(CALLER, { half: 'caller', to: called.endpoint });
  return { front: caller.endpoint, inbound: called.endpoint, pids: [caller.pid, called.pid] };
}

export function floorText({ rounds, leftOut, costs }: FloorResult): string {
  const rows = costs.map(({ scenario, byPeer }): Row => {
    const { relay, weft, envoy } = byPeer;
    const ratio = (ours: Summary | undefined, theirs: Summary | undefined): string =>
      ours === undefined || theirs === undefined ? '' : ratioText(ratioOf(ours, theirs));
    const figures = NAMES.map((name) => byPeer[name]).map((one) => one && spread(one));
    return [
      scenario,
      ...figures.map((text) => text ?? ''),
      ratio(weft, relay),
      ratio(relay, envoy),
      ratio(weft, envoy),
    ];
  });
  const head = ['', ...NAMES, 'weft / relay', 'relay / envoy', 'weft / envoy'];
  return [
    'Floor: two Node processes that pass bytes on between TLS and TCP unread, without policies, pools or metrics',
    ...leftOut.map((reason) => `Left out: ${reason}`),
    `CPU µs a request of both processes, median of ${rounds} rounds (lowest–highest)`,
    '',
    table(head, rows),
  ].join('\n');
}
