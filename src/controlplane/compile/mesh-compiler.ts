// Keeps a mesh compiled: of each snapshot it makes anew what the changes since the last one touch, and nothing else.
import type { Mesh, MeshSettings } from '@weft/model/mesh/mesh';
import type { PodObject, RegistryObject } from '@weft/model/mesh/objects';
import { matchesLabels } from '@weft/model/policy/select';
import { type FetchedKeys, NO_KEYS } from '@weft/model/policy/token-rules';
import type { Problem } from '@weft/model/problem';
import { type Difference, differences, PersistentMap } from '../registry/persistent-map.ts';
import type { MeshInput } from './compile-mesh.ts';
import { DestinationTable } from './destination-table.ts';
import type { EgressTable } from './egress/egress-table.ts';
import { OutsideTable } from './egress/outside-table.ts';
import { readExplanations } from './explained-denials.ts';
import { type CompiledSettings, compileSettings, type MeshIdentity } from './mesh-settings.ts';
import { createMesh } from './mesh-with-problems.ts';
import { ObjectIndex, type Place, type Touched } from './object-index.ts';
import type { PolicyObject } from './policy-table.ts';
import type { PolicyFindings } from './problems/policy-problems.ts';
import { serviceProblems } from './problems/registry-problems.ts';
import { RouteTable } from './routes/route-table.ts';
import { RuleBook } from './rule-book.ts';
import { callsByPolicies, servicesUnder } from './service-calls.ts';
import { ServiceTable } from './service-table.ts';
import { keep } from './structural-sharing.ts';
import { WorkloadTable } from './workload-table.ts';

/** Everything that a full compile starts from. */
interface Tables {
  readonly index: ObjectIndex;
  readonly services: ServiceTable;
  readonly routes: RouteTable;
  readonly rules: RuleBook;
  readonly workloads: WorkloadTable;
  readonly destinations: DestinationTable;
  readonly findings: PolicyFindings;
  readonly outside: OutsideTable;
}

/** What says which ports a workload has, and not only who may call them. */
const CHANGES_PORTS: ReadonlySet<string> = new Set(['PeerAuthentication', 'TlsTermination']);

interface Round {
  readonly settings: MeshSettings;
  readonly keys: FetchedKeys;
  /** Nothing is held yet. */
  readonly isFirst: boolean;
}

/**
 * The mesh is a function of the snapshot and the keys alone: what came before decides how much is made anew, never
 * what comes out. After a `compile` that threw it must not be used any more.
 */
export class MeshCompiler {
  readonly #identity: MeshIdentity;
  #tables: Tables;
  /** That the tables hold. */
  #objects: ReadonlyMap<string, RegistryObject> = new Map();
  #keys: FetchedKeys = NO_KEYS;
  #settled: CompiledSettings | undefined;
  #explanations = readExplanations(new Map());
  #serviceProblems = PersistentMap.from<readonly Problem[]>([]);
  #unknownNamespaces: ReadonlySet<string> = new Set();
  #egress: EgressTable | undefined;

  /** @param previous whose objects are shared where they are equal */
  constructor(identity: MeshIdentity, previous?: Mesh) {
    this.#identity = identity;
    this.#tables = this.#createTables(previous);
    if (previous !== undefined) {
      this.#settled = { settings: previous.settings, federations: [], problems: [] };
    }
  }

  #createTables(previous: Pick<Mesh, 'workloads' | 'destinations'> | undefined): Tables {
    const index = new ObjectIndex(this.#identity.rootNamespace);
    const services = new ServiceTable();
    return {
      index,
      services,
      routes: new RouteTable(services),
      rules: new RuleBook(index.policies),
      workloads: new WorkloadTable(previous?.workloads),
      destinations: new DestinationTable(previous?.destinations),
      findings: new WeakMap(),
      outside: new OutsideTable(),
    };
  }

  /** Of the newest mesh: another object whenever a workload of a namespace lets in something else; `''` for all. */
  get rulings(): ReadonlyMap<string, object> {
    return this.#tables.workloads.rulings;
  }

  /** Whether a workload of the newest mesh lets in just that. */
  hasInbound(spec: object): boolean {
    return this.#tables.workloads.hasInbound(spec);
  }

  compile({ revision, objects, keys = NO_KEYS }: MeshInput): Mesh {
    const { index } = this.#tables;
    const isFirst = this.#objects.size === 0;
    const touched = index.apply(differences(this.#objects, objects));
    this.#objects = objects;
    const settled = this.#settle(touched, isFirst);
    if (settled.settings !== this.#settled?.settings && !isFirst) {
      // Everything was made with other settings.
      const { workloads, destinations } = this.#tables;
      this.#tables = this.#createTables({
        workloads: workloads.all,
        destinations: destinations.all,
      });
      this.#objects = new Map();
      this.#explanations = readExplanations(new Map());
      this.#serviceProblems = PersistentMap.from<readonly Problem[]>([]);
      this.#settled = settled;
      return this.compile({ revision, objects, keys });
    }
    this.#settled = settled;
    this.#advance(touched, { settings: settled.settings, keys, isFirst });
    this.#egress = this.#tables.outside.apply(touched.outside, settled.settings);
    return this.#mesh(revision, settled);
  }

