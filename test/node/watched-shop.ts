// A shop under traffic in a cluster with Weft: `web` may call `prices`, `thief` may not, nor may who is outside the mesh; and what tells of all that.
import assert from 'node:assert/strict';
import { startListWatch } from '@weft/kube/list-watch';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { LEASES, PEER_AUTHENTICATIONS } from '@weft/kube/resource';
import { eventually } from '../support/lab-wait.ts';
import type { CallEnd } from './apps/calls.ts';
import { type MeshNode, ROOT_NAMESPACE, serviceAccount } from './mesh-node.ts';
import {
  deploymentObject,
  httpEcho,
  type Named,
  type PodSpecFields,
  serviceObject,
  tcpEcho,
} from './objects.ts';
import { type Loop, loopContainer, markTraffic, type Traffic } from './traffic.ts';

export const SHOP = 'shop';
/** With sidecars, of one Pod each. */
export const IN_MESH = ['prices', 'loops', 'thief'] as const;
/** Each call of `tcp` is a connection of its own to the other sidecar. */
const ALLOWED: readonly Loop[] = [
  { kind: 'http-kept', target: 'http://prices.shop/x' },
  { kind: 'tcp', target: 'prices.shop:7070' },
];
const REFUSED: readonly Loop[] = [{ kind: 'http', target: 'http://prices.shop/x' }];
const ENFORCED_MS = 90_000;

const named = (name: string): Named => ({ name, namespace: SHOP });

const PRICES: PodSpecFields = {
  serviceAccountName: 'prices',
  containers: [httpEcho(), tcpEcho()],
};

const loopsPod = (serviceAccountName: string, loops: readonly Loop[]): PodSpecFields => ({
  serviceAccountName,
  containers: loops.map(loopContainer),
});

const policy = (kind: string, name: string, spec: object): object => ({
  apiVersion: 'security.weft.dev/v1',
  kind,
  metadata: named(name),
  spec,
});

export interface WatchedTraffic {
  /** Waits for more calls; since the mark no allowed one has failed, and none that is not allowed was let through. */
  isAsEver(): Promise<void>;
}

