// Puts into a cluster's snapshots that Pods have lost their identity: nobody lets them in as whom they were, and nobody is sent to them.
import type { PodObject, RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import type { AuthorizationPolicy, Rule } from '@weft/model/policy/types';
import { Listeners } from '@weft/model/listeners';
import type { KubernetesSource } from '../registry/kubernetes/kubernetes-source.ts';
import { PersistentMap } from '../registry/persistent-map.ts';
import type { SourceState } from '../registry/source.ts';
import type { RevokedPod } from './judge-pods.ts';
import { REVOKED_LABEL } from './revoked-label.ts';

/** Names that nobody's objects can have. */
export const REVOKED_CALLERS = 'weft:revoked-callers';
export const REVOKED_WORKLOADS = 'weft:revoked-workloads';

/** Who tells which Pods they are. */
export interface Revocations {
  readonly revoked: ReadonlyMap<string, RevokedPod>;
  subscribe(listener: () => void): Disposable;
}

/** What is other in a snapshot while these Pods have no identity; nothing without them. */
export function revocationEntries(
  { objects }: Snapshot,
  revoked: Iterable<string>,
  rootNamespace: string,
): readonly (readonly [string, RegistryObject])[] {
  const pods = [...revoked].flatMap((key) => {
    const pod = objects.get(`Pod/${key}`);
    return pod?.kind === 'Pod' ? [[key, pod] as const] : [];
  });
  if (pods.length === 0) return [];
  const byAccount = Map.groupBy(
    pods.map(([, pod]) => pod),
    ({ meta, serviceAccount }) => `${meta.namespace}/${serviceAccount}`,
  );
  const rules = [...byAccount].flatMap(([account, own]) => callerRule(account, own) ?? []);
  const policies = [
    denial(REVOKED_WORKLOADS, {
      namespace: rootNamespace,
      selector: new Map([[REVOKED_LABEL, 'true']]),
      rules: [{ from: undefined, to: undefined, when: [] }],
    }),
    ...(rules.length === 0
      ? []
      : [denial(REVOKED_CALLERS, { namespace: rootNamespace, selector: undefined, rules })]),
  ];
  return [
    ...pods.map(([key, pod]) => [`Pod/${key}`, marked(pod)] as const),
    ...policies.map(
      (policy) =>
        [
          `AuthorizationPolicy/${rootNamespace}/${policy.name}`,
          { kind: 'AuthorizationPolicy', policy },
        ] as const,
    ),
  ];
}

/** The account is others' as well: from these addresses alone it is refused. */
function callerRule(account: string, pods: readonly PodObject[]): Rule | undefined {
  const ips = pods.flatMap((pod) => pod.ips);
  if (ips.length === 0) return undefined;
  return {
    from: [
      [
        { field: 'serviceAccounts', values: [account], notValues: [] },
        { field: 'ipBlocks', values: ips, notValues: [] },
      ],
    ],
    to: undefined,
    when: [],
  };
}

const denial = (
  name: string,
  what: Pick<AuthorizationPolicy, 'namespace' | 'selector' | 'rules'>,
): AuthorizationPolicy => ({
  ...what,
  name,
  createdAtMs: 0,
  action: 'DENY',
  provider: undefined,
  targetRefs: [],
  isDryRun: false,
});

/** The same for the same Pod: what did not change is compiled once. */
const known = new WeakMap<PodObject, PodObject>();

function marked(pod: PodObject): PodObject {
  const found = known.get(pod);
  if (found !== undefined) return found;
  const labels = new Map([...pod.meta.labels, [REVOKED_LABEL, 'true']]);
  const made: PodObject = { ...pod, isReady: false, meta: { ...pod.meta, labels } };
  known.set(pod, made);
  return made;
}

/** The same source with those Pods in its snapshots as they are let be; it owns the source that it is made of. */
export class SourceWithRevocations implements KubernetesSource {
  readonly #source: KubernetesSource;
  readonly #revocations: Revocations;
  readonly #rootNamespace: string;
  readonly #listeners = new Listeners();
  readonly #owned = new DisposableStack();
  #keys = '';
  #state: SourceState;

  constructor(
    source: KubernetesSource,
    options: { readonly revocations: Revocations; readonly rootNamespace: string },
  ) {
    this.#source = source;
    this.#revocations = options.revocations;
    this.#rootNamespace = options.rootNamespace;
    this.#state = source.state;
    this.#advance();
    this.#owned.use(source.subscribe(() => this.#advance()));
    this.#owned.use(
      options.revocations.subscribe(() => {
        if (this.#keysNow() !== this.#keys) this.#advance();
      }),
    );
  }

  get state(): SourceState {
    return this.#state;
  }

  get staleSinceMs(): number | undefined {
    return this.#source.staleSinceMs;
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  #keysNow(): string {
    return [...this.#revocations.revoked.keys()].join(' ');
  }

  #advance(): void {
    const base = this.#source.state;
    this.#keys = this.#keysNow();
    const entries = revocationEntries(
      base.snapshot,
      this.#revocations.revoked.keys(),
      this.#rootNamespace,
    );
    const { objects } = base.snapshot;
    const merged =
      objects instanceof PersistentMap ? objects.with(entries) : new Map([...objects, ...entries]);
    const revision = this.#state.snapshot.revision + 1;
    this.#state = { ...base, snapshot: { revision, objects: merged } };
    this.#listeners.tell();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#owned.dispose();
    this.#listeners.clear();
    await this.#source[Symbol.asyncDispose]();
  }
}
