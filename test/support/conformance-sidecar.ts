// Runs recorded cases against a live sidecar that got its policies from a live control plane.
import { createJoinToken } from '@weft/ca/join-tokens';
import type { SidecarOptions } from '@weft/dataplane/options';
import { Sidecar } from '@weft/dataplane/sidecar';
import { systemClock } from '@weft/model/clock';
import { pino } from 'pino';
import { callCase, type Outcome } from './conformance-caller.ts';
import {
  destinationOf,
  manifestOf,
  portsOf,
  WORKLOAD_ACCOUNT,
  type WireCase,
  type WireGroup,
} from './conformance-corpus.ts';
import type { ConformanceMesh } from './conformance-mesh.ts';

export interface CaseOutcome extends Outcome {
  readonly case: WireCase;
}

export interface GroupRun {
  readonly mesh: ConformanceMesh;
  /** Where the application of every port answers. */
  readonly app: { readonly address: string; readonly port: number };
  /** Of a workload whose cases name none. */
  readonly podIp: string;
  readonly pod: string;
}

/** A sidecar at each address of the workload, every case that can be run, and its end. */
export async function runOnSidecar(
  wire: WireGroup,
  run: GroupRun,
): Promise<readonly CaseOutcome[]> {
  const cases = wire.cases.filter(({ excluded }) => excluded === undefined);
  const byIp = Map.groupBy(cases, ({ request }) => destinationOf(request, run.podIp));
  await run.mesh.set(manifestOf(wire, { name: run.pod, ips: [...byIp.keys()] }));
  const outcomes: CaseOutcome[] = [];
  for (const [podIp, some] of byIp) {
    await using sidecar = new Sidecar(await optionsOf(wire, run, podIp));
    await sidecar.start();
    outcomes.push(
      ...(await Promise.all(
        some.map(async (one): Promise<CaseOutcome> => {
          const { request } = one;
          const target = { host: podIp, port: request.port };
          return { case: one, ...(await callCase(request, target, callerOf(run.mesh, one))) };
        }),
      )),
    );
  }
  return outcomes;
}

export function callerOf(
  mesh: ConformanceMesh,
  { request }: WireCase,
): Parameters<typeof callCase>[2] {
  const { srcPrincipal } = request;
  return {
    credential: srcPrincipal === null ? undefined : mesh.credential(srcPrincipal),
    bundlePem: mesh.pki.bundlePem,
  };
}

async function optionsOf(wire: WireGroup, run: GroupRun, podIp: string): Promise<SidecarOptions> {
  const { mesh, app, pod } = run;
  const { group } = wire;
  const { namespace } = group.workload;
  const { xds, enrolment } = mesh.controlPlane.addresses;
  const { token } = await createJoinToken({
    stateDir: mesh.stateDir,
    namespace,
    serviceAccount: WORKLOAD_ACCOUNT,
  });
  return {
    pod,
    namespace,
    podIp,
    trustDomain: mesh.trustDomain,
    rootNamespace: mesh.rootNamespace,
    domain: 'cluster.local',
    enrolmentAddress: enrolment,
    xdsAddress: xds,
    bundlePem: mesh.pki.bundlePem,
    readToken: async () => token,
    inbound: [...portsOf(group).keys()].map((port) => ({ port, app })),
    outbound: [],
    outboundHttp: undefined,
    transparent: undefined,
    admin: { host: '127.0.0.1', port: 0 },
    probes: undefined,
    metrics: undefined,
    accessLog: 'off',
    drainLimitMs: 0,
    version: 'test',
    log: pino({ level: 'silent' }),
    clock: systemClock,
    random: Math.random,
  };
}
