// What tests ask of a cluster all the time, each failing with what the cluster said.
import assert from 'node:assert/strict';
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { PODS, SERVICE_ACCOUNTS } from '@weft/kube/resource';
import type { KubectlEnd, KubectlOptions } from '../support/kubelab.ts';
import { eventually } from '../support/lab-wait.ts';
import { namespaceObject } from './objects.ts';

export interface Cluster {
  readonly client: KubeClient;
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlEnd>;
}

export interface ClusterCalls {
  /** Its standard output. */
  readonly kubectl: (...args: readonly string[]) => Promise<string>;
  readonly apply: (...objects: readonly object[]) => Promise<void>;
  /** A new namespace in which Pods can be made at once; returns its name. */
  readonly namespace: (name: string, labels?: Readonly<Record<string, string>>) => Promise<string>;
  readonly pod: (namespace: string, name: string) => Promise<KubeObject>;
  /** `kubectl wait` for a condition or `jsonpath=` of Pods. */
  readonly untilPod: (
    pod: { readonly namespace: string; readonly name: string },
    condition: string,
  ) => Promise<void>;
  /** A Deployment's rollout is complete. */
  readonly untilRolledOut: (deployment: {
    readonly namespace: string;
    readonly name: string;
  }) => Promise<void>;
}

const WAIT = '--timeout=60s';

/** The node is asked for at each call: a suite's may not be there yet. */
export function clusterCalls(cluster: () => Cluster): ClusterCalls {
  async function kubectl(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await cluster().kubectl(args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }
  async function apply(...objects: readonly object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    const { code, stderr } = await cluster().kubectl(['apply', '-f', '-'], { input });
    assert.equal(code, 0, stderr);
  }
  return {
    kubectl,
    apply,
    async namespace(name, labels) {
      await apply(namespaceObject(name, labels));
      const account = { namespace: name, name: 'default' };
      await eventually(async () => (await cluster().client.get(SERVICE_ACCOUNTS, account)).ok, {
        what: `the service account of ${name}`,
        withinMs: 20_000,
      });
      return name;
    },
    async pod(namespace, name) {
      const found = await cluster().client.get(PODS, { namespace, name });
      assert.ok(found.ok, `${namespace}/${name}`);
      return found.value;
    },
    async untilPod({ namespace, name }, condition) {
      await kubectl('wait', '-n', namespace, `--for=${condition}`, `pod/${name}`, WAIT);
    },
    async untilRolledOut({ namespace, name }) {
      await kubectl('rollout', 'status', '-n', namespace, `deployment/${name}`, WAIT);
    },
  };
}
