// Holds every kind of pair: what it needs to know of the mesh, how it is started, and why it is left out.
import type { Lab } from '../../support/lab.ts';
import type { Identities } from '../identities.ts';
import { policyManifests } from '../policies.ts';
import type { MeshSpec } from '../scenario.ts';
import { findEnvoy } from './envoy-binary.ts';
import { noProxy, type Pair, type PairName, startEnvoyPair, startWeftPair } from './pairs.ts';

export interface Place {
  readonly lab: Lab;
  readonly identities: Identities;
  readonly appAddress: string;
  readonly mesh: MeshSpec;
}

export type MadePair =
  | {
      readonly ok: true;
      readonly pair: Pair;
      /** For the report: product, version, how it is configured, and what it does not check. */
      readonly about: string;
    }
  | { readonly ok: false; readonly reason: string };

export interface PeerKind {
  readonly name: PairName;
  /** Writes what the control plane must know before it is started. */
  readonly manifests?: (place: Place) => Promise<void>;
  readonly start: (place: Place) => Promise<MadePair>;
}

const weft: PeerKind = {
  name: 'weft',
  async manifests({ lab }) {
    await lab.write('policies.yaml', ...policyManifests());
  },
  async start({ lab, appAddress, mesh }) {
    const pair = await startWeftPair({ lab, appAddress, portName: mesh.port });
    return { ok: true, pair, about: 'Weft, enrolled with and configured by its control plane' };
  },
};

const envoy: PeerKind = {
  name: 'envoy',
  async start({ lab, identities, appAddress, mesh }) {
    if (mesh.app !== 'http1') return { ok: false, reason: `${mesh.app} is not set up here yet` };
    const found = await findEnvoy();
    if (!found.ok) return found;
    const own = { binary: found.path, folder: lab.root };
    const pair = await startEnvoyPair({ ...own, identities, appAddress });
    return { ok: true, pair, about: `Envoy ${found.version}, one worker, static configuration` };
  },
};

const direct: PeerKind = {
  name: 'direct',
  start: ({ appAddress }) =>
    Promise.resolve({ ok: true, pair: noProxy(appAddress), about: 'no proxy' }),
};

export const PEER_KINDS: readonly PeerKind[] = [weft, envoy, direct];
