// WorkloadPolicies in a real API server with the parts of a control plane that keep and review them, each of which can be away.
import assert from 'node:assert/strict';
import { type Authority, openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import type { WorkloadLook } from '@weft/controlplane/admission/review-workload';
import { IMAGES, WORKLOADS } from '@weft/controlplane/admission/render-webhooks';
import { openWebhookServer, type WebhookServer } from '@weft/controlplane/admission/webhook-server';
import { workloadReviews } from '@weft/controlplane/admission/workload-reviews';
import type { ImageResolver } from '@weft/controlplane/images/resolve-images';
import { StatusWriter } from '@weft/controlplane/kubernetes/status-writer';
import { WorkloadPolicyKeeper } from '@weft/controlplane/kubernetes/workload-policy-keeper';
import {
  type KubernetesSource,
  openKubernetesSource,
} from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { objectAt } from '@weft/kube/object-fields';
import {
  apiVersionOf,
  CLUSTER_WORKLOAD_POLICIES,
  type KubeResource,
  MUTATING_WEBHOOKS,
  NAMESPACES,
  SERVICE_ACCOUNTS,
  VALIDATING_WEBHOOKS,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { installCrds, whyNot } from './kube-objects.ts';
import { type Kubelab, type KubectlEnd, startKubelab } from './kubelab.ts';
import { eventually } from './lab-wait.ts';

const log = pino({ level: 'silent' });
const ROOT = 'weft-system';
const context = { rootNamespace: ROOT, captureImage: 'weft/capture:1' };

export interface WorkloadRigOptions {
  /** Beside the root namespace, with their labels. */
  readonly namespaces: Readonly<Record<string, PlainObject>>;
  readonly looks?: readonly WorkloadLook[];
  readonly resolver?: ImageResolver;
  /** Of the API server. */
  readonly apiserverArgs?: readonly string[];
}

export class WorkloadRig implements AsyncDisposable {
  readonly lab: Kubelab;
  readonly source: KubernetesSource;
  /** `MODE CHECK` of everything that the webhook found. */
  readonly findings: string[] = [];
  readonly #authority: Authority;
  readonly #options: WorkloadRigOptions;
  readonly #owned: AsyncDisposableStack;
  readonly #listeners = new Set<() => void>();
  #server: WebhookServer | undefined;
  #port = 0;
  keeper: WorkloadPolicyKeeper | undefined;

  constructor(parts: {
    readonly lab: Kubelab;
    readonly source: KubernetesSource;
    readonly authority: Authority;
    readonly options: WorkloadRigOptions;
    readonly owned: AsyncDisposableStack;
  }) {
    this.lab = parts.lab;
    this.source = parts.source;
    this.#authority = parts.authority;
    this.#options = parts.options;
    this.#owned = parts.owned;
    this.#owned.defer(() => this.hangUp());
    this.#owned.defer(() => this.stopKeeping());
    this.#owned.use(this.#writeStatus());
  }

  async listen(): Promise<void> {
    const { source, findings } = this;
    const { looks, resolver } = this.#options;
    this.#server = await openWebhookServer({
      address: { host: '127.0.0.1', port: this.#port },
      authority: this.#authority,
      dnsNames: [`weft-control-plane.${ROOT}.svc`],
      ipAddresses: ['127.0.0.1'],
      reviews: new Map(
        workloadReviews({
          snapshot: () => source.state.snapshot,
          context,
          clock: systemClock,
          ...(looks && { looks }),
          ...(resolver && { resolver }),
          onFinding: (mode, check) => findings.push(`${mode} ${check}`),
        }),
      ),
      log,
    });
    this.#port = this.#server.address.port;
  }

  async hangUp(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  keep(): void {
    this.keeper = new WorkloadPolicyKeeper({
      client: this.lab.client,
      source: this.source,
      context,
      bundle: () => this.#authority.bundle(),
      onBundleChange: (listener) => this.#authority.onBundleChange(() => listener()),
      clientConfig: (path) => ({ url: `https://127.0.0.1:${this.#port}${path}` }),
      onChange: () => {
        for (const listener of this.#listeners) listener();
      },
      clock: systemClock,
      log,
    });
  }

  async stopKeeping(): Promise<void> {
    await this.keeper?.[Symbol.asyncDispose]();
    this.keeper = undefined;
  }

  #writeStatus(): StatusWriter {
    const { source } = this;
    const mesh = { policies: { authorization: [] } };
    return new StatusWriter({
      client: this.lab.client,
      source,
      // Nothing of a mesh is here.
      views: {
        snapshot: () => source.state.snapshot,
        mesh: () => mesh as never,
        problems: () => source.state.problems,
        subscribe: (listener) => source.subscribe(listener),
      },
      policies: { reports: () => [], subscribe: () => ({ [Symbol.dispose]() {} }) },
      workloads: {
        stateOf: (one) => this.keeper?.stateOf(one),
        subscribe: (listener) => {
          this.#listeners.add(listener);
          return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
        },
      },
      clock: systemClock,
      log,
    });
  }

  apply(object: PlainObject, more: readonly string[] = []): Promise<KubectlEnd> {
    return this.lab.kubectl(['apply', '-f', '-', ...more], { input: JSON.stringify(object) });
  }

  tryOut(object: PlainObject): Promise<KubectlEnd> {
    return this.apply(object, ['--dry-run=server']);
  }

  /** Written, and seen to be enforced by the API server. */
  async enforce(object: PlainObject): Promise<void> {
    const applied = await this.apply(object);
    assert.equal(applied.code, 0, applied.stderr);
    await this.untilEnforced(object);
  }

  /** @returns the status of its newest version, once it says so. */
  untilEnforced(object: PlainObject, isEnforced = 'True'): Promise<PlainObject> {
    const { name, namespace } = objectAt(object, 'metadata') ?? {};
    const target = {
      name: typeof name === 'string' ? name : '',
      ...(typeof namespace === 'string' && { namespace }),
    };
    const isCluster = object['kind'] === CLUSTER_WORKLOAD_POLICIES.kind;
    const resource = isCluster ? CLUSTER_WORKLOAD_POLICIES : WORKLOAD_POLICIES;
    return eventually(
      async () => {
        const found = await this.lab.client.get(resource, target);
        assert.ok(found.ok, whyNot(found));
        const status = objectAt(found.value, 'status') ?? {};
        const { conditions } = status;
        const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
        const isOf = (one: unknown): boolean =>
          isPlainObject(one) && one['type'] === 'Enforced' && one['status'] === isEnforced;
        const generation = objectAt(found.value, 'metadata')?.['generation'];
        return status['observedGeneration'] === generation && list.some(isOf) ? status : undefined;
      },
      { what: `${target.name} enforced: ${isEnforced}`, withinMs: 20_000, everyMs: 50 },
    );
  }

  /** @returns what was said. */
  untilRefused(object: PlainObject, what: string): Promise<string> {
    return eventually(
      async () => {
        const end = await this.tryOut(object);
        return end.code === 0 ? undefined : end.stderr;
      },
      { what, withinMs: 30_000, everyMs: 100 },
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

/** @throws Error when there is no kubelab; ask `kubelabMissing()` first. */
export async function openWorkloadRig(options: WorkloadRigOptions): Promise<WorkloadRig> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(
    await startKubelab({
      controllers: [],
      ...(options.apiserverArgs && { apiserverArgs: options.apiserverArgs }),
    }),
  );
  await installCrds(lab);
  const make = async (resource: KubeResource, object: PlainObject): Promise<void> => {
    const whole = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
    const made = await lab.client.create(resource, whole);
    assert.ok(made.ok, whyNot(made));
  };
  for (const [name, labels] of Object.entries({ [ROOT]: {}, ...options.namespaces })) {
    await make(NAMESPACES, { metadata: { name, labels } });
    await make(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: name } });
  }
  // As the chart makes it.
  await make(VALIDATING_WEBHOOKS, { metadata: { name: WORKLOADS } });
  await make(MUTATING_WEBHOOKS, { metadata: { name: IMAGES } });
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain);
  const authority = stack.use(await openAuthority({ store: createMemoryStore(), trustDomain }));
  const source = stack.use(await openKubernetesSource({ client: lab.client, rootNamespace: ROOT }));
  const rig = new WorkloadRig({
    lab,
    source,
    authority,
    options,
    owned: stack.move(),
  });
  await rig.listen();
  rig.keep();
  return rig;
}

export const workloadPolicy = (
  name: string,
  namespace: string,
  spec: PlainObject,
): PlainObject => ({
  apiVersion: apiVersionOf(WORKLOAD_POLICIES),
  kind: WORKLOAD_POLICIES.kind,
  metadata: { name, namespace },
  spec,
});
