// Replays calls that were seen under other rules: which callers would a change newly refuse?
import type { Mesh } from '@weft/model/mesh/mesh';
import { createJudge, type Judge } from '@weft/model/policy/judge';

/** A call that was seen, as proxies report it. */
export interface ReplayedCall {
  /** The Pod that was called, `POD.NAMESPACE`. */
  readonly proxy: string;
  /** `spiffe://…`; empty for a caller without certificate. */
  readonly source: string;
  readonly port: number;
  /** Empty on TCP. */
  readonly method: string;
  /** With variable segments as `{*}`; empty on TCP. */
  readonly path: string;
  readonly isAllowed: boolean;
  readonly count: number;
}

export interface NewlyRefused<C extends ReplayedCall> {
  readonly call: C;
  /** The rule that refuses it; absent when no ALLOW rule is left for it. */
  readonly decidedBy: string | undefined;
  readonly reason: string;
}

/** What stands for a variable segment: a value that no rule is written for. */
const SAMPLE = '0000';

const samplePath = (path: string): string =>
  path.replaceAll('{**}', `${SAMPLE}/${SAMPLE}`).replaceAll('{*}', SAMPLE);

/** Judges seen calls by one mesh; each workload's rules are compiled once. */
export function createReplay(
  mesh: Pick<Mesh, 'workloads'>,
): (
  call: ReplayedCall,
) =>
  | { readonly isAllowed: boolean; readonly reason: string; readonly decidedBy: string | undefined }
  | undefined {
  const judges = new Map<string, Judge>();
  return (call) => {
    const workload = mesh.workloads.get(call.proxy);
    if (workload === undefined) return undefined;
    let judge = judges.get(call.proxy);
    if (judge === undefined) judges.set(call.proxy, (judge = createJudge(workload.inbound)));
    const srcPrincipal = call.source === '' ? null : call.source.slice('spiffe://'.length);
    const isTcp = call.method === '';
    return judge.judge({
      protocol: isTcp ? 'tcp' : 'http',
      srcPrincipal,
      port: call.port,
      ...(!isTcp && { method: call.method, path: samplePath(call.path) }),
    }).judgement;
  };
}

/** Calls of which summaries kept no path cannot be judged; they count under no path when there were too many. */
const isJudgeable = ({ method, path }: ReplayedCall): boolean => method === '' || path !== '';

/**
 * Calls that were allowed, are allowed by the rules before, and are refused by those after. Only both together tell:
 * headers, tokens and addresses are not in the summaries, and rules that ask for them refuse here what they allow there.
 */
export function newlyRefused<C extends ReplayedCall>(
  calls: readonly C[],
  meshes: { readonly before: Pick<Mesh, 'workloads'>; readonly after: Pick<Mesh, 'workloads'> },
): readonly NewlyRefused<C>[] {
  const before = createReplay(meshes.before);
  const after = createReplay(meshes.after);
  return calls.flatMap((call) => {
    if (!call.isAllowed || !isJudgeable(call)) return [];
    const { before: old, after: now } = meshes;
    /** The same object: nothing that decides has changed for the workload. */
    if (old.workloads.get(call.proxy)?.inbound === now.workloads.get(call.proxy)?.inbound)
      return [];
    if (before(call)?.isAllowed !== true) return [];
    const judged = after(call);
    if (judged === undefined || judged.isAllowed) return [];
    return [{ call, decidedBy: judged.decidedBy, reason: judged.reason }];
  });
}
