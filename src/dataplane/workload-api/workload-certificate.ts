// Owns the certificate that the application is handed: a key of its own beside the sidecar's, replaced whenever the sidecar's is.
import { X509Certificate } from 'node:crypto';
import type { Clock } from '@weft/model/clock';
import { messageOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { Backoff } from '../control-plane/backoff.ts';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import { whyNoAnswer } from '../control-plane/why-no-answer.ts';
import { checkSvid, type ExpectedIdentity, type Svid } from '../enrol/check-svid.ts';
import { createKeyAndRequest } from '../enrol/csr.ts';
import { splitPem } from '../tls/credentials.ts';

export interface WorkloadCertificateOptions {
  /** A channel to the control plane, with the sidecar's certificate of now. */
  readonly connect: () => ChannelLease;
  readonly expected: Omit<ExpectedIdentity, 'spiffeId'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Another certificate or bundle; `undefined` when there is none that is valid. */
  readonly onChange: (svid: Svid | undefined) => void;
}

const SERVICE = 'weft.enrolment.v1.Enrolment';
const BACKOFF = { baseMs: 500, maxMs: 30_000 } as const;
/** A request that nothing answered is made anew. */
const ANSWER_MS = 10_000;

export class WorkloadCertificate implements Disposable {
  readonly #options: WorkloadCertificateOptions;
  /** The sidecar's. */
  #own: Svid | undefined;
  #svid: Svid | undefined;
  #failure: string | undefined;
  /** Ends the tries for a certificate that is out of date by now. */
  #asking = new AbortController();
  #expiry: Disposable | undefined;
  #isDisposed = false;

  constructor(options: WorkloadCertificateOptions) {
    this.#options = options;
  }

  get svid(): Svid | undefined {
    return this.#svid;
  }

  /** Why there is none, as the last try had it. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** The sidecar has this certificate and bundle from now on. */
  follow(own: Svid | undefined): void {
    const before = this.#own;
    this.#own = own;
    if (own === undefined || this.#isDisposed) return;
    const isOtherTrust =
      this.#svid?.bundlePem !== own.bundlePem || this.#svid.federated !== own.federated;
    if (this.#svid !== undefined && isOtherTrust) {
      this.#svid = withTrustOf(this.#svid, own);
      this.#options.onChange(this.#svid);
    }
    if (before?.serialHex === own.serialHex) return;
    this.#asking.abort();
    this.#asking = new AbortController();
    void this.#keepAsking(this.#asking.signal);
  }

  async #keepAsking(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff({ ...BACKOFF, random });
    while (!signal.aborted) {
      try {
        const svid = await this.#ask();
        if (!signal.aborted) this.#adopt(svid);
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#failure = whyNoAnswer(error instanceof Error ? error.message : String(error));
        const delayMs = backoff.next();
        log.warn(
          { reason: this.#failure, retryInMs: Math.round(delayMs) },
          'no certificate for the application yet; trying again',
        );
        await wait(clock, delayMs, signal);
      }
    }
  }

  readonly #ask = async (): Promise<Svid> => {
    const request = await createKeyAndRequest();
    const message = await this.#exchange({ additional_csr_der: request.csrDer });
    const own = this.#own;
    if (own === undefined) throw new Error('the sidecar itself has no certificate any more');
    const { bundlePem, spiffeId } = own;
    const check = checkSvid(message, request, {
      bundlePem,
      roots: splitPem(bundlePem).map((pem) => new X509Certificate(pem)),
      expected: { ...this.#options.expected, spiffeId },
      nowMs: this.#options.clock.now(),
    });
    if (!check.ok) throw new Error(check.reason);
    return check.svid;
  };

  /** A stream for this one request: the sidecar's own renewals are not disturbed. */
  async #exchange(request: PlainMessage): Promise<PlainMessage> {
    const method = serviceDefinition(SERVICE)['Renew'];
    if (method === undefined) throw new TypeError(`Cannot find Renew of ${SERVICE}`);
    using lease = this.#options.connect();
    const { promise, resolve, reject } = Promise.withResolvers<PlainMessage>();
    const call = lease.channel.open(method.path, {
      onMessage: (bytes) => {
        const svid = svidOf(() => method.responseDeserialize(bytes), reject);
        if (svid !== undefined) resolve(svid);
      },
      onEnd: (failure) =>
        reject(failure ?? new CallFailure(STATUS.INTERNAL, 'the answer has no certificate')),
    });
    const late = new CallFailure(STATUS.DEADLINE_EXCEEDED, `no answer within ${ANSWER_MS} ms`);
    const timer = setTimeout(() => call.giveUp(late), ANSWER_MS);
    try {
      call.send(method.requestSerialize(request));
      return await promise;
    } finally {
      clearTimeout(timer);
      call.giveUp();
    }
  }

  #adopt(svid: Svid): void {
    const { clock, log, onChange } = this.#options;
    this.#failure = undefined;
    /** The bundle may have changed while the answer was on its way. */
    this.#svid = this.#own === undefined ? svid : withTrustOf(svid, this.#own);
    this.#expiry?.[Symbol.dispose]();
    this.#expiry = clock.setTimeout(() => this.#onExpired(), svid.notAfterMs - clock.now());
    const { spiffeId, serialHex, notAfterMs } = svid;
    log.info(
      { spiffeId, serial: serialHex, notAfter: new Date(notAfterMs).toISOString() },
      'certificate for the application',
    );
    onChange(this.#svid);
  }

  #onExpired(): void {
    this.#svid = undefined;
    this.#options.log.error('the certificate for the application has expired');
    this.#options.onChange(undefined);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#asking.abort();
    this.#expiry?.[Symbol.dispose]();
  }
}

function withTrustOf(before: Svid, { bundlePem, federated }: Svid): Svid {
  const { federated: _, ...svid } = before;
  return { ...svid, bundlePem, ...(federated && { federated }) };
}

function svidOf(
  read: () => PlainMessage,
  fail: (error: CallFailure) => void,
): PlainMessage | undefined {
  try {
    return messageOf(read(), 'svid');
  } catch (error) {
    fail(new CallFailure(STATUS.INTERNAL, `a message cannot be read: ${String(error)}`));
    return undefined;
  }
}

function wait(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.setTimeout(resolve, delayMs);
  const end = (): void => {
    timer[Symbol.dispose]();
    resolve();
  };
  signal.addEventListener('abort', end, { once: true });
  return promise.finally(() => signal.removeEventListener('abort', end));
}
