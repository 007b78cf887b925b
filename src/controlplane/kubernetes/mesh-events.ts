// Says which happenings in the mesh are Events, what each is about, and in which words.
import type { Attestor } from '@weft/ca/attest/attestor';
import type { Authority } from '@weft/ca/authority';
import {
  type KubeResource,
  MUTATING_WEBHOOKS,
  PODS,
  TRUST_BUNDLES,
  VALIDATING_WEBHOOKS,
} from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import type { Problem } from '@weft/model/problem';
import type { Edge } from '../report/edge-ledger.ts';
import type { NewlyRefused } from '../status/replay.ts';
import type { EventSink } from './events.ts';
import { TRUST_BUNDLE } from './trust-bundle-status.ts';
import { INJECTOR, VALIDATOR } from './webhook-ca-bundle.ts';
import type { Condition } from './policy-conditions.ts';

/** A condition of a policy that has turned, or holds of a new version. */
export interface PolicyTurn {
  readonly resource: KubeResource;
  /** Absent for what lives in no namespace. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  readonly condition: Condition;
}

export function recordPolicyTurn(sink: EventSink, turn: PolicyTurn): void {
  const { condition, ...about } = turn;
  const { type, status, message } = condition;
  const isGood = status === 'True';
  if (type === 'Enforced' && !isGood) return;
  const reason =
    type === 'Enforced' ? 'PolicyEnforced' : isGood ? 'PolicyAccepted' : 'PolicyRefused';
  const action = type === 'Enforced' ? 'Enforcing' : 'Reading';
  sink.record({ about, type: isGood ? 'Normal' : 'Warning', reason, action, note: message });
}

/** A control plane that waits is not ready, and its Pod is what is looked at. */
export function recordWaiting(
  sink: EventSink,
  reasons: readonly Problem[],
  { rootNamespace, podName }: { readonly rootNamespace: string; readonly podName: string },
): void {
  for (const { message, cure } of reasons) {
    sink.record({
      about: { resource: PODS, namespace: rootNamespace, name: podName },
      type: 'Warning',
      reason: 'NotServing',
      action: 'Starting',
      note: cure === undefined ? message : `${message}; ${cure}`,
    });
  }
}

/** Callers that one Event names. */
const MAX_CALLERS = 5;

/** One for each Pod that refuses them. */
export function recordNewlyRefused(
  sink: EventSink,
  refused: readonly NewlyRefused<Edge>[],
  uidOf: (proxy: string) => string | undefined = () => undefined,
): void {
  for (const [proxy, own] of Map.groupBy(refused, ({ call }) => call.proxy)) {
    const [{ call } = {}] = own;
    if (call === undefined) continue;
    const lines = own.slice(0, MAX_CALLERS).map(({ call: one, decidedBy }) => {
      const from = one.source === '' ? 'plain text' : one.source;
      const what = one.method === '' ? `port ${one.port}` : `${one.method} ${one.path}`;
      return `${from} ${what} (${decidedBy ?? 'nothing allows it any more'})`;
    });
    const more = own.length > lines.length ? `; and ${own.length - lines.length} more` : '';
    const uid = uidOf(proxy);
    sink.record({
      about: {
        resource: PODS,
        namespace: call.namespace,
        name: proxy.slice(0, proxy.length - call.namespace.length - 1),
        ...(uid !== undefined && { uid }),
      },
      type: 'Warning',
      reason: 'CallersRefused',
      action: 'Replaying',
      note: `a change of policy refuses callers that were seen lately: ${lines.join('; ')}${more}`,
    });
  }
}

/** From now on; the leader's task, so that it is said once. */
export function recordRotation(
  sink: EventSink,
  authority: Pick<Authority, 'status' | 'onBundleChange' | 'onRenewNow'>,
): Disposable {
  let known = authority.status().rotation.phase;
  const look = (): void => {
    const { rotation, bundleVersion } = authority.status();
    if (rotation.phase === known) return;
    const note = `root rotation: ${known} → ${rotation.phase}, bundle ${bundleVersion}`;
    known = rotation.phase;
    sink.record({
      about: { resource: TRUST_BUNDLES, name: TRUST_BUNDLE },
      type: 'Normal',
      reason: 'RootRotation',
      action: 'Rotating',
      note,
    });
  };
  const stack = new DisposableStack();
  stack.use(authority.onBundleChange(look));
  stack.use(authority.onRenewNow(look));
  return stack;
}

/** @param problems as `WebhookCaBundles` tells them */
export function recordWebhookProblems(sink: EventSink, problems: readonly string[]): void {
  for (const note of problems) {
    const isInjector = note.includes(INJECTOR);
    const about = isInjector
      ? { resource: MUTATING_WEBHOOKS, name: INJECTOR }
      : { resource: VALIDATING_WEBHOOKS, name: VALIDATOR };
    sink.record({ about, type: 'Warning', reason: 'WebhookNotKept', action: 'Patching', note });
  }
}

/** So many refusals of one Pod in a row: one may be a race with the API server's caches. */
const REFUSALS = 3;
/** Pods whose refusals are counted. */
const MAX_COUNTED = 1_000;
/** Refusals that lie further apart are not in a row. */
const IN_A_ROW_MS = 600_000;
/** Who asks for many Pods is not to crowd out the Events of others. */
const APART_MS = 10_000;

/**
 * An attestor that tells of Pods which it refuses again and again. Who asks may claim any name, so only of Pods that
 * there are, and in the attestor's own words.
 */
export function withRefusalEvents(
  attestor: Attestor,
  options: {
    readonly sink: EventSink;
    /** `POD.NAMESPACE`: whether there is one. */
    readonly isPod: (id: string) => boolean;
    readonly clock: Clock;
  },
): Attestor {
  const { sink, isPod, clock } = options;
  const refusals = new Map<string, { count: number; lastMs: number }>();
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  const note = (namespace: string, name: string, reason: string): void => {
    const id = `${name}.${namespace}`;
    if (!isPod(id)) return;
    const nowMs = clock.now();
    const known = refusals.get(id);
    const isRow = known !== undefined && nowMs - known.lastMs < IN_A_ROW_MS;
    const count = isRow ? known.count + 1 : 1;
    refusals.delete(id);
    refusals.set(id, { count, lastMs: nowMs });
    const [oldest] = refusals.keys();
    if (refusals.size > MAX_COUNTED && oldest !== undefined) refusals.delete(oldest);
    if (count < REFUSALS || nowMs < notBeforeMs) return;
    notBeforeMs = nowMs + APART_MS;
    sink.record({
      about: { resource: PODS, namespace, name },
      type: 'Warning',
      reason: 'EnrolmentRefused',
      action: 'Enrolling',
      note: `somebody who says to be this Pod is refused an identity: ${reason}`,
    });
  };
  return {
    name: attestor.name,
    kind: attestor.kind,
    async attest(evidence) {
      const attestation = await attestor.attest(evidence);
      if (evidence.kind === 'service-account-token') {
        const { namespace, pod } = evidence;
        if (attestation.ok) refusals.delete(`${pod}.${namespace}`);
        else note(namespace, pod, attestation.reason);
      }
      return attestation;
    },
  };
}
