// A cluster in memory, a source that follows it, and a clock that only a test turns.
import type { TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeObject } from '@weft/kube/kube-api';
import { resource } from '@weft/kube/resource';
import { createScriptedApi, type ScriptedApi } from '@weft/kube/testing/scripted-api';
import { FOLLOWED_KINDS } from './followed-kinds.ts';
import {
  type KubernetesSource,
  type KubernetesSourceOptions,
  openKubernetesSource,
} from './kubernetes-source.ts';

export const ISTIO = resource(
  'security.istio.io/v1',
  'AuthorizationPolicy',
  'authorizationpolicies',
  'namespaced',
);
export const ISTIO_BETA = { ...ISTIO, version: 'v1beta1' };
export const ROUTES = resource(
  'gateway.networking.k8s.io/v1',
  'HTTPRoute',
  'httproutes',
  'namespaced',
);
export const P = 'AuthorizationPolicy/shop/p';
const DEADLINE_MS = 5_000;
export const SETTLE_MS = 10;

export const object = (name: string, more: object = {}, metadata: object = {}): KubeObject => ({
  metadata: { name, namespace: 'shop', generation: 1, ...metadata },
  ...more,
});
export const policy = (spec: object, metadata: object = {}): KubeObject =>
  object('p', { spec }, metadata);
export const ALLOW = { rules: [{}] };
export const DENY = { action: 'DENY', rules: [{}] };
export const BROKEN = { rulez: [] };

export interface Rig {
  readonly api: ScriptedApi;
  readonly clock: TurnableClock;
  readonly source: KubernetesSource;
  /** Turns the clock, a little at a time, until it holds. */
  readonly until: (what: string, holds: () => boolean) => Promise<void>;
  readonly show: (key?: string) => string;
  readonly codes: () => readonly string[];
}

export function turner(clock: TurnableClock, stepMs: number) {
  return async (what: string, holds: () => boolean): Promise<void> => {
    const endMs = Date.now() + DEADLINE_MS;
    while (!holds()) {
      if (Date.now() > endMs) throw new Error(`Cannot see that ${what}`);
      await nextTurn();
      clock.turn(stepMs);
    }
  };
}

export function apiWithout(...missing: readonly (typeof ISTIO)[]): ScriptedApi {
  const api = createScriptedApi();
  for (const each of missing) api.unserve(each);
  return api;
}

export async function open(
  t: TestContext,
  api: ScriptedApi,
  more: Partial<KubernetesSourceOptions> = {},
): Promise<Rig> {
  const clock = createTurnableClock();
  const source = await openKubernetesSource({
    client: api.client,
    rootNamespace: 'weft-system',
    clock,
    random: () => 1,
    settleMs: SETTLE_MS,
    ...more,
  });
  t.after(() => source[Symbol.asyncDispose]());
  const until = turner(clock, SETTLE_MS);
  const show = (key = P): string => {
    const found = source.state.snapshot.objects.get(key);
    if (found?.kind === 'AuthorizationPolicy') return found.policy.action;
    return found?.kind ?? 'none';
  };
  const codes = (): readonly string[] =>
    source.state.problems.map(({ severity, code }) => `${severity} ${code}`);
  return { api, clock, source, until, show, codes };
}

export const watchCount = (): number => FOLLOWED_KINDS.length + 1;
export const allWatched = ({ api, until }: Rig): Promise<void> =>
  until('everything is watched', () => api.watches === watchCount());
