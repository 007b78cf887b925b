// Keeps what is said of each binding: where it is in force and what is wrong with it, found out anew when something has changed.
import type { CredentialBinding } from '@weft/model/credentials/types';
import type { Clock } from '@weft/model/clock';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { Problem } from '@weft/model/problem';
import type { PolicyReport } from '../status/policy-status.ts';
import type { BindingIndex } from './binding-index.ts';
import { Settled } from '../status/settled.ts';
import {
  type BindingFacts,
  bindingState,
  type BindingState,
  reportOf,
  workloadsWithBindings,
} from './binding-reports.ts';

export interface BindingLedgerOptions extends Omit<BindingFacts, 'workloads'> {
  readonly mesh: () => Mesh;
  readonly clock: Clock;
  /** What is said may be another. */
  readonly onChange: () => void;
}

/** What was found out of all bindings, and from what. */
interface Known {
  readonly states: readonly (readonly [CredentialBinding, BindingState])[];
  readonly version: BindingIndex['version'];
  readonly workloads: Mesh['workloads'];
}

/** Proxies answer by the thousand after a rotation; what is said is found out anew for all of them together. */
const SETTLE_MS = 100;

export class BindingLedger implements Disposable {
  readonly #options: BindingLedgerOptions;
  readonly #since = new Map<string, { readonly isEnforced: boolean; readonly at: string }>();
  #known: Known;
  readonly #settled: Settled;

  constructor(options: BindingLedgerOptions) {
    this.#options = options;
    this.#known = this.#findOut();
    const run = (): void => {
      this.#known = this.#findOut();
      options.onChange();
    };
    this.#settled = new Settled({ clock: options.clock, settleMs: SETTLE_MS, run });
  }

  /** To be called when anything may be other than it was. */
  soon(): void {
    this.#settled.soon();
  }

  #findOut(): Known {
    const { index, mesh } = this.#options;
    const { workloads } = mesh();
    const byNamespace = workloadsWithBindings(mesh(), index);
    const states = index.all().map((binding) => {
      const own = byNamespace.get(binding.namespace) ?? [];
      return [binding, bindingState(binding, { ...this.#options, workloads: own })] as const;
    });
    return { states, version: index.version, workloads };
  }

  /** What is said of a binding is never of the version before it. */
  #upToDate({ isOfWorkloads }: { readonly isOfWorkloads: boolean }): Known['states'] {
    const { index, mesh } = this.#options;
    const isOld = isOfWorkloads && this.#known.workloads !== mesh().workloads;
    if (isOld || this.#known.version !== index.version) this.#known = this.#findOut();
    return this.#known.states;
  }

  reports(): readonly PolicyReport[] {
    const seen = new Set<string>();
    const now = new Date(this.#options.clock.now()).toISOString();
    const reports = this.#upToDate({ isOfWorkloads: true }).map(([binding, { enforced }]) => {
      const key = `${binding.namespace}/${binding.name}`;
      seen.add(key);
      const isEnforced = enforced.every((one) => one.enforced);
      const before = this.#since.get(key);
      const at = before?.isEnforced === isEnforced ? before.at : now;
      this.#since.set(key, { isEnforced, at });
      return reportOf(binding, enforced, at);
    });
    for (const key of this.#since.keys()) if (!seen.has(key)) this.#since.delete(key);
    return reports;
  }

  /** Asked at every change of the mesh: those of workloads may be a moment old. */
  problems(): readonly Problem[] {
    return this.#upToDate({ isOfWorkloads: false }).flatMap(([, { problems }]) => problems);
  }

  [Symbol.dispose](): void {
    this.#settled[Symbol.dispose]();
  }
}
