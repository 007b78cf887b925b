// Explains what a call is met with at each workload it may reach: mutual TLS, the policies there, the rule that decided.
import { findAddressees, type Addressee, type Registry } from '../mesh/addressees.ts';
import type { InboundSpec, Workload } from '../mesh/mesh.ts';
import { isGuarded } from '../mesh/mesh-identity.ts';
import { formatProblem, type Result } from '../problem.ts';
import type { DecisionInput } from './evaluate.ts';
import { nearestAllow, type Clause, type NearMiss } from './explain.ts';
import { matchedClauses } from './explain-match.ts';
import {
  createJudge,
  type AskedRules,
  type Call,
  type Judge,
  type JudgedCall,
  type Judgement,
  type JudgeReason,
} from './judge.ts';
import { checkQuestion, nestClaims, principalOf, type CallQuestion } from './question.ts';
import type { MtlsMode } from './types.ts';

export interface SelectingPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly action: string;
  readonly rules: number;
  /** It cannot be enforced as it is written, and closes what it selects. */
  readonly isBroken: boolean;
  /** It decides nothing yet. */
  readonly isDryRun: boolean;
}

/** One answer, for all workloads that give it. */
export interface CallExplanation {
  readonly isAllowed: boolean;
  readonly reason: JudgeReason | 'no-sidecar' | 'closed-at-grpc';
  readonly decidedBy: string | undefined;
  /** `POD.NAMESPACE` of each. */
  readonly workloads: readonly string[];
  readonly port: number;
  readonly mode: MtlsMode;
  readonly carries: 'http' | 'tcp';
  readonly policies: readonly SelectingPolicy[];
  /** What held of the rule that decided. */
  readonly matched: readonly Clause[];
  /** For a call that no ALLOW rule matched: the one that came nearest. */
  readonly nearest: NearMiss | undefined;
  readonly notes: readonly string[];
}

/** Programs of a workload that serve without a proxy, and judge calls themselves. */
export interface OwnServer {
  /** What they do otherwise than policies say. */
  readonly notes: readonly string[];
  /** Whether they let in a request that a sidecar would. */
  letsIn(input: DecisionInput, mode: MtlsMode): boolean;
}

export type OwnServers = (workload: Workload) => OwnServer | undefined;

/**
 * Workloads that are alike are judged once: a Service may have thousands.
 * @param ownServers absent: it is not known who serves without a proxy.
 */
export function explainCalls(
  registry: Registry,
  question: CallQuestion,
  ownServers: OwnServers = () => undefined,
): Result<readonly CallExplanation[]> {
  const wrong = checkQuestion(question);
  if (wrong.length > 0) return { ok: false, problems: wrong };
  const found = findAddressees(registry, question.to, question.port);
  if (!found.ok) return found;
  const judges = new Map<InboundSpec, Judge>();
  const caller = callerOf(question, registry);
  const answers = new Map<string, CallExplanation & { workloads: string[] }>();
  for (const addressee of found.value) {
    const answer = explainOne(addressee, question, { caller, judges, ownServers });
    const { workloads, ...rest } = answer;
    const key = JSON.stringify(rest);
    const known = answers.get(key);
    if (known === undefined) answers.set(key, { ...answer, workloads: [...workloads] });
    else known.workloads.push(...workloads);
  }
  return { ok: true, value: [...answers.values()], problems: [] };
}

interface Context {
  readonly caller: Caller;
  readonly judges: Map<InboundSpec, Judge>;
  readonly ownServers: OwnServers;
}

