// What the sidecar counts, under the names and labels that dashboards made for Istio expect.
import type { DryRunVerdict, PolicyMarks } from '../filters/policy-marks.ts';
import { DryRunLedger } from './dry-run-ledger.ts';
import type { CounterHandle, HistogramHandle, MetricsRegistry } from './metrics.ts';

/** Who called whom; the same for every request of one connection or one route. */
export interface Flow {
  readonly reporter: 'source' | 'destination';
  readonly sourcePrincipal: string;
  readonly sourceWorkload: string;
  readonly sourceNamespace: string;
  readonly destinationPrincipal: string;
  readonly destinationWorkload: string;
  readonly destinationNamespace: string;
  readonly destinationService: string;
  readonly securityPolicy: 'mutual_tls' | 'none';
}

const FLOW_LABELS = [
  'reporter',
  'source_principal',
  'source_workload',
  'source_workload_namespace',
  'destination_principal',
  'destination_workload',
  'destination_workload_namespace',
  'destination_service',
  'connection_security_policy',
] as const;

const flowValues = (flow: Flow): readonly string[] => [
  flow.reporter,
  flow.sourcePrincipal,
  flow.sourceWorkload,
  flow.sourceNamespace,
  flow.destinationPrincipal,
  flow.destinationWorkload,
  flow.destinationNamespace,
  flow.destinationService,
  flow.securityPolicy,
];

/** Milliseconds, as in Istio's `request_duration_milliseconds`. */
const DURATION_BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

export interface RequestOutcome {
  readonly protocol: 'http' | 'grpc';
  readonly status: number;
  readonly grpcStatus: string;
  /** `allow`, `deny`, or `none` where no policy speaks. */
  readonly decision: string;
  /** Empty when all went well. */
  readonly reasonCode: string;
  readonly durationMs: number;
}

/** Handles of one flow: resolved at its first request and kept with the connection. */
export interface FlowMetrics {
  request(outcome: RequestOutcome): void;
  /** What policies said of a request or connection without deciding it. */
  marked(marks: PolicyMarks): void;
  connectionOpened(): void;
  connectionClosed(bytesReceived: number, bytesSent: number): void;
}

/** Whether both count under the same labels. */
const isAlike = (a: RequestOutcome, b: RequestOutcome): boolean =>
  a.status === b.status &&
  a.decision === b.decision &&
  a.protocol === b.protocol &&
  a.reasonCode === b.reasonCode &&
  a.grpcStatus === b.grpcStatus;

export type ProxyMetrics = ReturnType<typeof createProxyMetrics>;

/** Outcomes that are told apart in handle caches: status, gRPC status, decision and reason. */
const MAX_CACHED_OUTCOMES = 128;

