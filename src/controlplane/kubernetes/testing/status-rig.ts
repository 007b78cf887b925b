// A cluster's policies and proxies whose facts a test changes, and the writer of their status on an API server in memory.
import assert from 'node:assert/strict';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt } from '@weft/kube/object-fields';
import { AUTHORIZATION_POLICIES, type KubeResource } from '@weft/kube/resource';
import { createMemoryKube } from '@weft/kube/testing/memory-kube';
import type { Snapshot } from '@weft/model/mesh/objects';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { pino } from 'pino';
import type { ObjectOrigin } from '../../registry/source.ts';
import type { PolicyReport, WorkloadEnforcement } from '../../status/policy-status.ts';
import { StatusWriter } from '../status-writer.ts';

const snapshotOf = (revision: number): Snapshot => ({ revision, objects: new Map() });
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export interface World {
  generation: number;
  isGood: boolean;
  /** Proxies that enforce it, of `selected`. */
  enforcing: number;
  selected: number;
  /** Of a policy for callers. */
  destinations: readonly string[] | undefined;
  problems: readonly Problem[];
  resource: KubeResource;
  isCompiled: boolean;
  /** Of those that do not enforce it. */
  reason: NonNullable<WorkloadEnforcement['reason']>;
}

/** One policy `shop/p`, or as many as asked, whose facts the test changes and then tells of. */
export function createStatusRig(count = 1) {
  const clock = createTurnableClock(Date.UTC(2026, 0, 1));
  const client = createMemoryKube();
  const names = Array.from({ length: count }, (_, at) => (at === 0 ? 'p' : `p${at}`));
  for (const name of names) {
    client.put(AUTHORIZATION_POLICIES, {
      metadata: { name, namespace: 'shop', uid: `of ${name}` },
    });
  }
  const world: World = {
    generation: 1,
    isGood: true,
    enforcing: 0,
    selected: 3,
    destinations: undefined,
    problems: [],
    resource: AUTHORIZATION_POLICIES,
    isCompiled: true,
    reason: 'not-acknowledged',
  };
  const turns: string[] = [];
  const listeners = new Set<() => void>();
  const subscribe = (listener: () => void): Disposable => {
    listeners.add(listener);
    return { [Symbol.dispose]: () => listeners.delete(listener) };
  };
  const snapshot = snapshotOf(1);
  const originOf = (name: string): ObjectOrigin => {
    const found = client.peek(AUTHORIZATION_POLICIES, name, 'shop');
    return {
      resource: world.resource,
      uid: textAt(found, 'metadata', 'uid') ?? '',
      generation: world.generation,
      resourceVersion: textAt(found, 'metadata', 'resourceVersion') ?? '',
      isGood: world.isGood,
      problems: world.problems,
      status: objectAt(found, 'status'),
    };
  };
  const reportOf = (name: string): PolicyReport => ({
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name,
    action: 'DENY',
    enforced: `${world.enforcing}/${world.selected}`,
    isEnforced: world.enforcing === world.selected,
    since: '',
    ...(world.destinations && { destinations: world.destinations }),
    workloads: Array.from({ length: world.selected }, (_, at) => ({
      proxy: `web-${at + 1}.shop`,
      enforced: at < world.enforcing,
      version: 'v',
      by: at < world.enforcing ? 'confirmed' : 'nothing',
      ...(at >= world.enforcing && { reason: world.reason }),
    })),
  });
  const open = (): StatusWriter =>
    new StatusWriter({
      client,
      source: {
        get state() {
          const origins = new Map(
            names
              .filter((name) => client.peek(AUTHORIZATION_POLICIES, name, 'shop') !== undefined)
              .map((name) => [`AuthorizationPolicy/shop/${name}`, originOf(name)]),
          );
          return { snapshot, problems: [], origins };
        },
        subscribe,
      },
      views: {
        snapshot: () => (world.isCompiled ? snapshot : snapshotOf(0)),
        mesh: () => Object.assign(Object.create(null), { policies: { authorization: [] } }),
        problems: () => world.problems,
        subscribe,
      },
      policies: { reports: () => names.map(reportOf), subscribe },
      onTurned: ({ condition: { type, status, reason } }) =>
        turns.push([type, status, reason].join(' ')),
      clock,
      log: pino({ level: 'silent' }),
    });
  const writer = open();
  return {
    turns,
    clock,
    client,
    world,
    open,
    writer,
    tell: () => {
      for (const listener of listeners) listener();
    },
    /** Time passes, and what is written meanwhile arrives. */
    async pass(ms: number, stepMs = 50): Promise<void> {
      for (let past = 0; past < ms; past += stepMs) {
        clock.turn(stepMs);
        for (let turn = 0; turn < 4; turn++) await nextTurn();
      }
    },
    writes: () => client.calls.filter(({ verb }) => verb === 'patch').length,
    status: () => objectAt(client.peek(AUTHORIZATION_POLICIES, 'p', 'shop'), 'status'),
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  };
}

export function conditionOf(status: KubeObject | undefined, type: string): PlainObject {
  const conditions = status?.['conditions'];
  const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  const found = list.filter(isPlainObject).find((one) => one['type'] === type);
  assert.ok(found, `no condition ${type}`);
  return found;
}
