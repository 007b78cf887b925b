// The Workload API of a sidecar: the methods that SPIFFE names, answered with the certificate that is kept for the application.
import type { Clock } from '@weft/model/clock';
import type { TrustDomain } from '@weft/model/identity';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import { STATUS } from '../control-plane/grpc/status.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { Svid } from '../enrol/check-svid.ts';
import type { MetricsRegistry } from '../telemetry/metrics.ts';
import { x509BundlesAnswer, x509SvidAnswer } from './answers.ts';
import type { ApiCall } from './api-call.ts';
import { ApiServer, type Method, Refused } from './api-server.ts';
import { createWorkloadApiMetrics, type Handed, type WorkloadApiMetrics } from './metrics.ts';
import type { WorkloadApiOptions } from './options.ts';
import { jwtMethods } from './jwt-methods.ts';
import { TokenClient } from './token-client.ts';
import { WorkloadCertificate } from './workload-certificate.ts';

export interface WorkloadApiDependencies {
  readonly api: WorkloadApiOptions;
  readonly connect: () => ChannelLease;
  readonly trustDomain: TrustDomain;
  readonly namespace: string;
  readonly metrics: MetricsRegistry;
  /** There is a certificate to hand over, or none any more. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

const SERVICE = '/SpiffeWorkloadAPI';

interface Following {
  readonly what: Handed;
  readonly answer: (svid: Svid) => Uint8Array;
}

/** Written once for all who follow. */
function once(write: (svid: Svid) => Uint8Array): (svid: Svid) => Uint8Array {
  const written = new WeakMap<Svid, Uint8Array>();
  return (svid) => {
    const answer = written.get(svid) ?? write(svid);
    written.set(svid, answer);
    return answer;
  };
}

const X509_SVID: Following = { what: 'x509-svid', answer: once(x509SvidAnswer) };
const X509_BUNDLES: Following = { what: 'x509-bundles', answer: once(x509BundlesAnswer) };

export class WorkloadApi implements Disposable {
  readonly #certificate: WorkloadCertificate;
  readonly #metrics: WorkloadApiMetrics;
  readonly #log: Logger;
  readonly #tokens: TokenClient;
  readonly #listeners = new Listeners<Svid>();
  #server: ApiServer | undefined;
  /** Of the sidecar's own certificate. */
  #serial: string | undefined;

  /** @throws Error that says what cannot be opened, and why. */
  static async open(dependencies: WorkloadApiDependencies): Promise<WorkloadApi> {
    const made = new WorkloadApi(dependencies);
    const { api, log } = dependencies;
    const methods = made.#methods(dependencies);
    made.#server = await ApiServer.open({ api, methods, metrics: made.#metrics, log });
    return made;
  }

  private constructor(dependencies: WorkloadApiDependencies) {
    const { trustDomain, namespace, metrics, onChange, log } = dependencies;
    this.#log = log;
    this.#metrics = createWorkloadApiMetrics(metrics);
    this.#tokens = new TokenClient(dependencies);
    this.#certificate = new WorkloadCertificate({
      ...dependencies,
      expected: { trustDomain, namespace },
      onChange: (svid) => {
        if (svid !== undefined) this.#listeners.tell(svid);
        onChange();
      },
    });
  }

  /** Why the application would not get an identity now. */
  get reasons(): readonly string[] {
    const { svid, failure } = this.#certificate;
    if (svid !== undefined) return [];
    return [`no certificate for the workload API${failure === undefined ? '' : `: ${failure}`}`];
  }

  /** The sidecar's own certificate or bundle is another. */
  follow(own: Svid | undefined): void {
    if (own?.serialHex !== this.#serial) this.#tokens.forgetTokens();
    this.#serial = own?.serialHex;
    this.#certificate.follow(own);
  }

  #methods({ trustDomain, clock, log }: WorkloadApiDependencies): ReadonlyMap<string, Method> {
    return new Map<string, Method>([
      [`${SERVICE}/FetchX509SVID`, (call, _, caller) => this.#follow(call, caller, X509_SVID)],
      [
        `${SERVICE}/FetchX509Bundles`,
        (call, _, caller) => this.#follow(call, caller, X509_BUNDLES),
      ],
      ...jwtMethods({
        tokens: this.#tokens,
        spiffeId: () => this.#certificate.svid?.spiffeId,
        trustDomain,
        metrics: this.#metrics,
        clock,
        log,
      }),
    ]);
  }

  /** Now, and at every change until the caller leaves. An answer that says the same again is not sent. */
  #follow(call: ApiCall, caller: string, { what, answer }: Following): void {
    const { svid: now } = this.#certificate;
    if (now === undefined) {
      const details = this.reasons.join('; ');
      throw new Refused('no-identity', STATUS.UNAVAILABLE, details);
    }
    let sent: Uint8Array | undefined;
    const tell = (svid: Svid): void => {
      const message = answer(svid);
      if (sent !== undefined && Buffer.compare(sent, message) === 0) return;
      sent = message;
      call.sendLatest(message);
      this.#metrics.handed(what);
      const { spiffeId, serialHex: serial } = svid;
      this.#log.info({ what, receiver: caller, spiffeId, serial }, 'handed over');
    };
    const subscription = this.#listeners.add(tell);
    call.onClose(() => subscription[Symbol.dispose]());
    tell(now);
  }

  [Symbol.dispose](): void {
    this.#certificate[Symbol.dispose]();
    this.#tokens[Symbol.dispose]();
    this.#server?.[Symbol.dispose]();
  }
}
