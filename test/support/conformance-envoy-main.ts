// Runs recorded cases against a real Envoy that Weft's control plane drives; for a network namespace of its own, where connections to Pods are redirected to it. One line of JSON a case.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callCase, openConformanceApp } from './conformance-caller.ts';
import {
  type CorpusGroup,
  destinationOf,
  manifestOf,
  portsOf,
  readCorpusGroups,
  WORKLOAD_ACCOUNT,
  type WireCase,
  type WireGroup,
  wireGroupOf,
} from './conformance-corpus.ts';
import { type ConformanceMesh, openConformanceMesh } from './conformance-mesh.ts';
import { callerOf } from './conformance-sidecar.ts';
import { type MeshEnvoy, startMeshEnvoy, type XdsVariant } from './envoy.ts';
import { eventually } from './lab-wait.ts';

/** Inside what is redirected, and nobody's address otherwise. */
const POD_IP = '127.88.255.1';
const POD = 'envoy';
const UPDATE_MS = 10_000;

/** Envoy has one name for its whole life: groups of one namespace and mesh are run by one. */
const lifeOf = ({ group }: WireGroup): string =>
  `${group.trustDomain} ${group.rootNamespace} ${group.workload.namespace}`;

async function main(
  groups: readonly CorpusGroup[],
  binary: string,
  variant: XdsVariant,
): Promise<void> {
  const lives = Map.groupBy(groups.map(wireGroupOf), lifeOf);
  for (const groups of lives.values()) await runLife(groups, { binary, variant });
}

async function runLife(
  groups: readonly WireGroup[],
  how: { readonly binary: string; readonly variant: XdsVariant },
): Promise<void> {
  const [first] = groups;
  if (first === undefined) return;
  await using stack = new AsyncDisposableStack();
  const mesh = stack.use(await openConformanceMesh(first.group));
  const ports = new Set(groups.flatMap(({ group }) => [...portsOf(group).keys()]));
  for (const port of ports) stack.use(await openConformanceApp('127.0.0.1', port));
  const folder = await mkdtemp(join(tmpdir(), 'weft-envoy-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { namespace } = first.group.workload;
  let envoy: MeshEnvoy | undefined;
  for (const wire of groups) {
    const refusal = await setMesh(mesh, wire);
    if (refusal !== undefined) {
      for (const one of wire.cases) report(wire, one, { verdict: 'refused', detail: refusal });
      continue;
    }
    envoy ??= stack.use(
      await startMeshEnvoy({
        ...how,
        folder,
        nodeId: `${POD}.${namespace}`,
        xds: mesh.controlPlane.addresses.xds,
        controlPlaneId: `spiffe://${mesh.trustDomain}/ns/${mesh.rootNamespace}/sa/weft-control-plane`,
        credential: mesh.credential(`${mesh.trustDomain}/ns/${namespace}/sa/${WORKLOAD_ACCOUNT}`),
        bundlePem: mesh.pki.bundlePem,
      }),
    );
    await inForce(envoy, mesh, `${POD}.${namespace}`);
    await runGroup(wire, mesh);
  }
  if (envoy === undefined) return;
  const rejected = await envoy.stats('update_rejected');
  /** What Envoy has of a resource whose last version it refused. */
  const errors = JSON.stringify(await envoy.configDump()).split('"error_state"').length - 1;
  const denied = [...(await envoy.stats('rbac\\.denied$')).values()].reduce((a, b) => a + b, 0);
  print({
    denied,
    rejected: { ...Object.fromEntries(rejected), 'error_state in config_dump': errors },
  });
}

/** @returns why the control plane will not have it. */
async function setMesh(mesh: ConformanceMesh, wire: WireGroup): Promise<string | undefined> {
  const ips = new Set(wire.cases.map(({ request }) => destinationOf(request, POD_IP)));
  try {
    await mesh.set(manifestOf(wire, { name: POD, ips: [...ips] }));
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

async function runGroup(wire: WireGroup, mesh: ConformanceMesh): Promise<void> {
  const runnable = wire.cases.filter(({ excluded }) => excluded === undefined);
  await Promise.all(
    runnable.map(async (one) => {
      const { request } = one;
      const target = { host: destinationOf(request, POD_IP), port: request.port };
      report(wire, one, await callCase(request, target, callerOf(mesh, one)));
    }),
  );
}

/** Waits until the workers serve the listener of the control plane's newest view. */
async function inForce(envoy: MeshEnvoy, mesh: ConformanceMesh, node: string): Promise<void> {
  const wanted = {
    kind: 'listener',
    name: 'inbound',
    version: inboundVersion(mesh, node),
  } as const;
  await eventually(
    async () => {
      if (!mesh.controlPlane.ads.isInForce(node, wanted)) return false;
      const stats = await envoy.stats('^listener_manager');
      const count = (name: string): number => stats.get(`listener_manager.${name}`) ?? 0;
      const made = count('listener_added') + count('listener_modified');
      return count('total_listeners_warming') === 0 && count('listener_create_success') >= made;
    },
    {
      what: `listener ${wanted.version} in force`,
      withinMs: UPDATE_MS,
      everyMs: 3,
      told: () => envoy.log.slice(-2_000),
    },
  );
}

function inboundVersion(mesh: ConformanceMesh, node: string): string {
  const { views } = mesh.controlPlane;
  const workload = views.mesh().workloads.get(node);
  if (workload?.identity === undefined)
    throw new Error(`Cannot find ${node}: the mesh has no such`);
  const { id, identity, namespace, name } = workload;
  const view = views.viewFor({ id, identity, namespace, workload: name });
  return view.get('listener', 'inbound')?.version ?? '';
}

function report(
  wire: WireGroup,
  one: WireCase,
  outcome: { readonly verdict: string; readonly detail: string },
): void {
  print({ group: wire.group.name, case: one.name, ...outcome });
}

const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** A file of groups, else the recorded ones. */
const groupsOf = (file: string | undefined): readonly CorpusGroup[] =>
  file === undefined ? readCorpusGroups() : JSON.parse(readFileSync(file, 'utf8'));

const [, , binary, variant, file] = process.argv;
if (binary === undefined || (variant !== 'GRPC' && variant !== 'DELTA_GRPC')) {
  throw new Error('Cannot run: name the Envoy binary, then GRPC or DELTA_GRPC');
}
await main(groupsOf(file), binary, variant);
