// Takes a root rotation from step to step as proxies acknowledge.
import type { Authority } from '@weft/ca/authority';
import type { RenewalService } from '@weft/ca/enrolment-service';
import type { PhaseGate } from '@weft/ca/rotation';
import type { Clock } from '@weft/model/clock';
import type { Logger } from 'pino';
import type { FederationPart } from '../federation/federation-part.ts';
import { connectedProxies } from '../rotation-gate.ts';
import type { AdsServer } from '../serve/ads-server.ts';

/** What a rotation waits for is looked at again so often, besides after acknowledgements. */
const ROTATION_CHECK_MS = 500;
/** Acknowledgements come by the thousand; they are looked at together. */
const SETTLE_MS = 50;

export function driveRotation(parts: {
  readonly authority: Authority;
  readonly renewal: RenewalService;
  readonly ads: AdsServer;
  readonly federation: Pick<FederationPart, 'bundle' | 'waitsFor'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of several control planes one alone takes the steps. */
  readonly isLeader: () => boolean;
  /** What the others wait for; absent: there are none. */
  readonly elsewhere?: (gate: PhaseGate) => readonly string[];
  readonly hasOthers?: () => boolean;
}): Disposable {
  const { authority, renewal, ads, federation, clock, log } = parts;
  const advance = (): void => {
    if (!parts.isLeader()) return;
    const hasOthers = parts.hasOthers?.() ?? false;
    authority
      .advance(
        () => connectedProxies({ renewal, ads, bundle: federation.bundle(), hasOthers }),
        (gate) => [
          ...(parts.elsewhere?.(gate) ?? []),
          // A certificate of a root that others do not know yet would be refused there.
          ...(gate.phase === 'distribute' ? federation.waitsFor() : []),
        ],
      )
      .catch((error: unknown) => log.error({ error: String(error) }, 'rotation did not advance'));
  };
  let soon: Disposable | undefined;
  const onProgress = renewal.onProgress(() => {
    soon ??= clock.setTimeout(() => {
      soon = undefined;
      advance();
    }, SETTLE_MS);
  });
  let timer = clock.setTimeout(tick, ROTATION_CHECK_MS);
  function tick(): void {
    advance();
    timer = clock.setTimeout(tick, ROTATION_CHECK_MS);
  }
  return {
    [Symbol.dispose]: () => {
      onProgress[Symbol.dispose]();
      soon?.[Symbol.dispose]();
      timer[Symbol.dispose]();
    },
  };
}
