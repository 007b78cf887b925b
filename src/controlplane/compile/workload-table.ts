// Holds the workloads of a mesh by id and by address, and makes anew those that a change concerns.
import type { InboundSpec, MeshSettings, Workload } from '@weft/model/mesh/mesh';
import type { PodObject } from '@weft/model/mesh/objects';
import type { DenialExplanation } from '@weft/model/policy/denials';
import type { Problem } from '@weft/model/problem';
import { PersistentMap } from '../registry/persistent-map.ts';
import { compareTexts } from './compare-texts.ts';
import { explainedAt } from './explained-denials.ts';
import { InboundSpecs } from './inbound-specs.ts';
import type { Membership } from './mesh-settings.ts';
import type { ObjectIndex, Place } from './object-index.ts';
import { podProblems, sharedAddress } from './problems/registry-problems.ts';
import type { RuleBook } from './rule-book.ts';
import type { ServiceTable } from './service-table.ts';
import { isSame, keep } from './structural-sharing.ts';
import { compileWorkload, withRules, type WorkloadRules } from './workloads.ts';

export interface WorkloadContext {
  readonly index: ObjectIndex;
  readonly services: ServiceTable;
  readonly rules: RuleBook;
  readonly settings: MeshSettings;
  readonly membership: Membership;
  readonly explained: ReadonlyMap<string, DenialExplanation>;
}

type Problems = PersistentMap<readonly Problem[]>;
type ProblemChanges = Map<string, readonly Problem[] | undefined>;

const NO_PROBLEMS: Problems = PersistentMap.from<readonly Problem[]>([]);
/** Under which the shape of all namespaces together stands. */
const EVERYWHERE = '';

const idAt = (place: Place): string => {
  const end = place.indexOf('\0');
  return `${place.slice(end + 1)}.${place.slice(0, end)}`;
};

export const compareWorkloads = (
  [, a]: readonly [string, Workload],
  [, b]: readonly [string, Workload],
): number => compareTexts(a.namespace, b.namespace) || compareTexts(a.name, b.name);

/** What one round changes. */
interface Changes {
  readonly workloads: Map<string, Workload | undefined>;
  readonly ips: Set<string>;
  /** Namespaces where policies are judged differently, and where something else is let in. */
  readonly judged: Set<string>;
  readonly ruled: Set<string>;
  /** Of Pods that others may be called differently by now. */
  readonly reach: Set<Place>;
  readonly pods: ProblemChanges;
  readonly tokens: ProblemChanges;
  readonly registry: ProblemChanges;
}

export class WorkloadTable {
  #all: PersistentMap<Workload>;
  /** The same, by what the index calls them. */
  readonly #byPlace = new Map<Place, Workload>();
  #byIp = PersistentMap.from<readonly string[]>([]);
  #problems = { pods: NO_PROBLEMS, tokens: NO_PROBLEMS, registry: NO_PROBLEMS, ips: NO_PROBLEMS };
  #shapes = PersistentMap.from<object>([[EVERYWHERE, {}]]);
  #rulings = PersistentMap.from<object>([[EVERYWHERE, {}]]);
  readonly #specs: InboundSpecs;
  /** Those of a mesh before that were not made here. */
  #seed: ReadonlyMap<string, Workload> | undefined;

