// Owns the mesh's certificate authority: issues identities, says which roots are trusted, and takes rotations from step to step.
import { type Clock, systemClock } from '@weft/model/clock';
import { type SpiffeId, spiffeIdOf, type TrustDomain } from '@weft/model/identity';
import {
  type AuthorityOptions,
  checkSvidTtl,
  DEFAULT_CONTROL_PLANE,
  DEFAULT_GRACE_MS,
  DEFAULT_SVID_TTL_MS,
  MAX_SVID_TTL_MS,
} from './authority-options.ts';
import { type AuditEntry, AuditLedger } from './audit.ts';
import { BundlePublication } from './bundle-publication.ts';
import { createGeneration } from './generation.ts';
import { createGrace, type Grace } from './grace.ts';
import {
  createServerCertificate,
  type Issuance,
  issueSvid,
  type Refusal,
  type Reviewed,
  reviewRequest,
  type ServerCertificate,
  type Signing,
  type Subject,
  type WorkloadName,
} from './issuance.ts';
import { IssuingUpkeep } from './issuing-upkeep.ts';
import { KeptState, type StateChange } from './kept-state.ts';
import { Listeners } from '@weft/model/listeners';
import { LiveCertificates } from './live-certificates.ts';
import {
  type AuthorityStatus,
  type Bundle,
  issuerStatus,
  type OpenedState,
  rootStatus,
} from './opened-state.ts';
import {
  type ConnectedProxy,
  nextRotationState,
  type PhaseGate,
  type RenewNow,
  rollbackRotation,
  type RotationOutcome,
  startRotation,
  waitsFor,
} from './rotation.ts';
import type { CaState } from './store/store.ts';
import { openingState } from './opening-state.ts';
import { TokenAuthority } from './token-authority.ts';

export type { AuthorityOptions } from './authority-options.ts';

/**
 * Loads the CA of the store, or makes one where there never was any.
 * @throws when what the store holds cannot be trusted, is another trust domain's, or a new root cannot be kept.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { store, trustDomain, clock = systemClock, svidTtlMs = DEFAULT_SVID_TTL_MS, log } = options;
  checkSvidTtl(svidTtlMs);
  const { state, inherited } = await openingState({
    ...options,
    store,
    trustDomain,
    clock,
    svidTtlMs,
  });
  const nowMs = clock.now();
  const live = new LiveCertificates();
  for (const { id, longestLeafMs } of inherited) live.assumeUntil(id, nowMs + longestLeafMs);
  const authority = new Authority({ ...options, clock, svidTtlMs, state, live });
  await authority.start();
  log?.info({ bundleVersion: authority.bundle().version }, 'certificate authority is open');
  return authority;
}

interface Asker {
  readonly attestor: string;
  readonly peer: string;
  /** Serial, in hex, of the certificate that its holder will use no more. */
  readonly replaces?: string;
}

export class Authority implements AsyncDisposable {
  readonly trustDomain: TrustDomain;
  /** The identity in the certificates of the control plane's own servers. */
  readonly controlPlaneId: SpiffeId;
  readonly #live: LiveCertificates;
  readonly #options: AuthorityOptions;
  readonly #clock: Clock;
  readonly #svidTtlMs: number;
  readonly #bundleListeners = new Listeners<Bundle>();
  readonly #renewListeners = new Listeners<RenewNow>();
  /** From when nobody is late any more. */
  readonly #grace: Grace;
  readonly #ledger: AuditLedger;
  readonly #kept: KeptState;
  readonly #upkeep: IssuingUpkeep;
  readonly tokens: TokenAuthority;
  readonly publication: BundlePublication;
  #waitsFor: readonly string[] = [];

