// Attests by the token of a Pod's service account: the API server vouches for the token, and the Pod that it is bound to must be the one that asks.
import type { KubeClient, KubeFailure, KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt, textsAt } from '@weft/kube/object-fields';
import { apiVersionOf, PODS, TOKEN_REVIEWS } from '@weft/kube/resource';
import { type Clock, systemClock } from '@weft/model/clock';
import type { WorkloadName } from '../issuance.ts';
import { type Attestation, type AttestationRefusal, type Attestor, notMine } from './attestor.ts';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { createTurnstile } from './turnstile.ts';

export interface ServiceAccountTokenOptions {
  readonly client: Pick<KubeClient, 'create' | 'get'>;
  /** Default `weft-ca`: a token that was made for anybody else is none of ours. */
  readonly audience?: string;
  /** Absent: Pods of every namespace may enrol. */
  readonly namespaces?: ReadonlySet<string>;
  readonly clock?: Clock;
  /** For both questions to the API server together; default 5 s, half of what a sidecar waits. */
  readonly timeoutMs?: number;
  /** Attestations at once; default 32, half of the client's connections. */
  readonly atOnce?: number;
  /** Attestations that wait for their turn; default 1,000. */
  readonly waiting?: number;
}

export const TOKEN_AUDIENCE = 'weft-ca';
const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_AT_ONCE = 32;
const DEFAULT_WAITING = 1_000;
/** 8 KiB: four times the token of a Pod whose every name is as long as it may be. */
const MAX_TOKEN_BYTES = 8_192;
/** Source: Kubernetes, ServiceAccount token authentication, "extra" of bound tokens. */
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
/** A sidecar enrols while its Pod is being initialised, and again whenever it starts anew. */
const LIVE_PHASES: ReadonlySet<string | undefined> = new Set(['Pending', 'Running']);

type TokenEvidence = Extract<Evidence, { readonly kind: 'service-account-token' }>;

interface Reviewed extends WorkloadName {
  readonly pod: string;
  readonly podUid: string;
}

type Step<T> = { readonly ok: true; readonly value: T } | AttestationRefusal;

const refuse = (reasonCode: string, reason: string): AttestationRefusal => ({
  ok: false,
  reasonCode,
  reason,
  isTemporary: false,
});

const later = (reasonCode: string, reason: string): AttestationRefusal => ({
  ok: false,
  reasonCode,
  reason,
  isTemporary: true,
});

/** No review is kept: a Pod that was deleted a moment ago must not get an identity now. */
export function serviceAccountTokenAttestor(options: ServiceAccountTokenOptions): Attestor {
  const {
    clock = systemClock,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    atOnce = DEFAULT_AT_ONCE,
    waiting = DEFAULT_WAITING,
  } = options;
  const turnstile = createTurnstile({ atOnce, waiting });
  return {
    name: 'service-account-token',
    kind: 'service-account-token',
    async attest(evidence) {
      if (evidence.kind !== 'service-account-token') return notMine(evidence);
      if (Buffer.byteLength(evidence.token) > MAX_TOKEN_BYTES) {
        return refuse('token-too-long', `the token has more than ${MAX_TOKEN_BYTES} bytes`);
      }
      const limit = new AbortController();
      using _ = clock.setTimeout(() => limit.abort(), timeoutMs);
      using pass = await turnstile.enter(limit.signal);
      if (pass === undefined) {
        return later('attestation-busy', 'too many tokens are being checked');
      }
      // Awaited here: the place is given back when the answer is there, not when it was asked for.
      return await attest(evidence, options, limit.signal);
    },
  };
}

async function attest(
  evidence: TokenEvidence,
  options: ServiceAccountTokenOptions,
  signal: AbortSignal,
): Promise<Attestation> {
  const reviewed = await review(evidence, options, signal);
  if (!reviewed.ok) return reviewed;
  const claim = checkClaim(evidence, reviewed.value, options.namespaces);
  if (claim !== undefined) return claim;
  const { namespace, serviceAccount, pod } = reviewed.value;
  const answer = await options.client.get(PODS, { namespace, name: pod }, signal);
  if (!answer.ok) {
    if (answer.code !== 404) return apiFailed(answer);
    return refuse('pod-unknown', `Pod ${namespace}/${pod}, to which the token is bound, is gone`);
  }
  const flaw = checkPod(answer.value, reviewed.value);
  if (flaw !== undefined) return flaw;
  // The token may be used again: a sidecar that is started anew in its Pod has no other.
  return { ok: true, identity: { namespace, serviceAccount }, redeem: async () => ({ ok: true }) };
}

