// What the benchmark of the CA, its server and its process of clients say to each other.

export interface Serving {
  readonly kind: 'serving';
  /** `host:port` of the services. */
  readonly enrolment: string;
  readonly renewal: string;
  readonly bundlePem: string;
  readonly controlPlaneId: string;
}

export type Where = Omit<Serving, 'kind'>;

export type ToClients =
  /** Enrols on connections of their own, so many at once. */
  | {
      readonly kind: 'enrol';
      readonly where: Where;
      readonly atOnce: number;
      readonly durationMs: number;
    }
  /** Opens streams; `renew` asks on them, one request in flight on each. */
  | { readonly kind: 'open'; readonly where: Where; readonly streams: number }
  | { readonly kind: 'renew'; readonly durationMs: number }
  /** All begin at the same moment: enrolment, then a renewal stream that stays open. */
  | { readonly kind: 'start-all'; readonly where: Where; readonly tokens: readonly string[] }
  /** Asks with a token that must be refused. */
  | { readonly kind: 'refused'; readonly where: Where; readonly token: string };

export interface Answered {
  readonly kind: 'answered';
  /** Certificates that came, each of the key and the identity that was asked for. */
  readonly answers: number;
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type FromClients =
  | { readonly kind: 'started' | 'opened' }
  | { readonly kind: 'refusal'; readonly reason: string | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  | Answered;

/** Any service account: the benchmark's server believes whoever asks. */
export const ACCOUNT = 'web';
export const CA_NAMESPACE = 'shop';
/** What the benchmark's server does not believe. */
export const BAD_TOKEN = 'bad';
/** Argument of a server whose renewals are always the same answer. */
export const ECHO = 'echo';
