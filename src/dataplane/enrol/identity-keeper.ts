// Owns the workload's certificate: enrols, renews in time, takes new bundles, and says when there is nothing valid any more.
import { X509Certificate } from 'node:crypto';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import type { PlainMessage } from '@weft/xds/registry';
import type { TrustDomainRoots } from '@weft/xds/resources/secret';
import type { Logger } from 'pino';
import { Backoff } from '../control-plane/backoff.ts';
import { openChannel } from '../control-plane/link.ts';
import { type ChannelLease, SharedChannel } from '../control-plane/shared-channel.ts';
import { splitPem } from '../tls/credentials.ts';
import { checkSvid, type ExpectedIdentity, readBundle, type Svid } from './check-svid.ts';
import { readFederated } from './read-federated.ts';
import { createKeyAndRequest, type KeyAndRequest } from './csr.ts';
import { enrol, type Enrolled } from './enrolment-client.ts';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { renewAtMs } from './renewal.ts';
import { RenewalStream } from './renewal-stream.ts';

export interface IdentityKeeperOptions {
  /** Server-authenticated port of the control plane, for enrolment. */
  readonly enrolmentAddress: string;
  /** Mutual TLS port, for renewal. */
  readonly renewalAddress: string;
  readonly bundlePem: string;
  readonly controlPlane: SpiffeId;
  /** Read anew at every try while there is no certificate: a Pod's file follows the mesh, and may be newer than we are. */
  readonly readBundle?: (() => Promise<string>) | undefined;
  /** Read anew at every try: a used or expired token is replaced by writing another. */
  readonly readEvidence: () => Promise<Evidence>;
  /**
   * What a first refusal means: `end` where only its operator can cure it (a join token), `retry` in a Pod, whose token
   * the kubelet replaces and whose permission the operator may still give. Default: `end`.
   */
  readonly afterRefusal?: 'end' | 'retry' | undefined;
  readonly expected: ExpectedIdentity;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** New certificate or bundle; `undefined` when the certificate has expired. */
  readonly onChange: (svid: Svid | undefined) => void;
  /** Believes other trust domains as the renewal stream tells; default: whoever has ROOTCA says so, by `setFederated`. */
  readonly takesFederated?: boolean;
  /** Where others go by the bundle too: a new one is acknowledged only when they do. Rejected: not at all. */
  readonly whenBundleIsUsed?: () => Promise<void>;
}

const ENROL_BACKOFF = { baseMs: 500, maxMs: 30_000 } as const;
/** Sidecars that are all called to renew at once answer within this. */
const RENEW_NOW_SPREAD_MS = 250;
/** A request that nothing answered is made anew. */
const RENEWAL_TIMEOUT_MS = 10_000;

export class EnrolmentRefused extends Error {}

export class IdentityKeeper implements Disposable {
  readonly #options: IdentityKeeperOptions;
  readonly #timers = new Map<'renew' | 'expire' | 'retry', Disposable>();
  /** Ends whatever waits here. */
  readonly #ended = new AbortController();
  #svid: Svid | undefined;
  /** Whom we are: known from the first certificate on, and kept when that expires. */
  #spiffeId: SpiffeId | undefined;
  /** Roots of other trust domains; kept as the bundle is. */
  #federated: readonly TrustDomainRoots[] | undefined;
  /** The newest roots; kept when the certificate expires, for the pinned ones may be retired by then. */
  #bundlePem: string;
  #bundleVersion = '';
  /** What is known to be in use. */
  #ackedVersion = '';
  /** What `readBundle` gave last: only a change there is news. */
  #bundleText: string;
  #failure: string | undefined;
  readonly #channel: SharedChannel<{ readonly bundlePem: string; readonly own: Svid }>;
  #pending: KeyAndRequest | undefined;
  #stream: RenewalStream | undefined;

