// The bounds within which streams are served, each with its reason.
import type { ServerOptions } from '@grpc/grpc-js';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from '@weft/xds/protocol/session';

export interface XdsLimits {
  /** Open streams in all; a control plane that is asked for more has too few replicas. */
  readonly maxStreams: number;
  /** Pods of one Deployment share an identity, so this bounds a workload's replicas. */
  readonly maxStreamsPerIdentity: number;
  /** One aggregated stream, or one for each kind, twice over while a connection is replaced. */
  readonly maxStreamsPerProxy: number;
  /** A stream that has not said who it is after so long is ended. */
  readonly firstRequestMs: number;
  /** Responses written and not yet taken by the connection: beyond this nothing more is made for the stream. */
  readonly maxOutboxBytes: number;
  /** A stream whose outbox has not moved for so long is ended: its client does not read. */
  readonly maxStallMs: number;
  /** Requests a stream may send at once, and for each second after that; more are left unread for a while. */
  readonly requestBurst: number;
  readonly requestsPerSecond: number;
  readonly session: SessionLimits;
}

export const DEFAULT_XDS_LIMITS: XdsLimits = {
  maxStreams: 20_000,
  maxStreamsPerIdentity: 4_096,
  maxStreamsPerProxy: 12,
  firstRequestMs: 10_000,
  maxOutboxBytes: 1_024 * 1_024,
  // A full response of 2 MiB takes less than that at 50 kB/s.
  maxStallMs: 45_000,
  // An Envoy that starts in a mesh of 1,000 services asks for endpoints and routes cluster by cluster.
  requestBurst: 2_000,
  requestsPerSecond: 200,
  session: DEFAULT_SESSION_LIMITS,
};

/** For the gRPC server that carries the streams. */
export const serverOptions: ServerOptions = {
  /** A request holds names only. It is decompressed within the same bound. */
  'grpc.max_receive_message_length': 1_024 * 1_024,
  'grpc.max_concurrent_streams': 32,
  /** MiB that one connection may make the process hold before its new streams are refused. */
  'grpc-node.max_session_memory': 128,
  /** A proxy that vanished is noticed within 40 s. */
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  /** A stream outlives the certificate that opened it by no more than this; reconnecting costs little. */
  'grpc.max_connection_age_ms': 30 * 60_000,
  'grpc.max_connection_age_grace_ms': 5_000,
};
