// An identity keeper under a clock that tests turn, and what it told, for tests.
import { once } from 'node:events';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import { pino } from 'pino';
import { IdentityState } from '@weft/dataplane/identity-state';
import type { Svid } from '@weft/dataplane/enrol/check-svid';
import { IdentityKeeper, type IdentityKeeperOptions } from '@weft/dataplane/enrol/identity-keeper';
import { PATIENCE_MS } from './lab-wait.ts';
import type { ScriptedControlPlane } from './scripted-control-plane.ts';

export interface KeeperRig extends Disposable {
  readonly keeper: IdentityKeeper;
  readonly clock: TurnableClock;
  /** Fed as the sidecar feeds it. */
  readonly identity: IdentityState;
  readonly told: readonly (Svid | undefined)[];
  readonly lines: readonly string[];
  /** Waits until the keeper has told or logged something that makes the claim true. */
  until(claim: () => boolean): Promise<void>;
  start(): Promise<void>;
  readonly stop: AbortController;
}

export type KeeperOptions = Partial<Omit<IdentityKeeperOptions, 'clock'>> & {
  readonly clock?: TurnableClock;
};

export function createKeeperRig(
  server: ScriptedControlPlane,
  { clock = createTurnableClock(), ...more }: KeeperOptions = {},
): KeeperRig {
  const trustDomain = parseTrustDomain('mesh.test');
  if (trustDomain === undefined) throw new RangeError('Cannot make a rig: no trust domain');
  const told: (Svid | undefined)[] = [];
  const lines: string[] = [];
  const changed = new EventTarget();
  const tell = (): void => void changed.dispatchEvent(new Event('change'));
  const identity = new IdentityState();
  const stop = new AbortController();
  const log = pino(
    { level: 'trace' },
    {
      write(line: string) {
        lines.push(line);
        tell();
      },
    },
  );
  const keeper = new IdentityKeeper({
    enrolmentAddress: server.address,
    renewalAddress: server.renewalAddress,
    bundlePem: server.authority.bundle().pem,
    controlPlane: server.controlPlane,
    readEvidence: async () => ({ kind: 'join-token', token: 'token' }),
    expected: { trustDomain, namespace: 'shop', spiffeId: undefined },
    clock,
    random: () => 0.999,
    log,
    onChange(svid) {
      told.push(svid);
      identity.set(svid);
      tell();
    },
    ...more,
  });
  return {
    keeper,
    clock,
    identity,
    told,
    lines,
    stop,
    start: () => keeper.start(stop.signal),
    async until(claim) {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      while (!claim()) await once(changed, 'change', { signal });
    },
    [Symbol.dispose]: () => keeper[Symbol.dispose](),
  };
}
