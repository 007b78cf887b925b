// What the control plane counts, for Prometheus.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { CredentialState } from '../credentials/credential-part.ts';
import type { FederationScrape } from '../federation/federation-part.ts';
import type { XdsMetrics } from '../serve/metrics.ts';
import { addFederationMetrics } from './federation-metrics.ts';

/** Seconds: compiling and pushing are between a tenth of a millisecond and a few seconds. */
const SECONDS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Numbers that are asked for at each scrape. */
export interface ScrapedState {
  readonly sessions: number;
  readonly problems: { readonly error: number; readonly warning: number };
  readonly revision: number;
  readonly encodes: number;
  readonly svidsIssued: number;
  /** By reason code. */
  readonly refusedByReason: ReadonlyMap<string, number>;
  /** Whether it leads; a control plane that is alone does. */
  readonly isLeader: boolean;
  readonly policies: { readonly total: number; readonly enforced: number };
  readonly credentials: CredentialState;
  readonly federation: FederationScrape;
  readonly rootExpiryUnixSeconds: number;
}

export interface ControlPlaneMetrics {
  readonly xds: XdsMetrics;
  compiled(durationMs: number): void;
  /** A change of a policy is enforced by every proxy that it selects. */
  policyEnforced(durationMs: number): void;
  /** The API server was answered: `path` is the webhook's, empty for none. */
  reviewed(path: string, outcome: string, durationMs: number): void;
  /** Something was found in a workload: `mode` is the policy's, `check` one of those that there are. */
  workloadFinding(mode: string, check: string): void;
  /** A registry was asked for an image: its signatures (signed, unsigned), its digest (resolved), or unavailable. */
  imageLooked(outcome: string): void;
  /** Asked at each scrape for the Pods that have more vulnerabilities than they may, by policy. */
  vulnerablePods(read: () => ReadonlyMap<string, number>): void;
  text(): Promise<string>;
}

export function createControlPlaneMetrics(state: () => ScrapedState): ControlPlaneMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `weft_${name}`, help, labelNames: [...labelNames], registers });
  const opened = counter('xds_streams_opened_total', 'Discovery streams that were opened', [
    'variant',
  ]);
  const ended = counter('xds_streams_ended_total', 'Discovery streams that ended', [
    'variant',
    'reason',
  ]);
  const requests = counter('xds_requests_total', 'Discovery requests by type', ['type']);
  const unknown = counter(
    'xds_unknown_type_requests_total',
    'Requests for types that are not served',
    [],
  );
  const delayed = counter(
    'xds_requests_delayed_total',
    'Times that a stream was read more slowly',
    [],
  );
  const stale = counter('xds_stale_nonces_total', 'Requests that answer an older response', [
    'type',
  ]);
  const responses = counter('xds_responses_total', 'Discovery responses by type', ['type']);
  const resources = counter('xds_resources_total', 'Resources in responses by type', ['type']);
  const bytes = counter('xds_response_bytes_total', 'Bytes of responses by type', ['type']);
  const acks = counter('xds_acks_total', 'Responses that proxies accepted', ['type']);
  const nacks = counter('xds_nacks_total', 'Responses that proxies refused', ['type']);
  const served = new Histogram({
    name: 'weft_xds_change_served_seconds',
    help: 'From a change to the last stream being told',
    buckets: SECONDS,
    registers,
  });
  const compile = new Histogram({
    name: 'weft_compile_seconds',
    help: 'Compiling a snapshot into the mesh',
    buckets: SECONDS,
    registers,
  });
  const propagation = new Histogram({
    name: 'weft_policy_propagation_seconds',
    help: 'From a change of a policy to its enforcement by every proxy that it selects',
    buckets: SECONDS,
    registers,
  });
  const reviews = new Histogram({
    name: 'weft_admission_review_seconds',
    help: 'Reviews that the API server asked for, by webhook and how they ended',
    labelNames: ['path', 'outcome'],
    buckets: SECONDS,
    registers,
  });
  const findings = counter('workload_findings_total', 'What was found in workloads under review', [
    'mode',
    'check',
  ]);
  const images = counter(
    'image_lookups_total',
    'Registries asked for signatures and digests, by what was found',
    ['outcome'],
  );
  const setScraped = addScraped(registry);
  return {
    xds: {
      streamOpened: (variant) => opened.inc({ variant }),
      streamEnded: (variant, reason) => ended.inc({ variant, reason }),
      requestReceived: (type) => requests.inc({ type }),
      unknownTypeRequested: () => unknown.inc(),
      requestDelayed: () => delayed.inc(),
      staleNonceReceived: (type) => stale.inc({ type }),
      responseSent(type, size) {
        responses.inc({ type });
        resources.inc({ type }, size.resources);
        bytes.inc({ type }, size.bytes);
      },
      responseAccepted: (type) => acks.inc({ type }),
      responseRefused: (type) => nacks.inc({ type }),
      changeServed: (durationMs) => served.observe(durationMs / 1_000),
    },
    compiled: (durationMs) => compile.observe(durationMs / 1_000),
    policyEnforced: (durationMs) => propagation.observe(durationMs / 1_000),
    reviewed: (path, outcome, durationMs) => reviews.observe({ path, outcome }, durationMs / 1_000),
    workloadFinding: (mode, check) => findings.inc({ mode, check }),
    imageLooked: (outcome) => images.inc({ outcome }),
    vulnerablePods(read) {
      const gauge = new Gauge({
        name: 'weft_workload_vulnerable',
        help: 'Pods that have more vulnerabilities than a policy lets be there',
        labelNames: ['policy'],
        registers,
        collect() {
          gauge.reset();
          for (const [policy, count] of read()) gauge.set({ policy }, count);
        },
      });
    },
    async text() {
      setScraped(state());
      return registry.metrics();
    },
  };
}

