// Sets up everything that scenarios of one mesh need: a lab with policies, an application, and each pair that can serve it, verified.
import { NAMESPACE } from '../support/lab-manifests.ts';
import { openLab } from '../support/lab.ts';
import { type Memory, memoryOf } from './accounting.ts';
import { type Identities, issueIdentities } from './identities.ts';
import { startAppNamed } from './load/apps.ts';
import { issueTokens } from './mesh-policies.ts';
import { PEER_KINDS, type PeerKind, type Place } from './peers/kinds.ts';
import type { Pair, PairName } from './peers/pairs.ts';
import { CALLED, CALLER, STRANGER } from './policies.ts';
import type { MeshSpec } from './scenario.ts';
import { verifyMeshPair } from './verify-mesh.ts';
import type { Verified } from './verify-pair.ts';

export interface PairMemory {
  readonly pair: PairName;
  /** Of the mesh. */
  readonly mesh: string;
  readonly when: 'idle' | 'after load';
  /** Caller's proxy, then the called one's. */
  readonly proxies: readonly Memory[];
}

/** Everything in it ends with the stack that it was opened on. */
export interface BenchMesh {
  readonly spec: MeshSpec;
  readonly identities: Identities;
  /** Of every request: the token, where one is needed. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly pairs: readonly Pair[];
  readonly leftOut: readonly string[];
  readonly peers: readonly string[];
  readonly verified: readonly Verified[];
}

export type OpenedMesh =
  | { readonly ok: true; readonly mesh: BenchMesh }
  | { readonly ok: false; readonly reason: string };

export async function openMesh(
  stack: AsyncDisposableStack,
  spec: MeshSpec,
  how: {
    readonly pairs?: readonly PairName[];
    readonly whyNoRedirect?: string;
    readonly whyNoEnvoy?: string;
  },
): Promise<OpenedMesh> {
  const started = await startAppNamed(spec.app);
  if (!started.ok) return started;
  const { address: appAddress } = stack.use(started.app);
  const lab = stack.use(await openLab());
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: [CALLER, CALLED, STRANGER],
  });
  const kinds: readonly PeerKind[] = PEER_KINDS.filter(
    ({ name }) =>
      (how.pairs?.includes(name) ?? true) && (name !== 'envoy' || how.whyNoEnvoy === undefined),
  );
  const tokens = issueTokens();
  const { whyNoRedirect } = how;
  const place: Place = { lab, identities, tokens, appAddress, mesh: spec, whyNoRedirect };
  const headers = spec.isJwtRequired ? { authorization: `Bearer ${tokens.valid}` } : undefined;
  for (const { manifests } of kinds) await manifests?.(place);
  await lab.startControlPlane();
  const pairs: Pair[] = [];
  const leftOut: string[] = [];
  const peers: string[] = [];
  const verified: Verified[] = [];
  for (const kind of kinds) {
    const made = await kind.start(place);
    if (!made.ok) {
      leftOut.push(`${kind.name}, ${spec.name}: ${made.reason}`);
      continue;
    }
    pairs.push(stack.use(made.pair));
    peers.push(made.about);
    verified.push(
      await verifyMeshPair(made.pair, { identities, folder: lab.root, mesh: spec, tokens }),
    );
  }
  return {
    ok: true,
    mesh: { spec, identities, headers, pairs, leftOut, peers, verified },
  };
}

export const memoryOfAll = (
  { pairs, spec }: BenchMesh,
  when: PairMemory['when'],
): readonly PairMemory[] =>
  pairs
    .filter(({ pids }) => pids.length > 0)
    .map(({ name, pids }) => ({ pair: name, mesh: spec.name, when, proxies: pids.map(memoryOf) }));