  constructor(seed?: ReadonlyMap<string, Workload>) {
    this.#all = PersistentMap.from<Workload>([], {
      compare: compareWorkloads,
      isOrderOfKeys: true,
    });
    this.#seed = seed;
    this.#specs = new InboundSpecs(inboundOf(seed));
  }

  get all(): PersistentMap<Workload> {
    return this.#all;
  }

  get byIp(): PersistentMap<readonly string[]> {
    return this.#byIp;
  }

  get problems(): {
    readonly pods: Problems;
    readonly tokens: Problems;
    readonly registry: Problems;
    readonly ips: Problems;
  } {
    return this.#problems;
  }

  /** Another object for each namespace whenever policies may be judged differently there. */
  get shapes(): PersistentMap<object> {
    return this.#shapes;
  }

  /** The same of what is let in. */
  get rulings(): PersistentMap<object> {
    return this.#rulings;
  }

  hasInbound(spec: object): boolean {
    return this.#specs.has(spec);
  }

  /** @returns the Pods that are called otherwise than before. */
  update(
    context: WorkloadContext,
    touched: { readonly whole: ReadonlySet<Place>; readonly byRules: ReadonlySet<Place> },
  ): Iterable<Place> {
    const changes: Changes = {
      workloads: new Map(),
      ips: new Set(),
      judged: new Set(),
      ruled: new Set(),
      reach: new Set(),
      pods: new Map(),
      tokens: new Map(),
      registry: new Map(),
    };
    for (const place of touched.whole) this.#renew(place, context, changes);
    const ruled = new Map<InboundSpec, Ruled>();
    for (const place of touched.byRules) {
      if (!touched.whole.has(place)) this.#rule(place, context, { changes, ruled });
    }
    this.#all = this.#all.with(changes.workloads);
    this.#followIps(context.index, changes.ips);
    this.#problems = {
      ...this.#problems,
      pods: this.#problems.pods.with(changes.pods),
      tokens: this.#problems.tokens.with(changes.tokens),
      registry: this.#problems.registry.with(changes.registry),
    };
    this.#shapes = renewed(this.#shapes, changes.judged);
    this.#rulings = renewed(this.#rulings, changes.ruled);
    if (this.#seed !== undefined) this.#specs.prune();
    this.#seed = undefined;
    return changes.reach;
  }

  #renew(place: Place, context: WorkloadContext, changes: Changes): void {
    const { index, services, rules, settings, membership, explained } = context;
    const pod = index.pods.get(place);
    const own = this.#byPlace.get(place);
    if (pod === undefined) {
      changes.pods.set(place, undefined);
      changes.tokens.set(place, undefined);
      if (own !== undefined) this.#remove(place, own, changes);
      return;
    }
    const before = own ?? this.#seed?.get(idAt(place));
    const { namespace } = pod.meta;
    const ruling = rules.rulesOf(pod, index.labelTextOf(place));
    const { workload, problems } = compileWorkload(pod, {
      settings,
      membership,
      peerAuthentication: index.policies.scope(namespace).peerAuthentication,
      rules: ruling,
      namespace: index.namespaces.get(namespace),
      explained: explainedAt(explained, [namespace, settings.rootNamespace]),
      declared: services.declaredOf(place),
      before,
    });
    const inbound = this.#specs.hold(workload.inbound);
    const after = keep(before, { ...workload, inbound });
    // What was kept may hold an equal one of its own.
    if (own !== undefined) this.#specs.release(after === own ? inbound : own.inbound);
    changes.pods.set(place, someOrNone(problems));
    changes.tokens.set(place, someOrNone(ruling.problems));
    if (after === own) return;
    this.#put(place, own, { after, changes });
    for (const ip of [...(own?.ips ?? []), ...after.ips]) changes.ips.add(ip);
    changes.registry.set(place, someOrNone(podProblems(after)));
  }

  /** Policies and keys alone say something else: all else stays, and is not looked at. */
  #rule(
    place: Place,
    { index, rules }: WorkloadContext,
    { changes, ruled }: { readonly changes: Changes; readonly ruled: Map<InboundSpec, Ruled> },
  ): void {
    const pod: PodObject | undefined = index.pods.get(place);
    const own = this.#byPlace.get(place);
    if (pod === undefined || own === undefined) return;
    const ruling = rules.rulesOf(pod, index.labelTextOf(place));
    if (ruling.problems.length > 0 || this.#problems.tokens.size > 0) {
      changes.tokens.set(place, someOrNone(ruling.problems));
    }
    const known = ruled.get(own.inbound);
    const spec = known?.rules === ruling ? known.spec : withRules(own.inbound, ruling);
    const inbound = this.#specs.hold(spec);
    if (known?.rules !== ruling) ruled.set(own.inbound, { rules: ruling, spec: inbound });
    this.#specs.release(own.inbound);
    if (inbound !== own.inbound) this.#put(place, own, { after: { ...own, inbound }, changes });
  }

  #remove(place: Place, own: Workload, changes: Changes): void {
    this.#byPlace.delete(place);
    this.#specs.release(own.inbound);
    changes.workloads.set(own.id, undefined);
    for (const ip of own.ips) changes.ips.add(ip);
    changes.registry.set(place, undefined);
    changes.reach.add(place);
    changes.judged.add(own.namespace);
    changes.ruled.add(own.namespace);
  }

  #put(
    place: Place,
    own: Workload | undefined,
    { after, changes }: { readonly after: Workload; readonly changes: Changes },
  ): void {
    this.#byPlace.set(place, after);
    changes.workloads.set(after.id, after);
    if (isOtherwiseCalled(own, after)) changes.reach.add(place);
    if (isOtherwiseJudged(own, after)) changes.judged.add(after.namespace);
    if (own?.inbound !== after.inbound || own.isInMesh !== after.isInMesh) {
      changes.ruled.add(after.namespace);
    }
  }

  #followIps(index: ObjectIndex, ips: ReadonlySet<string>): void {
    const changes = new Map<string, readonly string[] | undefined>();
    const problems: ProblemChanges = new Map();
    for (const ip of ips) {
      const sharing = index
        .podsAt(ip)
        .flatMap(({ meta }) => this.#all.get(`${meta.name}.${meta.namespace}`) ?? []);
      changes.set(ip, someOrNone(sharing.map(({ id }) => id)));
      problems.set(ip, someOrNone(sharedAddress(ip, sharing)));
    }
    this.#byIp = this.#byIp.with(changes);
    this.#problems = { ...this.#problems, ips: this.#problems.ips.with(problems) };
  }
}

function renewed(
  marks: PersistentMap<object>,
  namespaces: ReadonlySet<string>,
): PersistentMap<object> {
  if (namespaces.size === 0) return marks;
  return marks.with([EVERYWHERE, ...namespaces].map((name) => [name, {}] as const));
}

/** What the rules made of one inbound part. */
interface Ruled {
  readonly rules: WorkloadRules;
  readonly spec: InboundSpec;
}

function* inboundOf(workloads: ReadonlyMap<string, Workload> | undefined): Iterable<InboundSpec> {
  for (const { inbound } of workloads?.values() ?? []) yield inbound;
}

const someOrNone = <T>(list: readonly T[]): readonly T[] | undefined =>
  list.length > 0 ? list : undefined;

/** What destinations are made of: who answers, and how its ports are called. */
function isOtherwiseCalled(before: Workload | undefined, after: Workload): boolean {
  if (before === undefined) return true;
  return !(
    before.isInMesh === after.isInMesh &&
    before.identity === after.identity &&
    before.inbound.ports === after.inbound.ports &&
    before.inbound.mode === after.inbound.mode &&
    isSame(before.directPorts, after.directPorts)
  );
}

/** What the problems of policies are found by. */
function isOtherwiseJudged(before: Workload | undefined, after: Workload): boolean {
  if (before === undefined) return true;
  return !(
    before.isInMesh === after.isInMesh &&
    before.inbound.ports === after.inbound.ports &&
    (before.inbound.tokens === undefined) === (after.inbound.tokens === undefined) &&
    (before.inbound.login === undefined) === (after.inbound.login === undefined) &&
    isSame(before.labels, after.labels)
  );
}
