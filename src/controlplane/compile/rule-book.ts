// Says which rules hold for the Pods of a namespace with given labels: selected, composed and looked up once for all that are alike.
import type { MeshSettings } from '@weft/model/mesh/mesh';
import type { PodObject } from '@weft/model/mesh/objects';
import { matchesLabels } from '@weft/model/policy/select';
import { type FetchedKeys, NO_KEYS } from '@weft/model/policy/token-rules';
import type { WorkloadRef } from '@weft/model/policy/select';
import { composeTraffic, type WorkloadTraffic } from '@weft/model/traffic/compose';
import type { TrafficPolicy } from '@weft/model/traffic/types';
import type { Difference } from '../registry/persistent-map.ts';
import { type Authorizers, authorizersOf, findAuthorizers } from './authorizers.ts';
import { type ObjectIndex, type Place, placeOf } from './object-index.ts';
import type { PolicyObject, PolicyScope, PolicyTable } from './policy-table.ts';
import { TrafficTargets } from './traffic-targets.ts';
import { WorkloadLogins } from './workload-logins.ts';
import { createTokenComposer } from './workload-tokens.ts';
import type { WorkloadRules } from './workloads.ts';

interface Inputs {
  readonly index: ObjectIndex;
  readonly settings: MeshSettings;
  readonly keys: FetchedKeys;
  readonly areKeysNew: boolean;
  readonly changes: readonly Difference<PolicyObject>[];
}

const isOfTokens = (object: PolicyObject | undefined): boolean =>
  object?.kind === 'RequestAuthentication';

export class RuleBook {
  readonly #policies: PolicyTable;
  /** By scope, then labels; a scope goes when a policy of it changes, and takes its rules with it. */
  #known = new WeakMap<PolicyScope, Map<string, WorkloadRules>>();
  #composer = createTokenComposer(NO_KEYS);
  #authorizers: Authorizers | undefined;
  #settings: MeshSettings | undefined;
  readonly #targets = new TrafficTargets();
  readonly #logins = new WorkloadLogins();

  constructor(policies: PolicyTable) {
    this.#policies = policies;
  }

  get authorizers(): Authorizers | undefined {
    return this.#authorizers;
  }

  /** Takes note of new keys, token policies and authorizers. @returns the Pods whose rules may be others by that. */
  refresh({ index, settings, keys, areKeysNew, changes }: Inputs): Iterable<Place> {
    const areTokensNew =
      areKeysNew || changes.some((one) => isOfTokens(one.before) || isOfTokens(one.after));
    if (areTokensNew) this.#composer = createTokenComposer(keys);
    const before = this.#authorizers;
    const hasPort = (service: Parameters<typeof placeOf>[0], port: number): boolean =>
      index.services.get(placeOf(service))?.ports.some((one) => one.port === port) === true;
    const after = findAuthorizers(settings, hasPort);
    const areOthers = after.reachable !== before?.reachable || settings !== this.#settings;
    this.#settings = settings;
    if (areOthers) this.#authorizers = after;
    const retargeted = this.#targets.refresh(this.#policies.all.traffic, index);
    const areUsersNew = this.#logins.refresh(this.#policies.all.basicAuthentication, index.secrets);
    if (!areTokensNew && !areOthers && !areUsersNew && retargeted.size === 0) return [];
    this.#known = new WeakMap();
    if (before !== undefined && areOthers) return index.pods.keys();
    const again = new Set(areKeysNew ? this.#podsWithTokens(index) : []);
    if (areUsersNew) for (const place of this.#podsWithLogins(index)) again.add(place);
    for (const namespace of retargeted) {
      for (const place of index.podsIn(namespace).keys()) again.add(place);
    }
    return again;
  }

  *#podsWithLogins(index: ObjectIndex): Iterable<Place> {
    for (const [place, { meta }] of index.pods) {
      if (this.#policies.scope(meta.namespace).logins.length > 0) yield place;
    }
  }

  *#podsWithTokens(index: ObjectIndex): Iterable<Place> {
    for (const [place, { meta }] of index.pods) {
      if (this.#policies.scope(meta.namespace).hasTokens) yield place;
    }
  }

  /** @param labelText equal for equal labels alone */
  rulesOf({ meta: { namespace, labels } }: PodObject, labelText: string): WorkloadRules {
    const scope = this.#policies.scope(namespace);
    const byLabels = this.#known.get(scope) ?? new Map<string, WorkloadRules>();
    this.#known.set(scope, byLabels);
    const known = byLabels.get(labelText);
    if (known !== undefined) return known;
    const rules = this.#compose(scope, { namespace, labels });
    byLabels.set(labelText, rules);
    return rules;
  }

  #compose(scope: PolicyScope, workload: WorkloadRef): WorkloadRules {
    const { authorization, broken, tokens: policies } = scope.select(workload.labels);
    const tokens = this.#composer.compose(policies);
    const rootNamespace = this.#settings?.rootNamespace ?? '';
    const login = this.#logins.compose(scope.logins, workload, rootNamespace);
    return {
      policies: authorization,
      broken: [...broken, ...tokens.broken, ...login.broken],
      tokens: tokens.spec.tokens,
      authorizers:
        this.#authorizers === undefined ? [] : authorizersOf(authorization, this.#authorizers),
      terminations: scope.terminations.filter(({ selector }) =>
        matchesLabels(selector, workload.labels),
      ),
      traffic:
        scope.traffic.length === 0 ? undefined : this.#composeTraffic(scope.traffic, workload),
      login: login.login,
      problems: [...tokens.problems, ...login.problems],
    };
  }

  #composeTraffic(
    policies: readonly TrafficPolicy[],
    workload: WorkloadRef,
  ): WorkloadTraffic | undefined {
    const rootNamespace = this.#settings?.rootNamespace ?? '';
    return composeTraffic(policies, workload, {
      rootNamespace,
      selectorOf: this.#targets.selectorOf,
    });
  }
}