function explainOne(
  { workload, port, host }: Addressee,
  question: CallQuestion,
  { caller, judges, ownServers }: Context,
): CallExplanation {
  const { inbound } = workload;
  let judge = judges.get(inbound);
  if (judge === undefined) judges.set(inbound, (judge = createJudge(inbound)));
  const call: Call = {
    protocol: question.protocol,
    srcPrincipal: caller.principal ?? null,
    port,
    method: question.method,
    path: question.path,
    host: question.host ?? host,
    headers: headersOf(question),
    jwt: nestClaims(question.claims),
    ...(caller.ip !== undefined && { srcIP: caller.ip }),
    ...(workload.ips[0] !== undefined && { dstIP: workload.ips[0] }),
    ...(question.sni !== undefined && { sni: question.sni }),
  };
  const judged = judge.judge(call);
  const own = ownServers(workload);
  const notes = [...caller.notes, ...notesOf(judged, call, workload), ...(own?.notes ?? [])];
  const base = {
    workloads: [workload.id],
    port,
    mode: judged.mode,
    carries: judged.carries,
    policies: policiesOf(inbound),
    notes,
  };
  if (!isGuarded(workload, port)) {
    const open = { isAllowed: true, reason: 'no-sidecar', decidedBy: undefined } as const;
    return { ...base, ...open, matched: [], nearest: undefined };
  }
  if (own !== undefined && isClosedBy(own, judged)) {
    const closed = { isAllowed: false, reason: 'closed-at-grpc', decidedBy: undefined } as const;
    return { ...base, ...closed, matched: [], nearest: undefined };
  }
  return { ...judged.judgement, ...base, ...evidenceOf(judged) };
}

/** Of connections without HTTP they know nothing. */
const isClosedBy = (own: OwnServer, { judgement, asked, carries, mode }: JudgedCall): boolean =>
  judgement.isAllowed &&
  asked !== undefined &&
  carries === 'http' &&
  !own.letsIn(asked.input, mode);

function evidenceOf({
  judgement,
  asked,
}: JudgedCall): Pick<CallExplanation, 'matched' | 'nearest'> {
  if (asked === undefined) return { matched: [], nearest: undefined };
  const { evaluator, input } = asked;
  if (judgement.reason === 'no-allow-match') {
    return { matched: [], nearest: nearestAllow(evaluator, input) };
  }
  const isDeny = judgement.reason === 'deny-rule';
  const rule = evaluator.chain
    .filter(({ action }) => action === (isDeny ? 'DENY' : 'ALLOW'))
    .flatMap(({ policies }) => policies)
    .find(({ name }) => name === judgement.decidedBy);
  const matched = rule === undefined ? [] : matchedClauses(rule, input, isDeny);
  return { matched, nearest: undefined };
}

const policiesOf = ({ policies, broken }: InboundSpec): readonly SelectingPolicy[] => [
  ...policies.map(({ namespace, name, action, rules, isDryRun }) => ({
    namespace,
    name,
    action,
    rules: rules?.length ?? 0,
    isBroken: false,
    isDryRun,
  })),
  ...broken.map(({ namespace, name, action }) => ({
    namespace,
    name,
    action: action ?? 'DENY',
    rules: 0,
    isBroken: true,
    isDryRun: false,
  })),
];

function headersOf({ headers }: CallQuestion): Readonly<Record<string, readonly string[]>> {
  const byName = new Map<string, string[]>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    const values = byName.get(key);
    if (values === undefined) byName.set(key, [value]);
    else values.push(value);
  }
  return Object.fromEntries(byName);
}

interface Caller {
  readonly principal: string | undefined;
  readonly ip: string | undefined;
  readonly notes: readonly string[];
}

/** Where one Pod alone has the identity, its address is the caller's. */
function callerOf(question: CallQuestion, { mesh }: Registry): Caller {
  const { from, sourceIp } = question;
  const principal = from === undefined ? undefined : principalOf(from, mesh.settings.trustDomain);
  if (principal === undefined) return { principal, ip: sourceIp, notes: [] };
  const pods = [...mesh.workloads.values()].filter(
    (one) => one.identity === `spiffe://${principal}`,
  );
  const notes =
    pods.length === 0 ? [`no Pod that is known runs as ${principal}: is it spelt right?`] : [];
  if (pods.length > 0 && pods.every(({ isInMesh }) => !isInMesh)) {
    notes.push(`the Pods of ${principal} have no sidecar: they call in plaintext (--plaintext)`);
  }
  const [only, ...others] = pods;
  const ip = sourceIp ?? (others.length === 0 ? only?.ips[0] : undefined);
  return { principal, ip, notes };
}