  /** Use `openAuthority`. */
  constructor(
    options: AuthorityOptions & {
      readonly clock: Clock;
      readonly svidTtlMs: number;
      readonly state: CaState;
      readonly live: LiveCertificates;
    },
  ) {
    this.#options = options;
    this.#live = options.live;
    this.#grace = createGrace(options.rotationGraceMs ?? DEFAULT_GRACE_MS, options.clock);
    this.#ledger = new AuditLedger(options.log);
    this.#clock = options.clock;
    this.#svidTtlMs = options.svidTtlMs;
    const { store, state, log } = options;
    this.#kept = new KeptState({
      store,
      state,
      ...(log && { log }),
      onChange: (change) => this.#act(change),
    });
    this.#upkeep = new IssuingUpkeep({ ...options, kept: this.#kept });
    this.trustDomain = options.trustDomain;
    const controlPlane = options.controlPlane ?? DEFAULT_CONTROL_PLANE;
    this.controlPlaneId = spiffeIdOf({ trustDomain: this.trustDomain, ...controlPlane });
    const { tokenIssuer: issuer, heldBack } = options;
    this.tokens = new TokenAuthority({
      kept: this.#kept,
      clock: this.#clock,
      reservedId: this.controlPlaneId,
      ...(issuer !== undefined && { issuer }),
      ...(heldBack && { heldBack }),
      audit: (entry) => this.audit(entry),
    });
    const { tokens } = this;
    this.publication = new BundlePublication({ kept: this.#kept, tokens, clock: this.#clock });
  }

  /**
   * Answers one request for a certificate, and writes one audit line, whatever the answer.
   * The identity is the attestor's word; the request gives the key alone.
   */
  issue(
    csrDer: Uint8Array,
    identity: WorkloadName,
    attestor: string,
    peer: string,
    replaces?: string,
  ): Issuance {
    const held = this.#options.heldBack?.(identity, peer);
    const reviewed: Reviewed | Refusal =
      held === undefined
        ? this.review(csrDer, identity)
        : { ok: false, reasonCode: 'identity-revoked', reason: held };
    if (reviewed.ok) {
      return this.issueReviewed(reviewed, { attestor, peer, ...(replaces && { replaces }) });
    }
    const { namespace, serviceAccount } = identity;
    const { reasonCode, reason } = reviewed;
    this.audit({ ok: false, reasonCode, reason, namespace, serviceAccount, attestor, peer });
    return reviewed;
  }

  /** What `issue` would refuse is refused, before anything is used up for it; nothing is written down. */
  review(csrDer: Uint8Array, identity: WorkloadName): Reviewed | Refusal {
    return reviewRequest(csrDer, this.#subjectOf(identity));
  }

  /** The second half of `issue`, with its audit line. */
  issueReviewed(reviewed: Reviewed, { attestor, peer, replaces }: Asker): Issuance {
    const issuance = issueSvid(reviewed, this.#signing());
    if (issuance.ok) {
      const { spiffeId, serial, notAfter } = issuance.svid;
      const generation = this.#opened.active.id;
      this.#live.add(serial, { generation, notAfterMs: notAfter.getTime() });
      if (replaces !== undefined) this.#live.remove(replaces);
      this.audit({ ok: true, spiffeId, serial, notAfter, attestor, peer });
    } else {
      const { reasonCode, reason } = issuance;
      const { namespace, serviceAccount } = reviewed.subject;
      this.audit({ ok: false, reasonCode, reason, namespace, serviceAccount, attestor, peer });
    }
    return issuance;
  }

  #subjectOf({ namespace, serviceAccount }: WorkloadName): Subject {
    const { trustDomain, controlPlaneId } = this;
    return { trustDomain, namespace, serviceAccount, reservedId: controlPlaneId };
  }

  /** Counts and writes down a decision on a request; `issue` does it for its own. */
  audit(entry: AuditEntry): void {
    this.#ledger.write(entry);
  }

  /** For those that are too many to be written down. */
  countRefusal(reasonCode: string): void {
    this.#ledger.countRefusal(reasonCode);
  }

  /** For the control plane's own servers: its SPIFFE id, and the names at which clients dial it. @throws when the issuing CA has expired. */
  serverCertificate(names: {
    readonly dnsNames: readonly string[];
    readonly ipAddresses: readonly string[];
  }): ServerCertificate {
    const signing = { ...this.#signing(), generation: this.#opened.serving };
    return createServerCertificate({ spiffeId: this.controlPlaneId, ...names }, signing);
  }

  #signing(): Signing {
    const generation = this.#opened.active;
    return { generation, nowMs: this.#clock.now(), svidTtlMs: this.#svidTtlMs };
  }

  get #opened(): OpenedState {
    return this.#kept.opened;
  }

  bundle(): Bundle {
    return this.#opened.bundle;
  }

  /** Key id, in hex, of the CA that issues now. */
  get issuerKeyId(): string {
    return this.#opened.active.issuerKeyId;
  }

  /** Whether who holds a certificate of this issuing CA should get one of another root now. */
  needsRenewal(issuerKeyId: string | undefined): boolean {
    const { phase } = this.#opened.state.rotation;
    return (phase === 'sign' || phase === 'retire') && issuerKeyId !== this.issuerKeyId;
  }

  onBundleChange(listener: (bundle: Bundle) => void): Disposable {
    return this.#bundleListeners.add(listener);
  }

  /** Called when certificates of the CA that issued until now should be replaced soon. */
  onRenewNow(listener: (renewNow: RenewNow) => void): Disposable {
    return this.#renewListeners.add(listener);
  }

  status(): AuthorityStatus {
    return {
      trustDomain: this.trustDomain,
      controlPlaneId: this.controlPlaneId,
      bundleVersion: this.#opened.bundle.version,
      roots: rootStatus(this.#opened),
      issuers: issuerStatus(this.#opened),
      rotation: { phase: this.#opened.state.rotation.phase, waitsFor: this.#waitsFor },
      issued: this.#ledger.issued,
      refused: this.#ledger.refused,
      refusedByReason: this.#ledger.refusedByReason,
    };
  }

  /** Makes the next root and begins to distribute it. */
  startRotation(): Promise<RotationOutcome> {
    return this.#kept.exclusively(async () => {
      const brought = this.#refuseBrought();
      if (brought !== undefined) return brought;
      const { state } = this.#opened;
      const id = Math.max(...state.generations.map((generation) => generation.id)) + 1;
      const transition = startRotation(state.rotation, id);
      if (!transition.ok) return transition;
      const made = createGeneration({
        id,
        trustDomain: this.trustDomain,
        nowMs: this.#clock.now(),
        longestLeafMs: this.#svidTtlMs,
      });
      const generations = [...state.generations, made];
      return this.#commit({ ...state, generations, rotation: transition.state });
    });
  }

  /** Back to the root before, from any phase in which it is still trusted. */
  rollback(): Promise<RotationOutcome> {
    return this.#kept.exclusively(async () => {
      const brought = this.#refuseBrought();
      if (brought !== undefined) return brought;
      const { state } = this.#opened;
      const transition = rollbackRotation(state.rotation);
      return transition.ok ? this.#commit({ ...state, rotation: transition.state }) : transition;
    });
  }

  #refuseBrought(): RotationOutcome | undefined {
    const from = this.#upkeep.broughtFrom;
    if (from === undefined) return undefined;
    const reason = `the root comes from ${from}: put another one there, and the mesh follows`;
    return { ok: false, reasonCode: 'root-brought', reason };
  }

  /**
   * What the rotation waits for by what is known here: our own proxies, and the certificates that we gave.
   * @param connected asked during a rotation alone
   */
  gate(connected: () => readonly ConnectedProxy[]): PhaseGate {
    const { state, bundle, active } = this.#opened;
    const { phase } = state.rotation;
    const at = { bundleVersion: bundle.version, issuerKeyId: active.issuerKeyId };
    if (phase === 'stable') return { phase, ...at, waitsFor: [] };
    const gate = { connected: connected(), ...at, ...this.#previousInUse() };
    const isRenewed = waitsFor(state.rotation, { ...gate, graceLeftMs: 0 }).length === 0;
    const graceLeftMs = phase === 'sign' ? this.#grace.leftMs(isRenewed) : 0;
    this.#waitsFor = waitsFor(state.rotation, { ...gate, graceLeftMs });
    return { phase, ...at, waitsFor: this.#waitsFor };
  }

  /**
   * Takes the next step of the rotation, if every connected proxy is ready for it. Call it at each acknowledgement, and now and then.
   * @param elsewhere what other control planes wait for in the same phase; absent: there are none.
   */
  advance(
    connected: () => readonly ConnectedProxy[],
    elsewhere?: (gate: PhaseGate) => readonly string[],
  ): Promise<RotationOutcome> {
    return this.#kept.exclusively(async () => {
      const gate = this.gate(connected);
      const { phase } = gate;
      if (phase === 'stable') return { ok: true, phase, waitsFor: this.#waitsFor };
      this.#waitsFor = [...gate.waitsFor, ...(elsewhere?.(gate) ?? [])];
      if (this.#waitsFor.length > 0) return { ok: true, phase, waitsFor: this.#waitsFor };
      const { state } = this.#opened;
      return this.#commit({ ...state, rotation: nextRotationState(state.rotation) });
    });
  }

  /** Another control plane has ended: what it gave of the previous root until now is known to nobody. */
  otherEnded(): void {
    const { rotation, generations } = this.#opened.state;
    if (rotation.phase !== 'sign') return;
    const previous = generations.find(({ id }) => id === rotation.previous);
    this.#live.assumeUntil(
      rotation.previous,
      this.#clock.now() + (previous?.longestLeafMs ?? MAX_SVID_TTL_MS),
    );
  }

  #previousInUse(): { readonly previousInUse: number; readonly previousUntilMs: number } {
    const { rotation } = this.#opened.state;
    const isAsked = rotation.phase === 'sign' && this.#options.waitForDisconnected !== false;
    if (!isAsked) return { previousInUse: 0, previousUntilMs: 0 };
    const previousInUse = this.#live.count(rotation.previous, this.#clock.now());
    return { previousInUse, previousUntilMs: this.#live.untilMs(rotation.previous) };
  }

  /** Keeps a changed state; what is in force then is told. */
  async #commit(changed: CaState): Promise<RotationOutcome> {
    const saved = await this.#kept.commit(changed);
    if (!saved.ok) return saved;
    return { ok: true, phase: this.#opened.state.rotation.phase, waitsFor: [] };
  }

  async #act({ before, after }: StateChange): Promise<void> {
    this.#waitsFor = [];
    this.#grace.reset();
    for (const id of before.byId.keys()) if (!after.byId.has(id)) this.#live.forget(id);
    if (before.bundle.version !== after.bundle.version) {
      await this.#publishBundle();
      this.#bundleListeners.tell(after.bundle);
    }
    if (before.active.id !== after.active.id) {
      // Until this moment others may have given certificates of the CA that was active.
      const { hasOthers = () => this.#kept.isShared } = this.#options;
      if (hasOthers()) this.otherEnded();
      const { issuerKeyId } = after.active;
      this.#renewListeners.tell({ reason: 'another root signs now', issuerKeyId });
    }
    this.#upkeep.stateChanged();
  }

  /** The file for people is not worth refusing service: a failure is said, and the next change tries again. */
  async #publishBundle(): Promise<void> {
    const published = await this.#options.store.publishBundle(this.#opened.bundle.pem);
    if (published.ok) return;
    this.#options.log?.error({ reason: published.reason }, 'trust bundle not published');
  }

  /** Called once by `openAuthority`. */
  async start(): Promise<void> {
    await this.#publishBundle();
    await this.#upkeep.start();
    this.#kept.follow();
  }

  /** Waits for the change that is under way. The store is its opener's to close. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#upkeep[Symbol.dispose]();
    await this.#kept[Symbol.asyncDispose]();
    this.#upkeep[Symbol.dispose]();
  }
}
