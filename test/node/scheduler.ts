// Binds every Pod that has no node to the only one there is.
import type { KubeClient } from '@weft/kube/kube-api';
import { startListWatch } from '@weft/kube/list-watch';
import { PODS } from '@weft/kube/resource';
import { asPod, type Pod } from './pod.ts';

export interface Scheduler extends AsyncDisposable {
  retryNow(): void;
}

export interface SchedulerOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly onProblem: (text: string) => void;
}

export function startScheduler({ client, nodeName, onProblem }: SchedulerOptions): Scheduler {
  const underWay = new Set<string>();
  const bind = async ({ metadata, spec }: Pod): Promise<void> => {
    const { name, namespace, uid, deletionTimestamp } = metadata;
    const isGated = (spec.schedulingGates ?? []).length > 0;
    if (deletionTimestamp !== undefined || isGated || underWay.has(uid)) return;
    underWay.add(uid);
    const answer = await client.create(
      PODS,
      {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, namespace, uid },
        target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
      },
      { subresource: 'binding' },
    );
    underWay.delete(uid);
    // It may have been deleted or bound meanwhile; without an answer the next list brings it again.
    const isLate = answer.ok || answer.code === 404 || answer.code === 409;
    if (!isLate && answer.kind === 'status') onProblem(answer.message);
  };
  const listWatch = startListWatch<Pod>({
    client,
    resources: [PODS],
    fieldSelector: 'spec.nodeName=',
    read: asPod,
    onListed: (pods) => pods.forEach((pod) => void bind(pod)),
    onChanged: (pod) => void bind(pod),
    onDeleted: () => undefined,
  });
  return {
    retryNow: () => listWatch.retryNow(),
    [Symbol.asyncDispose]: () => listWatch[Symbol.asyncDispose](),
  };
}
