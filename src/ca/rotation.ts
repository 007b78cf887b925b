// Decides how one root gives way to the next: which roots are trusted, which one signs, and what each step waits for. Pure.

/**
 * - `stable`: one root.
 * - `distribute`: the next root is trusted as well; the active one still signs.
 * - `sign`: both are trusted; the new one signs, and everybody is asked to renew.
 * - `retire`: the previous root is trusted no more.
 * A rollback during `sign` is a rotation back: `sign` with the roles exchanged, because certificates of both are in use.
 */
export type RotationState =
  | { readonly phase: 'stable'; readonly active: number }
  | { readonly phase: 'distribute'; readonly active: number; readonly next: number }
  | { readonly phase: 'sign'; readonly active: number; readonly previous: number }
  | { readonly phase: 'retire'; readonly active: number; readonly previous: number };

export type RotationPhase = RotationState['phase'];

/** One proxy that is connected now, as the gates see it. */
export interface ConnectedProxy {
  readonly proxyId: string;
  /** Whether it has acknowledged exactly this bundle. */
  readonly hasBundle: (version: string) => boolean;
  /** The authority key id of the certificate that it holds, in hex; absent when it is not known. */
  readonly issuerKeyId: string | undefined;
  /** It renews at another control plane, which sees whether it has. */
  readonly renewsElsewhere?: boolean;
}

export interface Gate {
  readonly connected: readonly ConnectedProxy[];
  /** Of the bundle of the phase. */
  readonly bundleVersion: string;
  /** Key id of the CA that issues in the phase. */
  readonly issuerKeyId: string;
  /** Certificates of the previous root that nobody is known to have replaced and that have not expired. */
  readonly previousInUse: number;
  /** When the last of them ends. */
  readonly previousUntilMs: number;
  /** Time that requests on connections made with certificates of the previous root still have to finish; 0 when it is over. */
  readonly graceLeftMs: number;
}

/** How far a phase has come, as one control plane sees it. */
export interface PhaseGate {
  readonly phase: RotationPhase;
  readonly bundleVersion: string;
  readonly issuerKeyId: string;
  /** Sentences; empty when its own proxies and certificates hold nothing up. */
  readonly waitsFor: readonly string[];
}

export type Transition =
  | { readonly ok: true; readonly state: RotationState }
  | { readonly ok: false; readonly reasonCode: 'wrong-phase'; readonly reason: string };

export type RotationOutcome =
  | { readonly ok: true; readonly phase: RotationPhase; readonly waitsFor: readonly string[] }
  | {
      readonly ok: false;
      readonly reasonCode: 'wrong-phase' | 'root-brought' | 'store-failed' | 'conflict';
      readonly reason: string;
    };

export interface RenewNow {
  readonly reason: string;
  /** Key id of the CA that issues now; who has its certificate from there need not renew. */
  readonly issuerKeyId: string;
}

/** A few names say enough; a mesh may have thousands. */
const MAX_NAMES = 5;

const refused = (reason: string): Transition => ({ ok: false, reasonCode: 'wrong-phase', reason });

/** Of the roots in the bundle, the one that signs first. */
export function trustedGenerations(state: RotationState): readonly number[] {
  switch (state.phase) {
    case 'stable':
    case 'retire':
      return [state.active];
    case 'distribute':
      return [state.active, state.next];
    case 'sign':
      return [state.active, state.previous];
    default:
      return state satisfies never;
  }
}

/** The generations whose keys are still needed; in `retire` the previous one's are not. */
export const keptGenerations = trustedGenerations;

export function startRotation(state: RotationState, next: number): Transition {
  if (state.phase !== 'stable') return refused(`a rotation is in phase ${state.phase}`);
  return { ok: true, state: { phase: 'distribute', active: state.active, next } };
}

/** Possible until the previous root is retired. */
export function rollbackRotation(state: RotationState): Transition {
  switch (state.phase) {
    case 'distribute':
      // Nothing was signed under the next root: it can go at once.
      return { ok: true, state: { phase: 'stable', active: state.active } };
    case 'sign':
      return {
        ok: true,
        state: { phase: 'sign', active: state.previous, previous: state.active },
      };
    case 'stable':
      return refused('no rotation is under way');
    case 'retire':
      return refused('the previous root is retired already');
    default:
      return state satisfies never;
  }
}

/** What the phase still waits for, as sentences; empty when the next step may be taken. */
export function waitsFor(state: RotationState, gate: Gate): readonly string[] {
  switch (state.phase) {
    case 'stable':
      return [];
    case 'distribute':
    case 'retire':
      return named(
        gate.connected.filter((proxy) => !proxy.hasBundle(gate.bundleVersion)),
        `has not acknowledged bundle ${gate.bundleVersion}`,
      );
    case 'sign': {
      const late = named(
        gate.connected.filter(
          ({ issuerKeyId, renewsElsewhere = false }) =>
            issuerKeyId !== gate.issuerKeyId && !renewsElsewhere,
        ),
        'has no certificate of the new root',
      );
      if (gate.previousInUse > 0) {
        const claim = `${gate.previousInUse} certificates of the previous root may be in use by workloads that are away`;
        return [
          ...late,
          `${claim}, until ${new Date(gate.previousUntilMs).toISOString()} at the latest`,
        ];
      }
      if (late.length > 0 || gate.graceLeftMs <= 0) return late;
      return [`requests on older connections have ${gate.graceLeftMs} ms to finish`];
    }
    default:
      return state satisfies never;
  }
}

function named(proxies: readonly ConnectedProxy[], claim: string): readonly string[] {
  const lines = proxies.slice(0, MAX_NAMES).map((proxy) => `${proxy.proxyId} ${claim}`);
  const rest = proxies.length - lines.length;
  return rest > 0 ? [...lines, `${rest} more`] : lines;
}

/** The step after this phase, whose gate must be open. */
export function nextRotationState(state: RotationState): RotationState {
  switch (state.phase) {
    case 'stable':
      return state;
    case 'distribute':
      return { phase: 'sign', active: state.next, previous: state.active };
    case 'sign':
      return { phase: 'retire', active: state.active, previous: state.previous };
    case 'retire':
      return { phase: 'stable', active: state.active };
    default:
      return state satisfies never;
  }
}
