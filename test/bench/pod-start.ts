// Measures how long a Pod takes from its creation until it is ready in the mesh, beside one that is not in it, and what the API server is asked for it.
import { textAt } from '@weft/kube/object-fields';
import { callerPod, meshNodeMissing, type MeshNode, startMeshNode } from '../node/mesh-node.ts';
import { podObject } from '../node/objects.ts';
import { PODS } from '@weft/kube/resource';
import { countOf } from './api-requests.ts';
import { type Summary, summarize } from './statistics.ts';

const READY_MS = 60_000;

export interface PodStartFigures {
  readonly skipped: string | undefined;
  readonly starts: number;
  /** From the creation of the Pod to its condition Ready. */
  readonly injectedMs: Summary;
  readonly plainMs: Summary;
  /** Of the control plane, for the enrolment of one Pod. */
  readonly requestsPerStart: number;
}

const NOTHING = summarize([Number.NaN]);

export async function measurePodStart(
  starts: number,
  progress: (what: string) => void,
): Promise<PodStartFigures> {
  const skipped = await meshNodeMissing();
  if (skipped !== undefined) {
    return { skipped, starts, injectedMs: NOTHING, plainMs: NOTHING, requestsPerStart: Number.NaN };
  }
  progress(`${starts} Pods started in a mesh`);
  await using mesh = await startMeshNode();
  await mesh.namespace('inside');
  await mesh.namespace('outside', { isInjected: false });
  const injected: number[] = [];
  const plain: number[] = [];
  // The first of each reads files from the disk.
  await startPod(mesh, 'inside', 'warm');
  await startPod(mesh, 'outside', 'warm');
  const before = await enrolmentRequests(mesh);
  for (let n = 0; n < starts; n++) {
    injected.push(await startPod(mesh, 'inside', `pod-${n}`));
    plain.push(await startPod(mesh, 'outside', `pod-${n}`));
  }
  const requests = (await enrolmentRequests(mesh)) - before;
  return {
    skipped,
    starts,
    injectedMs: summarize(injected),
    plainMs: summarize(plain),
    requestsPerStart: requests / starts,
  };
}

/** Reviews of tokens, and Pods that are looked at: nobody else asks for either here. */
async function enrolmentRequests({ node }: MeshNode): Promise<number> {
  const reviews = await countOf(node.cluster, { resource: 'tokenreviews' });
  return reviews + (await countOf(node.cluster, { resource: 'pods', verb: 'GET' }));
}

/** @returns milliseconds until it was ready. */
async function startPod({ node }: MeshNode, namespace: string, name: string): Promise<number> {
  const startedAtMs = performance.now();
  const pod = podObject({ name, namespace, labels: { app: name } }, callerPod('default'));
  const made = await node.client.create(PODS, pod);
  if (!made.ok) throw new Error(made.message);
  const stop = new AbortController();
  let readyAtMs: number | undefined;
  await node.client.watch(PODS, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    resourceVersion: textAt(made.value, 'metadata', 'resourceVersion') ?? '0',
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(READY_MS)]),
    onEvent(event) {
      if (event.kind === 'bookmark' || !isReady(event.object)) return;
      readyAtMs ??= performance.now();
      stop.abort();
    },
  });
  if (readyAtMs === undefined)
    throw new Error(`Cannot measure: Pod ${namespace}/${name} is not ready`);
  await node.client.delete(PODS, { namespace, name }, { gracePeriodSeconds: 1 });
  return readyAtMs - startedAtMs;
}

function isReady(pod: unknown): boolean {
  return JSON.stringify(pod).includes('"type":"Ready","status":"True"');
}