/** Whatever is not a plain no to this token is a fault on our side. */
const apiFailed = ({ kind, message }: KubeFailure): AttestationRefusal =>
  later(kind === 'status' ? 'api-refused' : 'api-unreachable', message);

async function review(
  { token }: TokenEvidence,
  { client, audience = TOKEN_AUDIENCE }: ServiceAccountTokenOptions,
  signal: AbortSignal,
): Promise<Step<Reviewed>> {
  const answer = await client.create(
    TOKEN_REVIEWS,
    {
      apiVersion: apiVersionOf(TOKEN_REVIEWS),
      kind: TOKEN_REVIEWS.kind,
      spec: { token, audiences: [audience] },
    },
    { signal },
  );
  if (!answer.ok) return apiFailed(answer);
  const status = objectAt(answer.value, 'status');
  if (status?.['authenticated'] !== true) {
    const why = textAt(status, 'error') ?? 'it gives no reason';
    return refuse('token-rejected', `the API server does not accept the token: ${why}`);
  }
  // A server that knows no audiences answers without any: such a token is for everybody, so it is not for us.
  if (!textsAt(status, 'audiences').includes(audience)) {
    return refuse('token-audience', `the token is not for audience ${audience}`);
  }
  return boundPod(objectAt(status, 'user'));
}

function boundPod(user: KubeObject | undefined): Step<Reviewed> {
  const username = textAt(user, 'username') ?? '';
  const [system, kind, namespace, serviceAccount, ...rest] = username.split(':');
  const isServiceAccount = system === 'system' && kind === 'serviceaccount' && rest.length === 0;
  if (!isServiceAccount || !namespace || !serviceAccount) {
    return refuse('not-a-service-account', `the token is that of ${username}`);
  }
  const [pod, ...otherPods] = textsAt(user, 'extra', POD_NAME);
  const [podUid, ...otherUids] = textsAt(user, 'extra', POD_UID);
  if (!pod || !podUid || otherPods.length > 0 || otherUids.length > 0) {
    const reason = `the token of ${namespace}/${serviceAccount} is not bound to a Pod`;
    return refuse('token-not-bound', reason);
  }
  return { ok: true, value: { namespace, serviceAccount, pod, podUid } };
}

function checkClaim(
  { pod, namespace }: TokenEvidence,
  reviewed: Reviewed,
  namespaces: ReadonlySet<string> | undefined,
): AttestationRefusal | undefined {
  if (pod !== reviewed.pod || namespace !== reviewed.namespace) {
    // What is claimed is not repeated: it is the peer's text.
    const bound = `${reviewed.namespace}/${reviewed.pod}`;
    return refuse('pod-not-claimed', `the token is bound to Pod ${bound}, and another is claimed`);
  }
  if (namespaces === undefined || namespaces.has(namespace)) return undefined;
  return refuse('namespace-not-watched', `namespace ${namespace} is not in this mesh`);
}

function checkPod(pod: KubeObject, reviewed: Reviewed): AttestationRefusal | undefined {
  const { namespace, serviceAccount, podUid } = reviewed;
  const named = `Pod ${namespace}/${reviewed.pod}`;
  if (
    textAt(pod, 'metadata', 'name') !== reviewed.pod ||
    textAt(pod, 'metadata', 'namespace') !== namespace
  ) {
    return later('api-malformed', `the API server answered with another Pod than ${named}`);
  }
  if (textAt(pod, 'metadata', 'uid') !== podUid) {
    return refuse('pod-replaced', `${named} is another than that to which the token is bound`);
  }
  const account = textAt(pod, 'spec', 'serviceAccountName') || 'default';
  if (account !== serviceAccount) {
    return refuse(
      'pod-account',
      `${named} runs as ${account}, and the token is ${serviceAccount}’s`,
    );
  }
  const phase = textAt(pod, 'status', 'phase');
  if (!LIVE_PHASES.has(phase)) {
    return refuse('pod-ended', `${named} is in phase ${phase ?? 'unknown'}`);
  }
  if (textAt(pod, 'metadata', 'deletionTimestamp') !== undefined) {
    return refuse('pod-terminating', `${named} is being deleted`);
  }
  return undefined;
}
