// Decides for each caller which hosts outside the mesh it may call: by its namespace, its identity, and whose word stands first.
import type {
  Egress,
  EgressCaller,
  EgressView,
  ExternalDestination,
  OutboundPolicy,
} from '@weft/model/egress/egress';
import type { ExternalService } from '@weft/model/egress/external-service';
import { isWildcard } from '@weft/model/egress/parse-external-service';
import type { SpiffeId } from '@weft/model/identity';
import type { MeshSettings } from '@weft/model/mesh/mesh';
import { principalMatcher } from '@weft/model/policy/compile-strings';
import { compileString } from '@weft/model/policy/matchers';
import { expandPrincipal } from '@weft/model/policy/trust-domain';
import type { Problem } from '@weft/model/problem';
import { compareTexts } from '../compare-texts.ts';

interface Candidate {
  readonly destination: ExternalDestination;
  readonly isOfRoot: boolean;
  readonly sees: (namespace: string) => boolean;
  readonly mayCall: (caller: EgressCaller) => boolean;
}

const EVERY = '*';
const OWN = '.';

/** Nothing is known outside the mesh; and what a caller that is unknown itself is told. */
export class EgressTable implements Egress {
  readonly problems: readonly Problem[];
  readonly destinations: ReadonlyMap<string, readonly ExternalDestination[]>;
  readonly #settings: MeshSettings;
  readonly #candidates: readonly Candidate[];
  readonly #byCaller = new Map<string, EgressView>();
  /** Callers that may call the same share one. */
  readonly #views = new Map<string, EgressView>();

