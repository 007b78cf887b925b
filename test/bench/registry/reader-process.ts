// A process that reads a large cluster and says what that took; apart, so that its memory is its own.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openKubernetesSource } from '@weft/controlplane/registry/kubernetes/kubernetes-source';
import { PODS } from '@weft/kube/resource';
import type { RegistryFigures } from '../registry.ts';
import { createPagedCluster, podOf } from './cluster-pages.ts';

const MIB = 1_048_576;
const EVENTS = 200;
const FIRST_EVENT = 2_000;

/** Until nothing more is freed. */
async function memory(): Promise<{ readonly heapMb: number; readonly residentMb: number }> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('Cannot measure memory: start with --expose-gc');
  for (let round = 0; round < 4; round++) {
    await nextTurn();
    gc();
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapMb: heapUsed / MIB, residentMb: rss / MIB };
}

async function main(pods: number, services: number): Promise<RegistryFigures> {
  const before = await memory();
  const cluster = createPagedCluster({ pods, services });
  const from = performance.now();
  const source = await openKubernetesSource({
    client: cluster.client,
    rootNamespace: 'weft-system',
    settleMs: 0,
  });
  const firstMs = performance.now() - from;
  const after = await memory();
  const changes: number[] = [];
  for (let event = 0; event < EVENTS; event++) {
    const object = podOf(event, services, FIRST_EVENT + event);
    const changed = { ...object, spec: { serviceAccountName: `moved-${event}` } };
    const told = Promise.withResolvers<void>();
    using _ = source.subscribe(told.resolve);
    const cpu = process.cpuUsage();
    cluster.send(PODS, { kind: 'modified', object: changed });
    await told.promise;
    const { user, system } = process.cpuUsage(cpu);
    changes.push((user + system) / 1_000);
  }
  changes.sort((a, b) => a - b);
  const { objects } = source.state.snapshot;
  await source[Symbol.asyncDispose]();
  return {
    pods,
    services,
    objects: objects.size,
    pages: cluster.sent.pages,
    sentMb: cluster.sent.bytes / MIB,
    firstMs,
    heapMb: after.heapMb - before.heapMb,
    residentMb: after.residentMb,
    residentBeforeMb: before.residentMb,
    changeCpuMs: changes[EVENTS / 2] ?? 0,
  };
}

// The clock's timers let a process end.
const alive = setInterval(() => undefined, 60_000);
const [pods = 0, services = 0] = process.argv.slice(2).map(Number);
process.stdout.write(JSON.stringify(await main(pods, services)));
clearInterval(alive);
