// Holds every kind of pair: what it needs to know of the mesh, how it is started, and why it is left out.
import type { Lab } from '../../support/lab.ts';
import { modeYaml } from '../../support/lab-manifests.ts';
import type { Identities } from '../identities.ts';
import { type BenchTokens, methodsOf, policyFilesOf } from '../mesh-policies.ts';
import { CALLED, POLICY } from '../policies.ts';
import type { MeshSpec } from '../scenario.ts';
import { findEnvoy } from './envoy-binary.ts';
import { rulesOf } from './envoy-config.ts';
import { startHaproxyPair } from './haproxy.ts';
import { ENVOY_CALLED, startMeshEnvoyPair, writeEnvoyPods } from './mesh-envoys.ts';
import { noProxy, type Pair, type PairName, startEnvoyPair, startWeftPair } from './pairs.ts';

export interface Place {
  readonly lab: Lab;
  readonly identities: Identities;
  readonly tokens: BenchTokens;
  readonly appAddress: string;
  readonly mesh: MeshSpec;
  /** Why connections to Pods are not redirected here; absent where they are. */
  readonly whyNoRedirect: string | undefined;
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

async function writePolicies({ lab, mesh, tokens }: Place, workload: string): Promise<void> {
  for (const [at, documents] of policyFilesOf(mesh, workload, tokens).entries()) {
    await lab.write(`policies-${workload}-${at}.yaml`, ...documents);
  }
}

const weft: PeerKind = {
  name: 'weft',
  async manifests(place) {
    await place.lab.write('mode.yaml', modeYaml('STRICT'));
    await writePolicies(place, CALLED);
  },
  async start({ lab, appAddress, mesh }) {
    const pair = await startWeftPair({ lab, appAddress, portName: mesh.port });
    return { ok: true, pair, about: 'Weft, enrolled with and configured by its control plane' };
  },
};

const isHttp2 = ({ app }: MeshSpec): boolean => app === 'h2c' || app === 'grpc';

const envoy: PeerKind = {
  name: 'envoy',
  async manifests(place) {
    if (place.whyNoRedirect !== undefined) return;
    await writeEnvoyPods(place);
    await writePolicies(place, ENVOY_CALLED);
  },
  async start(place) {
    const found = await findEnvoy();
    if (!found.ok) return found;
    const { lab, identities, appAddress, mesh, whyNoRedirect: why } = place;
    const about = `Envoy ${found.version}, one worker`;
    if (why === undefined) {
      const pair = await startMeshEnvoyPair(place, found.path);
      return { ok: true, pair, about: `${about}, by delta xDS from Weft's control plane` };
    }
    const isPlain = mesh.isJwtRequired !== true && mesh.traffic === undefined;
    if (mesh.app === 'tcp' || mesh.rules !== 'two' || !isPlain) {
      return {
        ok: false,
        reason: `it cannot be configured by Weft's control plane: ${why}`,
      };
    }
    const own = { binary: found.path, folder: lab.root };
    const pair = await startEnvoyPair({
      ...own,
      identities,
      appAddress,
      rules: rulesOf({ ...POLICY, methods: methodsOf(mesh.app) }),
      isHttp2: isHttp2(mesh),
    });
    return { ok: true, pair, about: `${about}, static configuration, because ${why}` };
  },
};

const haproxy: PeerKind = { name: 'haproxy', start: startHaproxyPair };

const direct: PeerKind = {
  name: 'direct',
  start: ({ appAddress }) =>
    Promise.resolve({ ok: true, pair: noProxy(appAddress), about: 'no proxy' }),
};

export const PEER_KINDS: readonly PeerKind[] = [weft, envoy, haproxy, direct];
