// What the admin endpoints show and change, made of the control plane's parts.
import type { Authority } from '@weft/ca/authority';
import { createDocuments } from '../admin/documents.ts';
import { answerExplain } from '../admin/explain.ts';
import type { ActionOutcome, AdminApi } from '../admin/http-server.ts';
import type { ControlPlaneMetrics, ScrapedState } from '../admin/metrics.ts';
import { tokenDocuments } from '../admin/token-documents.ts';
import type { CredentialPart } from '../credentials/credential-part.ts';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { FederationPart } from '../federation/federation-part.ts';
import type { Source } from '../registry/source.ts';
import type { EdgeLedger } from '../report/edge-ledger.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import type { GrpcShortfallWatch } from '../status/grpc-shortfall-watch.ts';
import type { PolicyStatus } from '../status/policy-status.ts';
import type { ReplayWatch } from '../status/replay-watch.ts';

interface Parts {
  readonly views: MeshViews;
  readonly ads: AdsServer;
  readonly authority: Authority;
  readonly federation: Pick<FederationPart, 'document' | 'bundleDocument' | 'scraped' | 'unready'>;
  readonly policies: Pick<PolicyStatus, 'reports'>;
  readonly credentials: Pick<CredentialPart, 'state'>;
  readonly isLeader: () => boolean;
}

/** The numbers of one scrape. */
export function scrapedState({
  views,
  ads,
  authority,
  federation,
  policies: status,
  credentials,
  isLeader,
}: Parts): ScrapedState {
  const problems = views.problems();
  const { issued, refusedByReason, roots } = authority.status();
  const policies = status.reports();
  return {
    sessions: ads.proxies().length,
    problems: {
      error: problems.filter(({ severity }) => severity === 'error').length,
      warning: problems.filter(({ severity }) => severity === 'warning').length,
    },
    revision: views.revision,
    encodes: views.encodes,
    svidsIssued: issued,
    refusedByReason,
    isLeader: isLeader(),
    policies: {
      total: policies.length,
      enforced: policies.filter(({ isEnforced }) => isEnforced).length,
    },
    credentials: credentials.state(),
    federation: federation.scraped(),
    rootExpiryUnixSeconds: Math.min(...roots.map(({ notAfter }) => notAfter.getTime())) / 1_000,
  };
}

export function createApi(
  parts: Parts & {
    readonly edges: EdgeLedger;
    readonly replay: ReplayWatch;
    readonly shortfalls: Pick<GrpcShortfallWatch, 'ownServers'>;
    readonly credentials: Pick<CredentialPart, 'state' | 'audit' | 'reports'>;
    readonly source: Pick<Source, 'state'>;
    readonly metrics: ControlPlaneMetrics;
    readonly startedAtMs: number;
    readonly version: string;
    /** Empty when it serves. */
    readonly unready: () => readonly string[];
  },
): AdminApi {
  const { views, ads, authority, policies, edges, replay, metrics, startedAtMs, version } = parts;
  const { credentials } = parts;
  type Change = () => ReturnType<Authority['startRotation']>;
  const change = (run: Change) => async (): Promise<ActionOutcome> => {
    const outcome = await run();
    if (outcome.ok) return { status: 202, body: outcome };
    return {
      status: outcome.reasonCode === 'wrong-phase' ? 409 : 500,
      body: { error: outcome.reason },
    };
  };
  return {
    /** The first snapshot is read and the CA is open before the server is. */
    isReady: () => {
      const reasons = [...parts.unready(), ...parts.federation.unready()];
      return { isReady: reasons.length === 0, reasons };
    },
    metrics: () => metrics.text(),
    documents: createDocuments({
      version,
      startedAtMs,
      views,
      ads,
      policies,
      edges,
      replay,
      credentials,
      federation: parts.federation,
      source: () => parts.source.state,
      ca: () => authority.status(),
    }),
    published: tokenDocuments(authority.tokens),
    questions: new Map([
      ['/v1/explain', (query) => answerExplain(views, query, () => parts.shortfalls.ownServers())],
    ]),
    actions: new Map([
      ['/v1/ca/rotation', change(() => authority.startRotation())],
      ['/v1/ca/rotation/rollback', change(() => authority.rollback())],
    ]),
  };
}