  #settle(touched: Touched, isFirst: boolean): CompiledSettings {
    const known = this.#settled;
    if (known !== undefined && !touched.areConfigsNew && !isFirst) return known;
    const { index } = this.#tables;
    const compiled = compileSettings(index.configs(), this.#identity, index.federations());
    const settings = keep(known?.settings, compiled.settings);
    return { ...compiled, settings };
  }

  #advance(touched: Touched, { settings, keys, isFirst }: Round): void {
    const { index, services, routes, rules, workloads, destinations } = this.#tables;
    const whole = new Set(touched.pods);
    const problems = new Map<Place, readonly Problem[] | undefined>();
    for (const place of touched.services) {
      for (const pod of services.update(place, index)) whole.add(pod);
      const members = services.get(place);
      const found = members === undefined ? [] : serviceProblems(members);
      problems.set(place, found.length > 0 ? found : undefined);
    }
    this.#serviceProblems = this.#serviceProblems.with(problems);
    for (const pod of this.#inNamespaces(touched.namespaces)) whole.add(pod);
    const byRules = new Set<Place>();
    // At first every Pod is new.
    const policies = isFirst ? [] : touched.policies;
    for (const change of policies) this.#selectedBy(change, { whole, byRules });
    const areKeysNew = keys !== this.#keys;
    this.#keys = keys;
    for (const pod of rules.refresh({
      index,
      settings,
      keys,
      areKeysNew,
      changes: touched.policies,
    })) {
      byRules.add(pod);
    }
    const context = {
      index,
      services,
      rules,
      settings,
      membership: this.#identity.membership ?? 'all',
      explained: this.#explanations.explained,
    } as const;
    const reach = workloads.update(context, { whole, byRules });
    const dirty = new Set(touched.services);
    for (const pod of reach) for (const place of services.servicesBefore(pod)) dirty.add(place);
    for (const place of routes.apply(touched.routing, touched.services)) dirty.add(place);
    const { rootNamespace } = settings;
    for (const place of servicesUnder(policies, index, rootNamespace)) dirty.add(place);
    const callsOf = callsByPolicies(index.policies, rootNamespace);
    destinations.update(dirty, { services, routes, callsOf, workloads: workloads.all, settings });
    this.#unknownNamespaces = index.unknownNamespaces(this.#unknownNamespaces);
  }

  /** What a Namespace says holds for the Pods in it, and in the root namespace for all. */
  #inNamespaces(namespaces: ReadonlySet<string>): Iterable<Place> {
    if (namespaces.size === 0) return [];
    const { index } = this.#tables;
    this.#explanations = readExplanations(index.namespaces);
    if (namespaces.has(this.#identity.rootNamespace)) return index.pods.keys();
    return [...namespaces].flatMap((name) => [...index.podsIn(name).keys()]);
  }

  #selectedBy(
    { before, after }: Difference<PolicyObject>,
    into: { readonly whole: Set<Place>; readonly byRules: Set<Place> },
  ): void {
    for (const object of [before, after]) {
      if (object === undefined) continue;
      const { namespace } = object.policy;
      const selector = object.kind === 'BrokenPolicy' ? object.selector : object.policy.selector;
      const pods = CHANGES_PORTS.has(object.kind) ? into.whole : into.byRules;
      for (const [place, pod] of this.#podsUnder(namespace)) {
        if (matchesLabels(selector, pod.meta.labels)) pods.add(place);
      }
    }
  }

  #podsUnder(namespace: string): Iterable<readonly [Place, PodObject]> {
    const { index } = this.#tables;
    return namespace === this.#identity.rootNamespace ? index.pods : index.podsIn(namespace);
  }

  #mesh(revision: number, { settings, federations, problems }: CompiledSettings): Mesh {
    const { index, routes, rules, workloads, destinations, findings, outside } = this.#tables;
    const egress = this.#egress;
    return createMesh({
      revision,
      settings,
      workloads: workloads.all,
      workloadsByIp: workloads.byIp,
      destinations: destinations.all,
      destinationsByAddress: destinations.byAddress,
      policies: index.policies.all,
      secrets: index.secrets,
      ...(egress && { egress }),
      ...(federations.length > 0 && { federations }),
      data: outside.data,
      ...(!routes.isEmpty && { routing: { routes: routes.routes, grants: routes.grants } }),
      found: {
        settings: problems,
        egress: egress?.problems ?? [],
        explanations: this.#explanations.problems,
        services: this.#serviceProblems,
        ...workloads.problems,
        addresses: destinations.problems,
        authorizers: rules.authorizers,
        unknownNamespaces: this.#unknownNamespaces,
        shapes: workloads.shapes,
        findings,
      },
    });
  }
}