  constructor(options: IdentityKeeperOptions) {
    this.#options = options;
    const { renewalAddress: address, controlPlane } = options;
    this.#channel = new SharedChannel((material) =>
      openChannel({ address, controlPlane, ...material }),
    );
    this.#spiffeId = options.expected.spiffeId;
    this.#bundlePem = options.bundlePem;
    this.#bundleText = options.bundlePem;
  }

  get svid(): Svid | undefined {
    return this.#svid;
  }

  /** Why there is no certificate, as the last try had it. */
  get failure(): string | undefined {
    return this.#failure;
  }

  get bundleVersion(): string {
    return this.#bundleVersion;
  }

  /**
   * Enrols, trying again while the control plane is away; then keeps the certificate fresh.
   * Returns without a certificate when `signal` aborts or this is disposed first.
   * @throws EnrolmentRefused when the token or the request is refused for good.
   */
  async start(signal: AbortSignal): Promise<void> {
    const outcome = await this.#enrol(AbortSignal.any([signal, this.#ended.signal]), 'first');
    if (outcome === 'ended') return;
    this.#stream = new RenewalStream({
      connect: () => this.connect(),
      clock: this.#options.clock,
      random: this.#options.random,
      log: this.#options.log,
      handlers: {
        onOpen: (send) => this.#onOpen(send),
        onSvid: (message) => this.#onSvid(message),
        onBundle: (message) => this.#onBundle(message),
        onRenewNow: () => this.#schedule(this.#options.random() * RENEW_NOW_SPREAD_MS),
      },
    });
  }

  /**
   * For a stream to the control plane, with the certificate and the bundle of now.
   * @throws Error when there is no certificate.
   */
  connect(): ChannelLease {
    return this.#channel.lease({ bundlePem: this.#bundlePem, own: this.#current() });
  }

  #current(): Svid {
    if (this.#svid === undefined) throw new Error('Cannot connect: the certificate has expired');
    return this.#svid;
  }

  async #enrol(signal: AbortSignal, attempt: 'first' | 'again'): Promise<'enrolled' | 'ended'> {
    const { enrolmentAddress, random, log, afterRefusal } = this.#options;
    const endsRefused = attempt === 'first' && afterRefusal !== 'retry';
    const backoff = new Backoff({ ...ENROL_BACKOFF, random });
    while (!signal.aborted) {
      const outcome = await this.#tryToEnrol(endsRefused ? 'throw' : 'tell');
      if (signal.aborted) break;
      /** A renewal that was under way when the certificate expired may have come in time. */
      if (this.#svid !== undefined) return 'enrolled';
      if (outcome.ok) {
        this.#bundleVersion = outcome.bundleVersion;
        this.#ackedVersion = outcome.bundleVersion;
        this.#adopt(outcome.svid);
        return 'enrolled';
      }
      this.#failure = outcome.reason;
      if (outcome.isFinal && endsRefused) {
        throw new EnrolmentRefused(`Cannot enrol at ${enrolmentAddress}: ${outcome.reason}`);
      }
      const delayMs = backoff.next();
      log.warn(
        { address: enrolmentAddress, reason: outcome.reason, retryInMs: Math.round(delayMs) },
        'not enrolled yet; trying again',
      );
      await this.#wait(delayMs, signal);
    }
    return 'ended';
  }

  /** @param onError a try that is not the last one tells of what is wrong (a token file that is being replaced), and goes on. */
  async #tryToEnrol(onError: 'throw' | 'tell'): Promise<Enrolled> {
    const { enrolmentAddress: address, clock, controlPlane, expected } = this.#options;
    try {
      await this.#takeNewerBundle();
      return await enrol({
        address,
        bundlePem: this.#bundlePem,
        controlPlane,
        evidence: await this.#options.readEvidence(),
        expected: { ...expected, spiffeId: this.#spiffeId },
        clock,
      });
    } catch (error) {
      if (onError === 'throw') throw error;
      const reason = error instanceof Error ? error.message : String(error);
      return { ok: false, isFinal: false, reason };
    }
  }

  /** A file that did not change since it was read last is older than what the control plane told. */
  async #takeNewerBundle(): Promise<void> {
    const { readBundle } = this.#options;
    if (readBundle === undefined) return;
    const text = await readBundle();
    if (text === this.#bundleText) return;
    this.setBundle(text);
    this.#bundleText = text;
  }

  #wait(delayMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => {
      signal.removeEventListener('abort', end);
      resolve();
    };
    signal.addEventListener('abort', end);
    this.#setTimer('retry', end, delayMs);
    return promise;
  }

  #setTimer(name: 'renew' | 'expire' | 'retry', run: () => void, delayMs: number): void {
    this.#timers.get(name)?.[Symbol.dispose]();
    this.#timers.set(name, this.#options.clock.setTimeout(run, delayMs));
  }

  #adopt(issued: Svid): void {
    const { clock, random, log, onChange } = this.#options;
    const now = clock.now();
    const svid = { ...issued, ...(this.#federated && { federated: this.#federated }) };
    this.#svid = svid;
    this.#spiffeId = svid.spiffeId;
    this.#bundlePem = svid.bundlePem;
    this.#pending = undefined;
    this.#failure = undefined;
    this.#schedule(renewAtMs({ receivedAtMs: now, notAfterMs: svid.notAfterMs }, random) - now);
    this.#setTimer('expire', () => this.#onExpired(), svid.notAfterMs - now);
    log.info(
      {
        spiffeId: svid.spiffeId,
        serial: svid.serialHex,
        notAfter: new Date(svid.notAfterMs).toISOString(),
      },
      'certificate in use',
    );
    onChange(svid);
  }

  #schedule(delayMs: number): void {
    this.#setTimer('renew', () => void this.#renew(), delayMs);
  }

  /** Asks with a new key. While there is no stream the next one begins with it. */
  async #renew(): Promise<void> {
    const request = await createKeyAndRequest();
    if (this.#ended.signal.aborted) return;
    this.#pending = request;
    this.#stream?.send({ csr_der: request.csrDer });
    this.#schedule(RENEWAL_TIMEOUT_MS);
  }

  #onOpen(send: (request: PlainMessage) => void): void {
    if (this.#ackedVersion !== '') send({ bundle_ack: this.#ackedVersion });
    if (this.#pending !== undefined) send({ csr_der: this.#pending.csrDer });
  }

  #onSvid(message: PlainMessage): void {
    const own = this.#pending;
    const { expected, clock, log } = this.#options;
    if (own === undefined) return;
    const bundlePem = this.#bundlePem;
    const check = checkSvid(message, own, {
      bundlePem,
      roots: splitPem(bundlePem).map((pem) => new X509Certificate(pem)),
      expected: { ...expected, spiffeId: this.#spiffeId },
      nowMs: clock.now(),
    });
    if (check.ok) this.#adopt(check.svid);
    else log.error({ reason: check.reason }, 'refused a new certificate; the old one stays in use');
  }

  #onBundle(message: PlainMessage): void {
    const bundle = readBundle(message);
    if (bundle === undefined) {
      this.#options.log.error('refused a bundle without usable roots; the old one stays in force');
      return;
    }
    const { version } = bundle;
    this.setBundle(bundle.pem, version);
    if (this.#options.takesFederated === true) this.setFederated(readFederated(message));
    const { whenBundleIsUsed, log } = this.#options;
    if (whenBundleIsUsed === undefined) {
      this.#acknowledge(version);
      return;
    }
    whenBundleIsUsed().then(
      () => this.#acknowledge(version),
      (error: unknown) => log.error({ reason: String(error) }, 'a bundle is not acknowledged'),
    );
  }

  #acknowledge(version: string): void {
    // Another may have come meanwhile, which is acknowledged in its turn.
    if (version !== this.#bundleVersion) return;
    this.#ackedVersion = version;
    this.#stream?.send({ bundle_ack: version });
  }

  /**
   * In force from now on: for peers, for the control plane, and for the next certificate.
   * @throws Error when it holds anything but certificates.
   */
  setBundle(text: string, version?: string): void {
    const roots = splitPem(text).map((part) => new X509Certificate(part));
    if (roots.length === 0) throw new Error('Cannot trust anybody: the bundle is empty');
    if (version !== undefined) this.#bundleVersion = version;
    const pem = roots.map((root) => root.toString()).join('');
    if (this.#bundlePem === pem) return;
    this.#bundlePem = pem;
    this.#options.log.info({ version }, 'trust bundle in use');
    if (this.#svid === undefined) return;
    this.#svid = { ...this.#svid, bundlePem: pem };
    this.#options.onChange(this.#svid);
  }

  /**
   * Roots of other trust domains, each for its own identities.
   * @throws Error when they cannot be trusted by; those before stay in force then.
   */
  setFederated(federated: readonly TrustDomainRoots[] | undefined): void {
    if (JSON.stringify(federated) === JSON.stringify(this.#federated)) return;
    for (const { trustDomain, trustedCaPem } of federated ?? []) {
      const roots = splitPem(trustedCaPem).map((part) => new X509Certificate(part));
      if (roots.length === 0) throw new Error(`Cannot trust ${trustDomain}: it has no roots`);
    }
    this.#federated = federated;
    const trustDomains = federated?.map(({ trustDomain }) => trustDomain) ?? [];
    this.#options.log.info({ trustDomains }, 'federated trust domains in use');
    if (this.#svid === undefined) return;
    const { federated: _, ...own } = this.#svid;
    this.#svid = { ...own, ...(federated && { federated }) };
    this.#options.onChange(this.#svid);
  }

  #onExpired(): void {
    const { log, onChange } = this.#options;
    log.error('the certificate has expired: every connection is refused until there is a new one');
    this.#svid = undefined;
    onChange(undefined);
    void this.#enrol(this.#ended.signal, 'again').catch((error: unknown) => {
      log.error({ error: String(error) }, 'cannot enrol again');
    });
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    this.#stream?.[Symbol.dispose]();
  }
}
