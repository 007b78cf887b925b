// Plays the parts that a cluster without nodes lacks, so that an installation comes to its end: the kubelet and the leader.
import { execFile } from 'node:child_process';
import { itemsAt } from '@weft/cli/install/wait-until';
import { textAt } from '@weft/kube/object-fields';
import { MUTATING_WEBHOOKS, PODS, VALIDATING_WEBHOOKS } from '@weft/kube/resource';
import { helmBinary } from './go-tools.ts';
import type { Kubelab, KubectlEnd } from './kubelab.ts';
import { eventually } from './lab-wait.ts';
import { weftCommand } from './weft-main.ts';

const CONTROL_PLANES = 'app.kubernetes.io/component=control-plane';
export const CA_BUNDLE = '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n';

/** `weft …` against the cluster; with Helm, where `isHelm` and there is one. */
export function weft(
  lab: Pick<Kubelab, 'kubeconfig'>,
  args: readonly string[],
  { isHelm = true, kubeconfig = lab.kubeconfig } = {},
): Promise<KubectlEnd> {
  const helm = helmBinary();
  const named = isHelm && 'path' in helm && !['check', 'uninstall'].includes(args[0] ?? '');
  const all = [...args, '--kubeconfig', kubeconfig, ...(named ? ['--helm', helm.path] : [])];
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: '/usr/bin:/bin' };
    const [command = '', ...words] = weftCommand(all);
    execFile(command, words, { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, stdout, stderr });
    });
  });
}

/** Pods of control planes become ready as soon as they are there, until it is disposed of. */
export function readyPods(lab: Kubelab): AsyncDisposable {
  const stop = new AbortController();
  const watching = watchPods(lab, stop.signal);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await watching;
    },
  };
}

async function watchPods({ client }: Kubelab, signal: AbortSignal): Promise<void> {
  const writes: Promise<unknown>[] = [];
  const ready = (pod: Readonly<Record<string, unknown>>): void => {
    const name = textAt(pod, 'metadata', 'name') ?? '';
    const namespace = textAt(pod, 'metadata', 'namespace');
    if (textAt(pod, 'status', 'phase') === 'Running') return;
    const now = new Date().toISOString();
    const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now });
    const conditions = ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map(condition);
    const patch = { status: { phase: 'Running', podIP: '10.244.0.9', conditions } };
    const target = { name, namespace };
    writes.push(client.patch(PODS, target, { type: 'merge', subresource: 'status', patch }));
  };
  const listed = await client.list(PODS, { labelSelector: CONTROL_PLANES, signal });
  if (!listed.ok) throw new Error(listed.message);
  listed.value.items.forEach(ready);
  const { resourceVersion } = listed.value;
  await client.watch(PODS, {
    labelSelector: CONTROL_PLANES,
    resourceVersion,
    signal,
    onEvent: (event) => {
      if (event.kind === 'added' || event.kind === 'modified') ready(event.object);
    },
  });
  await Promise.all(writes);
}

/** Writes `caBundle` into both webhook configurations when they are there, as the leader does. */
export async function trustWebhooks({ client }: Kubelab, pem = CA_BUNDLE): Promise<void> {
  const caBundle = Buffer.from(pem).toString('base64');
  for (const [resource, name] of [
    [MUTATING_WEBHOOKS, 'weft-injector'],
    [VALIDATING_WEBHOOKS, 'weft-validator'],
  ] as const) {
    const found = await eventually(
      async () => {
        const answer = await client.get(resource, { name });
        return answer.ok ? answer.value : undefined;
      },
      { what: `${name} being there`, withinMs: 60_000 },
    );
    const patch = itemsAt(found, 'webhooks').map((_, index) => ({
      op: 'add',
      path: `/webhooks/${index}/clientConfig/caBundle`,
      value: caBundle,
    }));
    const patched = await client.patch(resource, { name }, { type: 'json', patch });
    if (!patched.ok) throw new Error(patched.message);
  }
}