  /** @param services in any order; the same ones give the same table */
  constructor(services: readonly ExternalService[], settings: MeshSettings) {
    this.#settings = settings;
    const problems: Problem[] = [];
    const sorted = [...services].sort((a, b) => inOrder(a, b, settings.rootNamespace));
    this.#candidates = sorted.flatMap((service) => candidatesOf(service, settings, problems));
    const destinations = new Map<string, ExternalDestination[]>();
    for (const { destination } of this.#candidates) {
      const others = destinations.get(destination.name);
      if (others === undefined) destinations.set(destination.name, [destination]);
      else others.push(destination);
    }
    this.destinations = destinations;
    problems.push(...clashesOf(this.#candidates));
    this.problems = problems;
  }

  viewOf(caller: EgressCaller | undefined): EgressView {
    const key = caller === undefined ? '' : `${caller.namespace}\0${caller.identity ?? ''}`;
    let view = this.#byCaller.get(key);
    if (view === undefined) {
      view = this.#share(caller === undefined ? this.#ofNobody() : this.#decide(caller));
      this.#byCaller.set(key, view);
    }
    return view;
  }

  #ofNobody(): EgressView {
    const { outboundTrafficPolicy, outboundTrafficPolicyByNamespace: by } = this.#settings;
    const isClosedSomewhere = [...(by?.values() ?? [])].includes('REGISTRY_ONLY');
    const policy = isClosedSomewhere ? 'REGISTRY_ONLY' : outboundTrafficPolicy;
    return { policy, allowed: new Map(), refused: new Map() };
  }

  #decide(caller: EgressCaller): EgressView {
    const { namespace } = caller;
    const allowed = new Map<string, ExternalDestination>();
    const refused = new Map<string, ExternalDestination>();
    const held: ExternalDestination[] = [];
    for (const { destination, isOfRoot, sees, mayCall } of this.#candidates) {
      const { name } = destination;
      if (!sees(namespace) || allowed.has(name) || refused.has(name)) continue;
      // What the root namespace says of *.example.com nobody widens by naming one of them.
      if (!isOfRoot && held.some((wildcard) => covers(wildcard, destination))) continue;
      if (isOfRoot && isWildcard(destination.host)) held.push(destination);
      (mayCall(caller) ? allowed : refused).set(name, destination);
    }
    return { policy: outboundPolicyOf(namespace, this.#settings), allowed, refused };
  }

  #share(view: EgressView): EgressView {
    const namesOf = (of: EgressView['allowed']): string =>
      [...of.values()]
        .map(({ name, service }) => `${name} ${service.namespace}/${service.name}`)
        .join('\n');
    const key = `${view.policy}\n\n${namesOf(view.allowed)}\n\n${namesOf(view.refused)}`;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    this.#views.set(key, view);
    return view;
  }
}

export const outboundPolicyOf = (namespace: string, settings: MeshSettings): OutboundPolicy =>
  settings.outboundTrafficPolicyByNamespace?.get(namespace) ?? settings.outboundTrafficPolicy;

/** The root namespace's word stands first; then the older, as with policies. */
const inOrder = (a: ExternalService, b: ExternalService, root: string): number =>
  Number(b.namespace === root) - Number(a.namespace === root) ||
  a.createdAtMs - b.createdAtMs ||
  compareTexts(a.namespace, b.namespace) ||
  compareTexts(a.name, b.name);

const covers = (wildcard: ExternalDestination, { host, port }: ExternalDestination): boolean =>
  wildcard.port.port === port.port && host.endsWith(wildcard.host.slice(1));

function candidatesOf(
  service: ExternalService,
  settings: MeshSettings,
  problems: Problem[],
): readonly Candidate[] {
  const isOfRoot = service.namespace === settings.rootNamespace;
  const sees = visibility(service, isOfRoot, problems);
  const mayCall = callersOf(service, settings);
  return service.hosts.flatMap((host) => {
    if (isOfMesh(host, settings.clusterDomain)) {
      const message = `${host} is a name of the mesh's own, and leads where its Services are`;
      problems.push(problemOf(service, 'host-of-the-mesh', 'spec.hosts', message));
      return [];
    }
    return service.ports.map((port) => ({
      destination: { name: `outbound|${port.port}||${host}`, host, port, service },
      isOfRoot,
      sees,
      mayCall,
    }));
  });
}

/** Nobody may put a host of their own in the place of a Service (ISTIO-SECURITY-2026-002). */
const isOfMesh = (host: string, clusterDomain: string): boolean =>
  host.endsWith('.svc') || host === clusterDomain || host.endsWith(`.${clusterDomain}`);

function visibility(
  service: ExternalService,
  isOfRoot: boolean,
  problems: Problem[],
): Candidate['sees'] {
  const { namespace: own, exportTo } = service;
  if (isOfRoot) {
    if (exportTo === undefined || exportTo.includes(EVERY)) return () => true;
    const names = new Set(exportTo.map((name) => (name === OWN ? own : name)));
    return (namespace) => names.has(namespace);
  }
  if (exportTo?.some((name) => name !== OWN && name !== own) === true) {
    const message = 'names other namespaces, where only the root namespace may say what is called';
    problems.push(problemOf(service, 'export-not-allowed', 'spec.exportTo', message));
  }
  return (namespace) => namespace === own;
}

function callersOf(
  { isClosed, allowedCallers }: ExternalService,
  settings: MeshSettings,
): Candidate['mayCall'] {
  if (isClosed) return () => false;
  if (allowedCallers === undefined) return () => true;
  const namespaces = new Set(allowedCallers.namespaces);
  const tests = allowedCallers.principals
    .flatMap((value) => expandPrincipal(value, settings))
    .map((value) => compileString(principalMatcher(value)));
  const isNamed = (identity: SpiffeId | undefined): boolean =>
    identity !== undefined && tests.some((test) => test(identity));
  return ({ namespace, identity }) => namespaces.has(namespace) || isNamed(identity);
}

/** The same host and port twice for the same callers: the first holds. */
function clashesOf(candidates: readonly Candidate[]): readonly Problem[] {
  const holders = new Map<string, Candidate[]>();
  return candidates.flatMap((candidate) => {
    const { name, service } = candidate.destination;
    const before = holders.get(name) ?? [];
    holders.set(name, [...before, candidate]);
    const holder = before.find((one) => one.sees(service.namespace));
    if (holder === undefined || holder.destination.service === service) return [];
    const { namespace, name: holderName } = holder.destination.service;
    const message = `${candidate.destination.host} is held by ${namespace}/${holderName}`;
    return [problemOf(service, 'host-clash', 'spec.hosts', message)];
  });
}

const problemOf = (
  { namespace, name }: ExternalService,
  code: string,
  field: string,
  message: string,
): Problem => ({
  severity: 'error',
  code,
  field,
  message,
  object: { kind: 'ExternalService', namespace, name },
});
