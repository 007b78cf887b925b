// A small shop for tests of what goes wrong around a mesh: `web` and `cart` call `prices`, and what operators would look at can be looked at.
import type { KubeObject } from '@weft/kube/kube-api';
import { weft } from '../support/installation.ts';
import { eventually } from '../support/lab-wait.ts';
import { callerPod, type MeshNode, ROOT_NAMESPACE, serviceAccount } from './mesh-node.ts';
import { container, deploymentObject, env, type PodSpecFields, serviceObject } from './objects.ts';

export const SHOP = 'shop';
const SAID_MS = 40_000;
const LOOK_MS = 200;
const MAX_TOLD = 6_000;

export interface GuardedShop {
  /** Of a Deployment of one Pod. */
  deployment(name: string, pod: PodSpecFields): KubeObject;
  /** An AuthorizationPolicy for `prices`. */
  policy(name: string, spec: object): KubeObject;
  /** A rule for a caller. */
  from(account: string): object;
  mayCall(app: string): Promise<boolean>;
  /** Status, reason and message of a policy's condition. */
  conditionOf(policy: string, type: 'Accepted' | 'Enforced'): Promise<string>;
  /** Waits for a condition of a policy: `Enforced`, `Accepted=False`. */
  waitFor(policy: string, condition: string): Promise<void>;
  removePolicy(name: string): Promise<void>;
  readonly controlPlaneLog: () => Promise<string>;
  readonly describeControlPlane: () => Promise<string>;
  /** What `weft check` says. */
  readonly check: () => Promise<string>;
  /** The one that runs is gone at once, and another is started. */
  restartControlPlane(): Promise<void>;
}

/** Waits until somebody says something. */
export async function says(what: RegExp, tell: () => string | Promise<string>): Promise<void> {
  let last = '';
  const isSaid = async (): Promise<boolean> => {
    last = await tell();
    return what.test(last);
  };
  const told = (): string => last.slice(-MAX_TOLD);
  await eventually(isSaid, { what: String(what), withinMs: SAID_MS, everyMs: LOOK_MS, told });
}

const deployment = (name: string, pod: PodSpecFields): KubeObject =>
  deploymentObject({ name, namespace: SHOP }, { replicas: 1, pod });

export async function openGuardedShop(mesh: MeshNode): Promise<GuardedShop> {
  await mesh.namespace(SHOP);
  const prices = {
    serviceAccountName: 'prices',
    containers: [container('http', 'test/http-echo', { env: env({ PORT: '8080' }) })],
  };
  await mesh.apply(
    ...['web', 'cart', 'prices'].map((name) => serviceAccount(SHOP, name)),
    deployment('prices', prices),
    serviceObject({ name: 'prices', namespace: SHOP }, [
      { name: 'http', port: 80, targetPort: 8080 },
    ]),
    deployment('web', callerPod('web')),
    deployment('cart', callerPod('cart')),
  );
  for (const name of ['prices', 'web', 'cart']) await mesh.rolledOut(SHOP, name);
  return shopOf(mesh);
}

const shopOf = (mesh: MeshNode): GuardedShop => ({
  deployment,
  policy: (name, spec) => ({
    apiVersion: 'security.weft.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: SHOP },
    spec: { selector: { matchLabels: { app: 'prices' } }, ...spec },
  }),
  from: (account) => ({
    from: [{ source: { principals: [`cluster.local/ns/${SHOP}/sa/${account}`] } }],
  }),
  mayCall: async (app) =>
    (await mesh.call(`${SHOP}/${app}`, 'http', `http://prices.${SHOP}/x`)).isOk,
  conditionOf(policy, type) {
    const path = `{.status.conditions[?(@.type=="${type}")]['status','reason','message']}`;
    return mesh.kubectl('get', 'authorizationpolicy', policy, '-n', SHOP, `-o=jsonpath=${path}`);
  },
  async waitFor(policy, condition) {
    const wait = [`--for=condition=${condition}`, '--timeout=30s'];
    await mesh.kubectl('wait', `authorizationpolicy/${policy}`, '-n', SHOP, ...wait);
  },
  async removePolicy(name) {
    await mesh.kubectl('delete', 'authorizationpolicy', name, '-n', SHOP);
  },
  controlPlaneLog: async () =>
    (await mesh.controlPlanes())
      .map((pod) => mesh.node.logs(`${ROOT_NAMESPACE}/${pod}`, 'control-plane'))
      .join(''),
  describeControlPlane: () => mesh.kubectl('describe', 'pods', '-n', ROOT_NAMESPACE),
  check: async () => (await weft(mesh.node.cluster, ['check'])).stdout,
  async restartControlPlane() {
    for (const pod of await mesh.controlPlanes()) {
      await mesh.node.killPod(`${ROOT_NAMESPACE}/${pod}`);
    }
  },
});
