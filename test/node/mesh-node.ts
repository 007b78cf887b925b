// A node with Weft installed from its chart: the bundles of the images run as they would, and nothing of Weft is faked.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeObject } from '@weft/kube/kube-api';
import { textAt } from '@weft/kube/object-fields';
import { CONFIG_MAPS, PODS, SERVICE_ACCOUNTS } from '@weft/kube/resource';
import { helmBinary } from '../support/go-tools.ts';
import { eventually } from '../support/lab-wait.ts';
import { openBundles } from '../support/weft-main.ts';
import type { CallEnd, CallKind } from './apps/calls.ts';
import { type Image, type Images, nodeFiles } from './images.ts';
import { nodeMissing, startNode, type TestNode } from './node.ts';
import { container, namespaceObject, type PodSpecFields } from './objects.ts';
import { run } from './run-command.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const ROOT_NAMESPACE = 'weft-system';
const CONTROL_PLANE_LABELS = 'app.kubernetes.io/name=weft';
const INSTALL_MS = 90_000;
const POD_MS = 120_000;
const SIDECAR_UID = 1337;

export interface MeshNode {
  readonly node: TestNode;
  /** What kubectl prints. @throws when it fails. */
  kubectl(...args: readonly string[]): Promise<string>;
  apply(...objects: readonly object[]): Promise<void>;
  /** A namespace whose Pods are injected, unless told otherwise; Pods can be made in it at once. */
  namespace(name: string, options?: { readonly isInjected: boolean }): Promise<string>;
  /** The names of the Pods of an app, oldest first. */
  podsOf(namespace: string, app: string): Promise<readonly string[]>;
  /** Waits until the Deployment has all its Pods ready, of its newest template. @returns their names. */
  rolledOut(namespace: string, name: string): Promise<readonly string[]>;
  /** The names of the control plane's Pods, oldest first. */
  controlPlanes(): Promise<readonly string[]>;
  /** Waits until all control planes are ready, of the newest template. @returns their names. */
  controlPlaneRolledOut(): Promise<readonly string[]>;
  /** A call from the container `caller` of an app's first Pod. */
  call(from: string, kind: CallKind, target: string, text?: string): Promise<CallEnd>;
  /** The first such call that is good: who calls is told of an endpoint some time after that is ready. */
  answered(from: string, kind: CallKind, target: string): Promise<CallEnd>;
  /** What the sidecars of an app's Pods have written. */
  sidecarLogs(namespace: string, app: string): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** @returns why there can be none here, or `undefined`. */
export async function meshNodeMissing(): Promise<string | undefined> {
  const missing = await nodeMissing();
  if (missing !== undefined) return missing;
  const helm = helmBinary();
  return 'missing' in helm ? helm.missing : undefined;
}

function weftImages(bundles: string, envoy: string | undefined): Images {
  const image = (bundle: string, ids: { readonly uid: number; readonly gid: number }) => ({
    files: { ...nodeFiles, '/opt/weft': join(bundles, bundle) },
    entrypoint: ['/opt/weft/bin/weft'],
    env: { PATH: '/opt/weft/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    ...ids,
  });
  const withEnvoy = (sidecar: Image): Image => ({
    ...sidecar,
    files: { ...sidecar.files, '/usr/local/bin/envoy': envoy ?? '' },
  });
  const sidecarUser = { uid: SIDECAR_UID, gid: SIDECAR_UID };
  return {
    'weft/control-plane': image('control-plane', sidecarUser),
    'weft/sidecar': image('sidecar', sidecarUser),
    ...(envoy !== undefined && { 'weft/sidecar-envoy': withEnvoy(image('sidecar', sidecarUser)) }),
    'weft/capture': image('sidecar', { uid: 0, gid: 0 }),
  };
}

/** @param options.values of the chart, as `--set` takes them; `envoy`: the program in the image of sidecars with one. */
export async function startMeshNode(
  options: { readonly values?: readonly string[]; readonly envoy?: string } = {},
): Promise<MeshNode> {
  await using making = new AsyncDisposableStack();
  const bundles = making.use(await openBundles());
  const node = making.use(await startNode({ images: weftImages(bundles.folder, options.envoy) }));
  await installWeft(node, options.values ?? []);
  const owned = making.move();
  return { ...callsOf(node), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function installWeft(node: TestNode, values: readonly string[]): Promise<void> {
  const helm = helmBinary();
  if ('missing' in helm) throw new Error(helm.missing);
  const chart = join(root, 'deploy/helm/weft');
  const where = ['--namespace', ROOT_NAMESPACE, '--create-namespace'];
  const set = values.flatMap((value) => ['--set', value]);
  await run([
    helm.path,
    'install',
    'weft',
    chart,
    ...where,
    '--kubeconfig',
    node.kubeconfig,
    ...set,
  ]);
  await rollOutWeft(node);
  await eventually(() => isServing(node), { what: 'webhooks with a bundle', withinMs: INSTALL_MS });
}

async function rollOutWeft(node: TestNode): Promise<void> {
  const rollout = ['rollout', 'status', 'deployment/weft-control-plane', '-n', ROOT_NAMESPACE];
  const { code, stderr } = await node.kubectl([...rollout, `--timeout=${INSTALL_MS / 1_000}s`]);
  if (code !== 0) throw new Error(`Weft does not serve: ${stderr}\n${await whyNot(node)}`);
}

/** The webhooks can be verified, so Pods can be made. */
async function isServing(node: TestNode): Promise<boolean> {
  const bundles = await Promise.all(
    [
      'mutatingwebhookconfiguration/weft-injector',
      'validatingwebhookconfiguration/weft-validator',
    ].map((name) =>
      node.kubectl(['get', name, '-o=jsonpath={.webhooks[*].clientConfig.caBundle}']),
    ),
  );
  const map = await node.client.get(CONFIG_MAPS, {
    namespace: ROOT_NAMESPACE,
    name: 'weft-trust-bundle',
  });
  return map.ok && bundles.every(({ stdout }) => stdout !== '');
}

async function whyNot(node: TestNode): Promise<string> {
  const pods = await node.kubectl(['get', 'pods', '-A', '-o', 'wide']);
  const events = await node.kubectl(['get', 'events', '-A']);
  const names = await podNames(node, ROOT_NAMESPACE, CONTROL_PLANE_LABELS);
  const logs = names.map((name) => node.logs(`${ROOT_NAMESPACE}/${name}`, 'control-plane'));
  return [pods.stdout, events.stdout, ...logs, ...node.problems].join('\n');
}

async function podNames(node: TestNode, namespace: string, labels: string): Promise<string[]> {
  const listed = await node.client.list(PODS, { namespace, labelSelector: labels });
  if (!listed.ok) throw new Error(listed.message);
  const created = (pod: KubeObject): string => textAt(pod, 'metadata', 'creationTimestamp') ?? '';
  return [...listed.value.items]
    .filter((pod) => textAt(pod, 'metadata', 'deletionTimestamp') === undefined)
    .toSorted((a, b) => (created(a) < created(b) ? -1 : 1))
    .map((pod) => textAt(pod, 'metadata', 'name') ?? '');
}

function callsOf(node: TestNode): Omit<MeshNode, typeof Symbol.asyncDispose> {
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await node.kubectl(args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const podsOf = (namespace: string, app: string): Promise<readonly string[]> =>
    podNames(node, namespace, `app=${app}`);
  const apply = async (...objects: readonly object[]): Promise<void> => {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    const { code, stderr } = await node.kubectl(['apply', '-f', '-'], { input });
    assert.equal(code, 0, stderr);
  };
  const call: MeshNode['call'] = async (from, kind, target, text) => {
    const [namespace = '', app = ''] = from.split('/');
    const [pod] = await podsOf(namespace, app);
    return node.call({ pod: `${namespace}/${pod}`, container: 'caller' }, kind, target, text);
  };
  return {
    node,
    kubectl,
    apply,
    async namespace(name, { isInjected } = { isInjected: true }) {
      await apply(namespaceObject(name, isInjected ? { 'weft.dev/injection': 'enabled' } : {}));
      const ready = [
        [SERVICE_ACCOUNTS, 'default'],
        [CONFIG_MAPS, 'weft-trust-bundle'],
      ] as const;
      for (const [resource, found] of ready) {
        await eventually(
          async () => (await node.client.get(resource, { namespace: name, name: found })).ok,
          { what: `${found} in namespace ${name}` },
        );
      }
      return name;
    },
    podsOf,
    async rolledOut(namespace, name) {
      const wait = `--timeout=${POD_MS / 1_000}s`;
      const args = ['rollout', 'status', `deployment/${name}`, '-n', namespace, wait];
      const { code, stderr } = await node.kubectl(args);
      if (code !== 0) throw new Error(`${stderr}\n${await describePods(node, namespace, name)}`);
      return podsOf(namespace, name);
    },
    controlPlanes: () => podNames(node, ROOT_NAMESPACE, CONTROL_PLANE_LABELS),
    async controlPlaneRolledOut() {
      await rollOutWeft(node);
      return podNames(node, ROOT_NAMESPACE, CONTROL_PLANE_LABELS);
    },
    call,
    answered(from, kind, target) {
      let last: CallEnd | undefined;
      return eventually(
        async () => {
          last = await call(from, kind, target);
          return last.isOk && last;
        },
        { what: `an answer of ${target}`, everyMs: 200, told: () => JSON.stringify(last) },
      );
    },
    async sidecarLogs(namespace, app) {
      const pods = await podsOf(namespace, app);
      return pods.map((pod) => node.logs(`${namespace}/${pod}`, 'weft-sidecar')).join('');
    },
  };
}

async function describePods(node: TestNode, namespace: string, app: string): Promise<string> {
  const described = await node.kubectl(['describe', 'pods', '-n', namespace]);
  const events = await node.kubectl(['get', 'events', '-n', namespace]);
  const names = await podNames(node, namespace, `app=${app}`);
  const logs = names.flatMap((name) =>
    ['weft-capture', 'weft-sidecar'].map(
      (part) => `${name} ${part}:\n${node.logs(`${namespace}/${name}`, part)}`,
    ),
  );
  return [described.stdout, events.stdout, ...logs, ...node.problems].join('\n');
}

export const serviceAccount = (namespace: string, name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name, namespace },
});

/** A Pod's template of the application that calls others when it is told to. */
export const callerPod = (account: string): PodSpecFields => ({
  serviceAccountName: account,
  containers: [container('caller', 'test/caller', { args: ['idle'] })],
  terminationGracePeriodSeconds: 5,
});