export function createProxyMetrics(registry: MetricsRegistry) {
  const requests = registry.counter({
    name: 'weft_requests_total',
    help: 'HTTP and gRPC requests by who called whom and what became of them',
    labels: [
      ...FLOW_LABELS,
      'request_protocol',
      'response_code',
      'grpc_response_status',
      'decision',
      'reason',
    ],
  });
  const durations = registry.histogram({
    name: 'weft_request_duration_milliseconds',
    help: 'Time from the end of the request head to the end of the response',
    labels: FLOW_LABELS,
    buckets: DURATION_BUCKETS,
  });
  const opened = registry.counter({
    name: 'weft_tcp_connections_opened_total',
    help: 'TCP connections that were passed on',
    labels: FLOW_LABELS,
  });
  const closed = registry.counter({
    name: 'weft_tcp_connections_closed_total',
    help: 'TCP connections that were passed on and have ended',
    labels: FLOW_LABELS,
  });
  const received = registry.counter({
    name: 'weft_tcp_received_bytes_total',
    help: 'Bytes from callers on TCP connections',
    labels: FLOW_LABELS,
  });
  const sent = registry.counter({
    name: 'weft_tcp_sent_bytes_total',
    help: 'Bytes to callers on TCP connections',
    labels: FLOW_LABELS,
  });
  const refused = registry.counter({
    name: 'weft_connections_refused_total',
    help: 'Connections that were closed before anything was passed on',
    labels: ['direction', 'reason'],
  });
  const cut = registry.counter({
    name: 'weft_connections_cut_total',
    help: 'Open connections that were ended because policy or trust changed',
    labels: ['reason'],
  });
  const floods = registry.counter({
    name: 'weft_floods_total',
    help: 'Clients that began to do too much, by what they did and what is done with them',
    labels: ['event', 'action'],
  });
  const unauthorized = registry.counter({
    name: 'weft_rbac_decisions_total',
    help: 'Decisions of policies',
    labels: ['protocol', 'decision'],
  });
  const audited = registry.counter({
    name: 'weft_policy_audit_total',
    help: 'Requests and connections that AUDIT rules marked, by the first rule that matched',
    labels: [...FLOW_LABELS, 'policy'],
  });
  const tried = registry.counter({
    name: 'weft_policy_dry_run_total',
    help: 'Requests and connections by what was decided, and what would be with the policies on trial',
    labels: [...FLOW_LABELS, 'today', 'candidate', 'reason', 'policy'],
  });
  const asked = registry.counter({
    name: 'weft_ext_authz_total',
    help: 'Requests about which an external authorizer was asked, and what it said or what held without it',
    labels: [...FLOW_LABELS, 'provider', 'answer'],
  });
  const dryRuns = new DryRunLedger();
  const decisions = {
    http: new Map<string, CounterHandle>(),
    tcp: new Map<string, CounterHandle>(),
  };
  const decided = (protocol: 'http' | 'tcp', decision: string): void => {
    let handle = decisions[protocol].get(decision);
    if (handle === undefined) {
      handle = unauthorized.labels(protocol, decision);
      decisions[protocol].set(decision, handle);
    }
    handle.inc();
  };

  function flow(of: Flow): FlowMetrics {
    const values = flowValues(of);
    const handles = new Map<string, CounterHandle>();
    const marks = new Map<string, CounterHandle>();
    const markHandle = (key: string, create: () => CounterHandle): CounterHandle => {
      let handle = marks.get(key);
      if (handle === undefined) {
        handle = create();
        if (marks.size < MAX_CACHED_OUTCOMES) marks.set(key, handle);
      }
      return handle;
    };
    const countDryRun = ({ today, candidate }: DryRunVerdict): void => {
      const { reason, decidedBy = 'none' } = candidate;
      const words = [today, candidate].map(({ isAllowed }) => (isAllowed ? 'allow' : 'deny'));
      const key = `${words.join('|')}|${reason}|${decidedBy}`;
      markHandle(key, () => tried.labels(...values, ...words, reason, decidedBy)).inc();
    };
    let duration: HistogramHandle | undefined;
    const handleOf = (outcome: RequestOutcome): CounterHandle => {
      const { protocol, status, grpcStatus, decision, reasonCode } = outcome;
      const key = `${protocol}|${status}|${grpcStatus}|${decision}|${reasonCode}`;
      let handle = handles.get(key);
      if (handle === undefined) {
        const own = [protocol, String(status), grpcStatus, decision, reasonCode];
        handle = requests.labels(...values, ...own);
        if (handles.size < MAX_CACHED_OUTCOMES) handles.set(key, handle);
      }
      return handle;
    };
    /** Of the request before: most end as the one before did, and no key is made for them. */
    let last: RequestOutcome | undefined;
    let lastHandle: CounterHandle | undefined;
    return {
      request(outcome) {
        const { decision } = outcome;
        if (lastHandle === undefined || last === undefined || !isAlike(outcome, last)) {
          last = outcome;
          lastHandle = handleOf(outcome);
        }
        lastHandle.inc();
        duration ??= durations.labels(...values);
        duration.observe(outcome.durationMs);
        if (decision !== 'none') decided('http', decision);
      },
      marked({ audit, dryRun, authorizers = [] }) {
        for (const { provider, answer } of authorizers) {
          markHandle(`${provider}|${answer}`, () =>
            asked.labels(...values, provider, answer),
          ).inc();
        }
        if (audit !== undefined) markHandle(audit, () => audited.labels(...values, audit)).inc();
        if (dryRun === undefined) return;
        countDryRun(dryRun);
        dryRuns.record(of.sourcePrincipal, dryRun);
      },
      connectionOpened: () => opened.labels(...values).inc(),
      connectionClosed(bytesReceived, bytesSent) {
        closed.labels(...values).inc();
        received.labels(...values).inc(bytesReceived);
        sent.labels(...values).inc(bytesSent);
      },
    };
  }

  return {
    flow,
    dryRuns,
    decidedTcp: (decision: 'allow' | 'deny') => decided('tcp', decision),
    refused: (direction: 'inbound' | 'outbound', reason: string) =>
      refused.labels(direction, reason).inc(),
    cut: (reason: string) => cut.labels(reason).inc(),
    flooded: (event: string, action: string) => floods.labels(event, action).inc(),
  };
}