interface Saying {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** What the status of PeerAuthentication `strict` has said of its enforcement. */
export interface Said extends AsyncDisposable {
  /** What was wrong to say while all proxies of {@link IN_MESH} have it, and others come, or take up other policies. */
  wrong(): readonly Saying[];
}

/** While new Pods connect and changed listeners are taken up, a status may say so for a moment. */
const isWrong = ({ status, reason, message }: Saying): boolean =>
  status !== 'True' && (reason !== 'Waiting' || IN_MESH.some((app) => isAway(app).test(message)));

const isAway = (app: string): RegExp => new RegExp(`\\b${app}-\\S+ \\(not-connected\\)`);

export interface WatchedShop {
  /** Notes who calls; to be asked before an outage of the API server. */
  traffic(): Promise<WatchedTraffic>;
  /** `shop/POD`, of an app with one. */
  podOf(app: string): Promise<string>;
  /** A call by `web` from the Pod that calls all the time. */
  call(target: string): Promise<CallEnd>;
  /** A policy that forbids one path more is enforced, and its status says so when it is. */
  forbid(path: string): Promise<void>;
  /** Waits until the status of PeerAuthentication `strict` counts that many, and all enforce it. */
  isStrictAt(workloads: number): Promise<void>;
  listen(): Promise<Said>;
  /** Who has the Lease, once it is one of these control planes. */
  leaderOf(controlPlanes: readonly string[]): Promise<string>;
  /** Who has the Lease, once it is none of these: the other control plane, or one that was made since. */
  leaderBesides(controlPlanes: readonly string[]): Promise<string>;
}

async function makeShop(mesh: MeshNode): Promise<void> {
  await mesh.namespace(SHOP);
  await mesh.namespace('outside', { isInjected: false });
  const deployment = (name: string, pod: PodSpecFields): object =>
    deploymentObject(named(name), { replicas: 1, pod });
  const web = { source: { principals: [`cluster.local/ns/${SHOP}/sa/web`] } };
  await mesh.apply(
    ...['web', 'thief', 'prices'].map((name) => serviceAccount(SHOP, name)),
    deployment('prices', PRICES),
    serviceObject(named('prices'), [
      { name: 'http', port: 80, targetPort: 'http' },
      { name: 'tcp', port: 7070, targetPort: 'tcp' },
    ]),
    policy('PeerAuthentication', 'strict', { mtls: { mode: 'STRICT' } }),
    policy('AuthorizationPolicy', 'prices', {
      selector: { matchLabels: { app: 'prices' } },
      action: 'ALLOW',
      rules: [{ from: [web] }],
    }),
  );
  await mesh.rolledOut(SHOP, 'prices');
  await isEnforced(mesh, 'prices');
  const stranger = { name: 'stranger', namespace: 'outside' };
  await mesh.apply(
    deployment('loops', loopsPod('web', ALLOWED)),
    deployment('thief', loopsPod('thief', REFUSED)),
    deploymentObject(stranger, { replicas: 1, pod: loopsPod('default', REFUSED) }),
  );
  for (const name of ['loops', 'thief']) await mesh.rolledOut(SHOP, name);
  await mesh.rolledOut('outside', 'stranger');
}

async function isEnforced(mesh: MeshNode, name: string): Promise<void> {
  const wait = ['--for=condition=Enforced', `--timeout=${ENFORCED_MS / 1_000}s`];
  const { code } = await mesh.node.kubectl(['wait', '-n', SHOP, ...wait, `wap/${name}`]);
  if (code === 0) return;
  const told = await mesh.kubectl('get', 'wap', name, '-n', SHOP, '-o=jsonpath={.status}');
  assert.fail(`${name} is not enforced: ${told}`);
}

/**
 * Nodes learn some time after the API server that a control plane is gone or there, and until then a webhook may be
 * asked where nobody listens; etcd, too, is found again by one connection after the other.
 */
function applyInTime({ node }: MeshNode, object: object): Promise<boolean> {
  return eventually(
    async () => {
      const input = JSON.stringify(object);
      const { code, stderr } = await node.kubectl(['apply', '-f', '-'], { input });
      if (code !== 0) assert.match(stderr, /failed calling webhook|etcd|Unavailable/);
      return code === 0;
    },
    { what: 'a policy that is taken', withinMs: 30_000, everyMs: 200 },
  );
}

async function listen({ node }: MeshNode): Promise<Said> {
  const all: Saying[] = [];
  const watch = startListWatch({
    client: node.client,
    resources: [PEER_AUTHENTICATIONS],
    namespace: SHOP,
    read(object) {
      const conditions = objectAt(object, 'status')?.['conditions'];
      const found = Array.isArray(conditions) ? conditions : [];
      const enforced = found.find(({ type }) => type === 'Enforced');
      const { status, reason, message } = enforced ?? {};
      return { status: String(status), reason: String(reason), message: String(message) };
    },
    onListed: (items) => all.push(...items),
    onChanged: (item) => all.push(item),
    onDeleted: () => undefined,
  });
  await eventually(() => all.length > 0, { what: 'the status', withinMs: 10_000 });
  return {
    wrong: () => all.filter(isWrong),
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  };
}

export async function startWatchedShop(mesh: MeshNode): Promise<WatchedShop> {
  await makeShop(mesh);
  const podOf = async (app: string, namespace = SHOP): Promise<string> => {
    const [pod] = await mesh.podsOf(namespace, app);
    return `${namespace}/${pod}`;
  };
  const mark = (pod: string, loops: readonly Loop[]): Traffic =>
    markTraffic(loops, (name) => mesh.node.logs(pod, name));
  const call = async (target: string): Promise<CallEnd> =>
    mesh.node.call({ pod: await podOf('loops'), container: 'tcp' }, 'http', target);
  return {
    podOf,
    call,
    async traffic() {
      const allowed = mark(await podOf('loops'), ALLOWED);
      const refused = [
        mark(await podOf('thief'), REFUSED),
        mark(await podOf('stranger', 'outside'), REFUSED),
      ];
      return {
        async isAsEver() {
          await Promise.all([allowed.neverFailed(), ...refused.map((one) => one.flows())]);
          const ends = refused.flatMap((one) => [...one.since().values()].flat());
          assert.deepEqual(
            ends.filter(({ isOk }) => isOk),
            [],
            'who may not call got an answer',
          );
        },
      };
    },
    async forbid(path) {
      const only = { operation: { ports: ['8080'], paths: [`/${path}`] } };
      const forbidding = policy('AuthorizationPolicy', `no-${path}`, {
        selector: { matchLabels: { app: 'prices' } },
        action: 'DENY',
        rules: [{ to: [only] }],
      });
      await applyInTime(mesh, forbidding);
      await isEnforced(mesh, `no-${path}`);
      const answer = await call(`http://prices.shop/${path}`);
      assert.equal(answer.status, 403, JSON.stringify(answer));
    },
    async isStrictAt(workloads) {
      const path = '-o=jsonpath={.status.enforced}';
      await eventually(
        async () =>
          (await mesh.kubectl('get', 'peerauthentication', 'strict', '-n', SHOP, path)) ===
          `${workloads}/${workloads}`,
        { what: `strict at ${workloads} workloads`, withinMs: 45_000, everyMs: 200 },
      );
    },
    listen: () => listen(mesh),
    leaderOf: (controlPlanes) => leaderThat(mesh, (holder) => controlPlanes.includes(holder)),
    leaderBesides: (controlPlanes) =>
      leaderThat(mesh, (holder) => holder !== '' && !controlPlanes.includes(holder)),
  };
}

function leaderThat(mesh: MeshNode, isSought: (holder: string) => boolean): Promise<string> {
  let last: string | undefined;
  return eventually(
    async () => {
      const target = { namespace: ROOT_NAMESPACE, name: 'weft-control-plane' };
      const lease = await mesh.node.client.get(LEASES, target);
      last = lease.ok ? textAt(lease.value, 'spec', 'holderIdentity') : undefined;
      return last !== undefined && isSought(last) && last;
    },
    {
      what: 'a leader',
      withinMs: 60_000,
      everyMs: 200,
      told: () => `last the Lease was of ${last}`,
    },
  );
}
