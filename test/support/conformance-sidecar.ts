// Runs recorded cases against live sidecars that got their policies from a live control plane.
import { createJoinToken } from '@weft/ca/join-tokens';
import type { SidecarOptions } from '@weft/dataplane/options';
import { Sidecar } from '@weft/dataplane/sidecar';
import { systemClock } from '@weft/model/clock';
import { isPlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import { callCase, type Outcome } from './conformance-caller.ts';
import {
  destinationOf,
  manifestOf,
  pairCallerOf,
  pairCallersOf,
  portsOf,
  WORKLOAD_ACCOUNT,
  WORKLOAD_SERVICE,
  type WireCase,
  type WireGroup,
} from './conformance-corpus.ts';
import type { ConformanceMesh } from './conformance-mesh.ts';

export interface CaseOutcome extends Outcome {
  readonly case: WireCase;
  /** `pair`: the call was made by the caller's own sidecar; else by hand. */
  readonly by: 'pair' | 'hand';
}

export interface GroupRun {
  readonly mesh: ConformanceMesh;
  /** Where the application of every port answers. */
  readonly app: { readonly address: string; readonly port: number };
  /** Of a workload whose cases name none. */
  readonly podIp: string;
  /** Of those that call. */
  readonly callerIp: string;
  /** Called for each line of the workload's access log that says that a policy denied. */
  readonly onDenied?: () => void;
  readonly pod: string;
}

/** A sidecar at each address of the workload and one for each caller, every case that can be run, and their end. */
export async function runOnSidecars(
  wire: WireGroup,
  run: GroupRun,
): Promise<readonly CaseOutcome[]> {
  const cases = wire.cases.filter(({ excluded }) => excluded === undefined);
  const ips = new Set(cases.map(({ request }) => destinationOf(request, run.podIp)));
  const callers = pairCallersOf(wire).map((caller) => ({ ...caller, ip: run.callerIp }));
  await run.mesh.set(manifestOf(wire, { name: run.pod, ips: [...ips] }, callers));
  await using stack = new AsyncDisposableStack();
  const start = async (options: Parameters<typeof optionsOf>[1]) => {
    const sidecar = stack.use(new Sidecar(await optionsOf(run, options)));
    return sidecar.start();
  };
  const inbound = [...portsOf(wire.group).keys()].map((port) => ({ port, app: run.app }));
  const { namespace } = wire.group.workload;
  const serviceAccount = WORKLOAD_ACCOUNT;
  const host = `${WORKLOAD_SERVICE}.${namespace}.svc.cluster.local`;
  const outbound = inbound.map(({ port }) => ({
    listen: { host: '127.0.0.1', port: 0 },
    host,
    port,
  }));
  const outboundByPod = new Map<string, Readonly<Record<string, string>>>();
  await Promise.all([
    ...[...ips].map((podIp) => start({ pod: run.pod, namespace, serviceAccount, podIp, inbound })),
    ...callers.map(async (caller) => {
      const addresses = await start({ ...caller, podIp: caller.ip, outbound });
      outboundByPod.set(`${caller.namespace}/${caller.pod}`, addresses?.outbound ?? {});
    }),
  ]);
  // Awaited here: the sidecars end with this function.
  return await Promise.all(
    cases.map(async (one): Promise<CaseOutcome> => {
      const { request } = one;
      const caller = pairCallerOf(wire.group, request);
      if (caller === undefined) {
        const target = { host: destinationOf(request, run.podIp), port: request.port };
        const outcome = await callCase(request, target, callerOf(run.mesh, one));
        return { case: one, by: 'hand', ...outcome };
      }
      const local = outboundByPod.get(`${caller.namespace}/${caller.pod}`);
      const address = local?.[`${host}:${request.port}`]?.split(':') ?? [];
      const target = { host: address[0] ?? '', port: Number(address[1]) };
      const plain = { credential: undefined, bundlePem: run.mesh.pki.bundlePem };
      return { case: one, by: 'pair', ...(await callCase(request, target, plain)) };
    }),
  );
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

interface SidecarSpec {
  readonly pod: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podIp: string;
  readonly inbound?: SidecarOptions['inbound'];
  readonly outbound?: SidecarOptions['outbound'];
}

/** Counts what the access log says was denied, and keeps no line. */
function denialLogger({ onDenied }: GroupRun): SidecarOptions['log'] {
  if (onDenied === undefined) return pino({ level: 'silent' });
  return pino(
    { level: 'info' },
    {
      write: (text: string) => {
        const line: unknown = JSON.parse(text);
        if (!isPlainObject(line) || line['msg'] !== 'access') return;
        if (line['direction'] === 'inbound' && line['decision'] === 'deny') onDenied();
      },
    },
  );
}

async function optionsOf(run: GroupRun, spec: SidecarSpec): Promise<SidecarOptions> {
  const { mesh } = run;
  const { pod, namespace, serviceAccount, podIp } = spec;
  const { xds, enrolment } = mesh.controlPlane.addresses;
  const { token } = await createJoinToken({ stateDir: mesh.stateDir, namespace, serviceAccount });
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
    readBundle: undefined,
    drainsOutbound: false,
    appProbes: new Map(),
    afterRefusal: 'end',
    readEvidence: async () => ({ kind: 'join-token', token }),
    inbound: spec.inbound ?? [],
    outbound: spec.outbound ?? [],
    outboundHttp: undefined,
    transparent: undefined,
    admin: { host: '127.0.0.1', port: 0 },
    probes: undefined,
    metrics: undefined,
    accessLog: 'errors',
    drainLimitMs: 0,
    version: 'test',
    log: denialLogger(run),
    clock: systemClock,
    random: Math.random,
  };
}
