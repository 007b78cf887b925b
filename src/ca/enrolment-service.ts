// Serves identities over gRPC: the first one for evidence, further ones for the certificate of the connection.
import { type sendUnaryData, type Server, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { type Clock, systemClock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import type { PlainMessage } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { attestPeer } from './attest/certificate.ts';
import type { Attestation, Attestor, EvidenceKind } from './attest/attestor.ts';
import type { Authority } from './authority.ts';
import { DEFAULT_ENROLMENT_LIMITS, type EnrolmentLimits } from './enrolment-limits.ts';
import {
  bundleMessage,
  type ForeignRoots,
  enrolmentMethod,
  readEnrolRequest,
  type Received,
  svidMessage,
} from './enrolment-messages.ts';
import { addressOf, createBucket, createRateLimit } from './rate-limit.ts';
import {
  CERTIFICATE_ATTESTOR,
  type ConnectedWorkload,
  type RenewalCall,
  RenewalStream,
} from './renewal-stream.ts';
import { peerOf } from './server-credentials.ts';

export interface EnrolmentDeps {
  readonly authority: Authority;
  /** One for each kind of evidence that is accepted. */
  readonly attestors: readonly Attestor[];
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly limits?: Partial<EnrolmentLimits>;
}

type EnrolCall = ServerUnaryCall<Received, PlainMessage>;

interface Refusal {
  readonly code: status;
  /** For the workload. */
  readonly details: string;
  /** For the log; absent when the audit line is written already. */
  readonly audit?: { readonly reasonCode: string; readonly reason: string };
  readonly attestor?: string;
}

type Enrolled =
  | { readonly ok: true; readonly response: PlainMessage }
  | ({ readonly ok: false } & Refusal);

/** Of whatever is wrong with evidence: who guesses must not learn which part was right. */
const NOT_ACCEPTED: Readonly<Record<EvidenceKind, string>> = {
  'join-token': 'the join token is not accepted: it may be wrong, used or expired',
  'service-account-token':
    'the service account token is not accepted for this Pod: the log of the control plane says why',
};
const KIND_NAMES: Readonly<Record<EvidenceKind, string>> = {
  'join-token': 'a join token',
  'service-account-token': 'a service account token',
};
/** In audit lines of what came before any attestor. */
const NO_ATTESTOR = 'none';

/** For a port that authenticates itself and asks for no client certificate. */
export function addEnrolmentService(server: Server, deps: EnrolmentDeps): void {
  const { authority, clock = systemClock, log } = deps;
  const attestors = byKind(deps.attestors);
  const limits = { ...DEFAULT_ENROLMENT_LIMITS, ...deps.limits };
  const rate = createRateLimit({ ...limits, clock });
  const limitedAudits = createBucket(limits.limitedAudits, clock);

  const answer = async (call: EnrolCall): Promise<Enrolled> => {
    const peer = call.getPeer();
    if (!rate.admits(addressOf(peer))) {
      const reason = 'too many enrolments; try again later';
      const reasonCode = 'rate-limited';
      if (limitedAudits.take()) {
        authority.audit({ ok: false, reasonCode, reason, attestor: NO_ATTESTOR, peer });
      } else authority.countRefusal(reasonCode);
      return { ok: false, code: status.RESOURCE_EXHAUSTED, details: reason };
    }
    const enrolled = await enrol(call.request, { authority, attestors, peer });
    if (!enrolled.ok && enrolled.audit !== undefined) {
      const { audit, attestor = NO_ATTESTOR } = enrolled;
      authority.audit({ ok: false, ...audit, attestor, peer });
    }
    return enrolled;
  };
  server.addService(enrolmentMethod('Enrol'), {
    Enrol: (call: EnrolCall, respond: sendUnaryData<PlainMessage>) => {
      answer(call).then(
        (enrolled) => {
          if (enrolled.ok) respond(null, enrolled.response);
          else respond({ code: enrolled.code, details: enrolled.details });
        },
        (error: unknown) => {
          log?.error({ err: error, peer: call.getPeer() }, 'enrolment failed');
          respond({ code: status.INTERNAL, details: 'the control plane failed' });
        },
      );
    },
  });
}

type Attestors = ReadonlyMap<EvidenceKind, Attestor>;

function byKind(attestors: readonly Attestor[]): Attestors {
  const made = new Map(attestors.map((attestor) => [attestor.kind, attestor]));
  if (made.size === attestors.length && made.size > 0) return made;
  throw new TypeError('Cannot serve enrolment: each kind of evidence needs one attestor');
}

const badRequest = (audit: { reasonCode: string; reason: string }, attestor?: string): Enrolled => {
  const { reason } = audit;
  const refusal = { ok: false, code: status.INVALID_ARGUMENT, details: reason, audit } as const;
  return attestor === undefined ? refusal : { ...refusal, attestor };
};

async function enrol(
  received: Received,
  context: { readonly authority: Authority; readonly attestors: Attestors; readonly peer: string },
): Promise<Enrolled> {
  const { authority, attestors, peer } = context;
  if (!received.ok) {
    const reason = 'not an EnrolRequest, or larger than 16 KiB';
    return badRequest({ reasonCode: 'message-malformed', reason });
  }
  const request = readEnrolRequest(received.message);
  if (!request.ok) return badRequest({ reasonCode: request.reasonCode, reason: request.reason });
  const { csrDer, evidence } = request;
  const attestor = attestors.get(evidence.kind);
  if (attestor === undefined) return kindNotAccepted(evidence.kind, attestors);
  const attested = await attestor.attest(evidence);
  if (!attested.ok) return notAttested(attested, attestor);
  const { identity } = attested;
  // A request that cannot be granted must not cost its owner the token.
  const reviewed = authority.review(csrDer, identity);
  if (!reviewed.ok) {
    const { reasonCode, reason } = reviewed;
    return badRequest({ reasonCode, reason, ...identity }, attestor.name);
  }
  const redeemed = await attested.redeem();
  if (!redeemed.ok) return notAttested(redeemed, attestor);
  const issuance = authority.issueReviewed(reviewed, { attestor: attestor.name, peer });
  if (!issuance.ok) return { ok: false, code: status.UNAVAILABLE, details: issuance.reason };
  return {
    ok: true,
    response: { svid: svidMessage(issuance.svid), bundle: bundleMessage(authority.bundle()) },
  };
}

function kindNotAccepted(kind: EvidenceKind, attestors: Attestors): Enrolled {
  const accepted = [...attestors.keys()].map((each) => KIND_NAMES[each]).join(' or ');
  const reason = `this control plane takes no ${kind.replaceAll('-', ' ')}: give ${accepted}`;
  const audit = { reasonCode: 'evidence-not-accepted', reason };
  return { ok: false, code: status.UNAUTHENTICATED, details: reason, audit };
}

function notAttested(
  refusal: Extract<Attestation, { readonly ok: false }>,
  { name, kind }: Attestor,
): Enrolled {
  const { reasonCode, reason, isTemporary } = refusal;
  const audit = { reasonCode, reason };
  const told = isTemporary
    ? {
        code: status.UNAVAILABLE,
        details: 'the control plane cannot check tokens now; its log says why',
      }
    : { code: status.UNAUTHENTICATED, details: NOT_ACCEPTED[kind] };
  return { ok: false, ...told, audit, attestor: name };
}

export interface RenewalDeps {
  readonly authority: Authority;
  readonly clock?: Clock;
  readonly limits?: Partial<EnrolmentLimits>;
  /** Roots of other trust domains; absent: nobody else is believed. */
  readonly federated?: {
    roots(): readonly ForeignRoots[];
    subscribe(listener: () => void): Disposable;
  };
}

/** For a port that requires a client certificate of the current bundle. */
export const addRenewalService = (server: Server, deps: RenewalDeps): RenewalService =>
  new RenewalService(server, deps);

export class RenewalService implements Disposable {
  readonly #authority: Authority;
  readonly #clock: Clock;
  readonly #limits: EnrolmentLimits;
  #federated: (() => readonly ForeignRoots[]) | undefined;
  readonly #streams = new Set<RenewalStream>();
  readonly #countByIdentity = new Map<string, number>();
  readonly #ackListeners = new Listeners();
  readonly #subscriptions = new DisposableStack();

  constructor(server: Server, deps: RenewalDeps) {
    const { authority, clock = systemClock, limits } = deps;
    this.#authority = authority;
    this.#clock = clock;
    this.#limits = { ...DEFAULT_ENROLMENT_LIMITS, ...limits };
    this.#subscriptions.use(
      authority.onBundleChange(() => {
        for (const stream of this.#streams) stream.sendBundle();
      }),
    );
    const { federated } = deps;
    if (federated !== undefined) {
      const tell = (): void => {
        for (const stream of this.#streams) stream.sendBundle();
      };
      this.#subscriptions.use(federated.subscribe(tell));
      this.#federated = () => federated.roots();
    }
    this.#subscriptions.use(
      authority.onRenewNow(({ reason, issuerKeyId }) => {
        for (const stream of this.#streams) {
          if (stream.connected.issuerKeyId !== issuerKeyId) stream.sendRenewNow(reason);
        }
      }),
    );
    server.addService(enrolmentMethod('Renew'), { Renew: (call: RenewalCall) => this.#open(call) });
  }

  #open(call: RenewalCall): void {
    const peer = peerOf(call);
    if (!peer.ok) return this.#refuse(call, 'peer-unauthenticated', peer.reason);
    const attested = attestPeer(peer, this.#authority.trustDomain);
    if (!attested.ok) return this.#refuse(call, attested.reasonCode, attested.reason);
    const count = this.#countByIdentity.get(peer.identity) ?? 0;
    const { maxRenewalStreams, maxRenewalStreamsPerIdentity } = this.#limits;
    if (this.#streams.size >= maxRenewalStreams || count >= maxRenewalStreamsPerIdentity) {
      const reason = `too many streams are open (${this.#streams.size}, ${count} of this identity)`;
      return this.#refuse(call, 'too-many-streams', reason, status.RESOURCE_EXHAUSTED);
    }
    const stream = new RenewalStream({
      call,
      peer,
      parts: attested.identity,
      authority: this.#authority,
      clock: this.#clock,
      bucket: createBucket(this.#limits.perStream, this.#clock),
      onAck: () => this.#tellAck(),
      ...(this.#federated && { federated: this.#federated }),
    });
    this.#streams.add(stream);
    this.#countByIdentity.set(peer.identity, count + 1);
    call.on('close', () => this.#closed(stream));
  }

  #closed(stream: RenewalStream): void {
    this.#streams.delete(stream);
    const left = (this.#countByIdentity.get(stream.identity) ?? 1) - 1;
    if (left > 0) this.#countByIdentity.set(stream.identity, left);
    else this.#countByIdentity.delete(stream.identity);
    // Who leaves is waited for no more.
    this.#tellAck();
  }

  #refuse(
    call: RenewalCall,
    reasonCode: string,
    reason: string,
    code: status = status.UNAUTHENTICATED,
  ): void {
    const peer = call.getPeer();
    const attestor = CERTIFICATE_ATTESTOR;
    this.#authority.audit({ ok: false, reasonCode, reason, attestor, peer });
    call.emit('error', { code, details: reason });
  }

  #tellAck(): void {
    this.#ackListeners.tell();
  }

  /** Of every open stream. */
  connected(): readonly ConnectedWorkload[] {
    return [...this.#streams].filter((stream) => !stream.isEnded).map((stream) => stream.connected);
  }

  /** Called when what `connected` tells has changed in a way that a rotation may have waited for. */
  onProgress(listener: () => void): Disposable {
    return this.#ackListeners.add(listener);
  }

  /** Ends every stream; workloads connect elsewhere, or again. */
  [Symbol.dispose](): void {
    this.#subscriptions.dispose();
    for (const stream of this.#streams) {
      stream.end(status.UNAVAILABLE, 'the control plane is shutting down');
    }
  }
}
