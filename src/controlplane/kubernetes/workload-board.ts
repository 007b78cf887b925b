// Lets the writer of statuses see what the keeper of WorkloadPolicies has come to, whichever of them begins first.
import type { WorkloadPolicy } from '@weft/model/admission/types';
import { systemClock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import type { KubernetesControlPlaneOptions } from './kubernetes-options.ts';
import type { Opened } from './leader-work.ts';
import { type Rendering, WorkloadPolicyKeeper } from './workload-policy-keeper.ts';

export class WorkloadBoard {
  readonly #listeners = new Listeners();
  #keeper: WorkloadPolicyKeeper | undefined;

  /** Begins to keep them, until what it gives is disposed of. */
  keep(
    { core, source }: Pick<Opened, 'core' | 'source'>,
    options: KubernetesControlPlaneOptions,
  ): AsyncDisposable {
    const { client, rootNamespace, injection, log, clock = systemClock, random } = options;
    const { authority } = core;
    const keeper = new WorkloadPolicyKeeper({
      client,
      source,
      context: { rootNamespace, captureImage: injection.captureImage },
      bundle: () => authority.bundle(),
      onBundleChange: (listener) => authority.onBundleChange(() => listener()),
      onChange: () => {
        this.#listeners.tell();
      },
      clock,
      ...(random && { random }),
      log: log.child({ component: 'admission' }),
    });
    this.#keeper = keeper;
    return {
      [Symbol.asyncDispose]: async () => {
        this.#keeper = undefined;
        await keeper[Symbol.asyncDispose]();
      },
    };
  }

  stateOf(policy: WorkloadPolicy): Rendering | undefined {
    return this.#keeper?.stateOf(policy);
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }
}
