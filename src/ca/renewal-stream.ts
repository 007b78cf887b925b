// Owns one renewal stream: a workload that has an identity gets it anew here, and hears of new roots.
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { IdentityParts, SpiffeId } from '@weft/model/identity';
import type { PlainMessage } from '@weft/xds/registry';
import type { Authority } from './authority.ts';
import { MAX_UNREAD_MESSAGES } from './enrolment-limits.ts';
import {
  bundleMessage,
  type ForeignRoots,
  readRenewRequest,
  type Received,
  svidMessage,
} from './enrolment-messages.ts';
import type { Svid } from './issuance.ts';
import type { Bucket } from './rate-limit.ts';
import type { Peer } from './server-credentials.ts';

export type RenewalCall = ServerDuplexStream<Received, PlainMessage>;

/** What is known of a connected workload. */
export interface ConnectedWorkload {
  readonly identity: SpiffeId;
  /** Address and port. */
  readonly peer: string;
  /** The bundle that it said is in force there; absent until it has. */
  readonly ackedBundleVersion: string | undefined;
  /** Of its newest certificate, in hex. */
  readonly issuerKeyId: string | undefined;
}

export interface RenewalStreamOptions {
  readonly call: RenewalCall;
  readonly authority: Authority;
  readonly clock: Clock;
  readonly peer: Extract<Peer, { readonly ok: true }>;
  readonly parts: IdentityParts;
  readonly bucket: Bucket;
  readonly onAck: () => void;
  /** Absent: nobody else is believed. */
  readonly federated?: () => readonly ForeignRoots[];
}

/** Of the identity's attestor in the audit lines. */
export const CERTIFICATE_ATTESTOR = 'certificate';
/** As long as the longest version; a peer's word that is kept is bounded. */
const MAX_VERSION_LENGTH = 64;

export class RenewalStream {
  readonly identity: SpiffeId;
  readonly #options: RenewalStreamOptions;
  readonly #peer: string;
  #acked: string | undefined;
  #issuerKeyId: string | undefined;
  #serial: string;
  /** Of the newest certificate that its holder is known to have. */
  #notAfterMs: number;
  #isEnded = false;

  constructor(options: RenewalStreamOptions) {
    const { call, peer, authority } = options;
    this.#options = options;
    this.identity = peer.identity;
    this.#peer = call.getPeer();
    this.#issuerKeyId = peer.issuerKeyId;
    this.#serial = peer.serial;
    this.#notAfterMs = peer.notAfterUnixSeconds * 1_000;
    call.on('data', (received: Received) => this.#take(received));
    call.on('end', () => this.end(status.OK, 'the client is done'));
    this.sendBundle();
    if (authority.needsRenewal(this.#issuerKeyId)) this.sendRenewNow('another root signs now');
  }

  get connected(): ConnectedWorkload {
    return {
      identity: this.identity,
      peer: this.#peer,
      ackedBundleVersion: this.#acked,
      issuerKeyId: this.#issuerKeyId,
    };
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  sendBundle(): void {
    const { authority, federated } = this.#options;
    this.#send({ bundle: bundleMessage(authority.bundle(), federated?.()) });
  }

  sendRenewNow(reason: string): void {
    this.#send({ renew_now: { reason } });
  }

  #take(received: Received): void {
    if (this.#isEnded) return;
    if (!this.#options.bucket.take()) {
      this.#refuse('rate-limited', status.RESOURCE_EXHAUSTED, 'too many messages');
      return;
    }
    const request = received.ok ? readRenewRequest(received.message) : undefined;
    switch (request?.kind) {
      case 'bundle-ack':
        this.#acked = request.version.slice(0, MAX_VERSION_LENGTH);
        this.#options.onAck();
        return;
      case 'csr':
        this.#renew(request.csrDer);
        return;
      case 'additional-csr':
        this.#issueBeside(request.csrDer);
        return;
      case 'unknown':
      case undefined:
        this.#refuse('message-malformed', status.INVALID_ARGUMENT, 'not a RenewRequest');
        return;
      default:
        request satisfies never;
    }
  }

  #renew(csrDer: Uint8Array): void {
    const svid = this.#issue(csrDer, this.#serial);
    if (svid === undefined) return;
    this.#serial = svid.serial;
    this.#issuerKeyId = this.#options.authority.issuerKeyId;
    this.#notAfterMs = svid.notAfter.getTime();
    this.#send({ svid: svidMessage(svid) });
    this.#options.onAck();
  }

  /** Whoever holds it may put it away or not: it counts as in use until it ends, and proves nothing of this stream. */
  #issueBeside(csrDer: Uint8Array): void {
    const svid = this.#issue(csrDer);
    if (svid !== undefined) this.#send({ svid: svidMessage(svid) });
  }

  #issue(csrDer: Uint8Array, replaces?: string): Svid | undefined {
    const { authority, clock, parts } = this.#options;
    // The connection was proven once; without this its holder could renew for ever on a key that is long out of use.
    if (clock.now() >= this.#notAfterMs) {
      const reason = 'the certificate has expired; connect with a new one';
      this.#refuse('peer-expired', status.UNAUTHENTICATED, reason);
      return undefined;
    }
    const issuance = authority.issue(csrDer, parts, CERTIFICATE_ATTESTOR, this.#peer, replaces);
    if (issuance.ok) return issuance.svid;
    const isOurs = issuance.reasonCode === 'issuer-expired';
    this.end(isOurs ? status.UNAVAILABLE : status.INVALID_ARGUMENT, issuance.reason);
    return undefined;
  }

  #send(message: PlainMessage): void {
    if (this.#isEnded) return;
    if (this.#options.call.writableLength >= MAX_UNREAD_MESSAGES) {
      this.#refuse('not-reading', status.RESOURCE_EXHAUSTED, 'too much is left unread');
      return;
    }
    this.#options.call.write(message);
  }

  #refuse(reasonCode: string, code: status, reason: string): void {
    const { namespace, serviceAccount } = this.#options.parts;
    this.#options.authority.audit({
      ok: false,
      reasonCode,
      reason,
      namespace,
      serviceAccount,
      attestor: CERTIFICATE_ATTESTOR,
      peer: this.#peer,
    });
    this.end(code, reason);
  }

  /** Once; later calls do nothing. */
  end(code: status, details: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (code === status.OK) this.#options.call.end();
    else this.#options.call.emit('error', { code, details });
  }
}