function notesOf(judged: JudgedCall, call: Call, workload: Workload): string[] {
  const { inbound, isInMesh } = workload;
  const notes: string[] = [];
  if (!isInMesh) notes.push('no sidecar stands beside it: no policy is enforced there');
  else if (!isGuarded(workload, call.port)) {
    notes.push(
      `port ${call.port} is reached without its sidecar (weft.dev/exclude-inbound-ports): no policy is enforced there`,
    );
  } else if (workload.isProxyless === true) {
    notes.push(
      'it has no proxy (weft.dev/proxy: none): its gRPC servers enforce this themselves, what gRPC cannot judge closes, and what is served without xDS is open',
    );
  }
  if (judged.asked !== undefined) notes.push(...rulesNotes(judged.asked, judged.judgement));
  if (!judged.isDeclared) {
    notes.push(`nobody has declared port ${call.port}: it is judged as TCP, as the sidecar does`);
  }
  if (judged.mode === 'DISABLE' && call.srcPrincipal !== null) {
    notes.push('mTLS is DISABLE at this port: callers show no identity, and rules see none');
  }
  if (judged.carries === 'tcp' && call.protocol === 'http') {
    const dropped = droppedRules(inbound, judged);
    const effect =
      dropped > 0 ? `; ${dropped} ALLOW rules that ask for them allow nothing here` : '';
    notes.push(`the port is TCP: method, path, host and headers are not seen${effect}`);
  }
  const target = judged.asked?.target;
  if (judged.carries === 'http' && target !== undefined && target !== call.path) {
    notes.push(`the path is judged and forwarded as ${JSON.stringify(target)}`);
  }
  return notes;
}

/** Of what decides besides the rules in force, or would. */
function rulesNotes(asked: AskedRules, { isAllowed }: Judgement): readonly string[] {
  const { evaluator, input, authorizers, isTokenIgnored } = asked;
  const notes: string[] = [];
  for (const { provider, rule } of authorizers) {
    const effect = isAllowed
      ? 'it is allowed only if that agrees'
      : 'it is denied whatever that says';
    notes.push(`${rule} asks the external authorizer ${provider}: ${effect}`);
  }
  if (isTokenIgnored) {
    notes.push('no RequestAuthentication selects it: tokens are not read, and rules see no claims');
  }
  const audited = evaluator.audit(input);
  if (audited !== undefined) notes.push(`it is marked in the access log by ${audited}`);
  const trial = evaluator.trial?.decide(input);
  if (trial !== undefined && trial.isAllowed !== isAllowed) {
    const by =
      trial.decidedBy === undefined ? 'since no ALLOW rule matches then' : `by ${trial.decidedBy}`;
    notes.push(
      `with the policies on trial (dry run) it would be ${trial.isAllowed ? 'allowed' : 'denied'}, ${by}`,
    );
  }
  return notes;
}

function droppedRules({ policies }: InboundSpec, { asked }: JudgedCall): number {
  const written = policies
    .filter(({ action, isDryRun }) => action === 'ALLOW' && !isDryRun)
    .reduce((sum, { rules }) => sum + (rules?.length ?? 0), 0);
  const kept = asked?.evaluator.chain
    .filter(({ action }) => action === 'ALLOW')
    .flatMap((set) => set.policies);
  return written - (kept?.filter(({ name }) => !name.endsWith('-invalid')).length ?? written);
}

/** For an error of a question: every problem in one line. */
export const formatQuestionProblems = (result: Extract<Result<unknown>, { ok: false }>): string =>
  result.problems.map((one) => formatProblem(one)).join('; ');