/** @returns sets every gauge; the state is asked for once a scrape, whatever the number of gauges. */
function addScraped(registry: Registry): (now: ScrapedState) => void {
  const setters: ((now: ScrapedState) => void)[] = [];
  const gauge = (name: string, help: string, read: (now: ScrapedState) => number): void => {
    const made = new Gauge({ name: `weft_${name}`, help, registers: [registry] });
    setters.push((now) => made.set(read(now)));
  };
  gauge('xds_sessions', 'Proxies that are connected', (now) => now.sessions);
  gauge('problem_errors', 'Objects that are not in force', (now) => now.problems.error);
  gauge(
    'problem_warnings',
    'Objects that may not do what is expected',
    (now) => now.problems.warning,
  );
  gauge('mesh_revision', 'Counts changes that proxies can see', (now) => now.revision);
  gauge('resources_encoded', 'Resources encoded since the start', (now) => now.encodes);
  gauge('svids_issued', 'Certificates issued since the start', (now) => now.svidsIssued);
  const refused = new Gauge({
    name: 'weft_svids_refused',
    help: 'Requests for certificates refused since the start, by reason',
    labelNames: ['reason'],
    registers: [registry],
  });
  setters.push(({ refusedByReason }) => {
    for (const [reason, count] of refusedByReason) refused.set({ reason }, count);
  });
  gauge('credential_streams', 'Proxies that watch their credentials', (now) => {
    return now.credentials.streams;
  });
  gauge('credential_places', 'Places of sources that are followed for them', (now) => {
    return now.credentials.places;
  });
  const acts = new Gauge({
    name: 'weft_credential_acts',
    help: 'Credentials handed over, handed on, withdrawn and refused since the start',
    labelNames: ['act'],
    registers: [registry],
  });
  setters.push(({ credentials }) => {
    for (const [act, count] of Object.entries(credentials.acts)) acts.set({ act }, count);
  });
  gauge('leader', 'Whether it is the one that writes status and rotates roots', (now) =>
    now.isLeader ? 1 : 0,
  );
  gauge('policies', 'Policies in force', (now) => now.policies.total);
  gauge(
    'policies_enforced',
    'Policies that every proxy they select enforces',
    (now) => now.policies.enforced,
  );
  gauge(
    'root_expiration_timestamp_seconds',
    'When the first of the trusted roots ends',
    (now) => now.rootExpiryUnixSeconds,
  );
  const setFederation = addFederationMetrics(registry);
  setters.push(({ federation }) => setFederation(federation));
  return (now) => {
    for (const set of setters) set(now);
  };
}
