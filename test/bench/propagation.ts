// Measures how long an edit of a policy file takes until the last of many connected proxies has acknowledged it, and what it costs.
import { setTimeout as delay } from 'node:timers/promises';
import { parseTrustDomain, spiffeIdOf } from '@weft/model/identity';
import { modeYaml, NAMESPACE, podYaml, policyYaml, serviceYaml } from '../support/lab-manifests.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { cpuUsOf, memoryOf } from './accounting.ts';
import { credentialOf, type Identities, issueIdentities, TRUST_DOMAIN } from './identities.ts';
import { startFleet } from './propagation/fleet-process.ts';
import { monotonicMs, type ToFleet } from './propagation/messages.ts';
import { quantile, type Summary, summarize } from './statistics.ts';

const APP = 'fleet';
const PORT = 8080;
/** Edits before the first that counts. */
const WARM_UP_EDITS = 3;
/** After the last acknowledgement was sent: the control plane still reads and books some. */
const SETTLE_MS = 150;
const CONNECT_MS = 120_000;
const EDIT_MS = 30_000;

export interface FleetFigures {
  readonly proxies: number;
  readonly edits: number;
  /** From just before the file was written. */
  readonly firstAckMs: Summary;
  readonly lastAckMs: Summary;
  readonly lastAckP99Ms: number;
  /** Of the control plane, for one edit and one proxy. */
  readonly cpuMsPerProxy: number;
  readonly controlPlane: { readonly residentMb: number; readonly privateMb: number };
}

export interface PropagationResult {
  readonly fleets: readonly FleetFigures[];
}

export async function measurePropagation(
  plan: { readonly sizes: readonly number[]; readonly edits: number },
  progress: (what: string) => void,
): Promise<PropagationResult> {
  const fleets: FleetFigures[] = [];
  for (const size of plan.sizes) {
    progress(`policy edits with ${size} proxies`);
    fleets.push(await measureFleet(size, plan.edits));
  }
  return { fleets };
}

const accountOf = (n: number): string => `app-${n}`;

async function measureFleet(size: number, edits: number): Promise<FleetFigures> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  const numbers = Array.from({ length: size }, (_, n) => n);
  const identities = await issueIdentities({
    stateDir: lab.state,
    namespace: NAMESPACE,
    accounts: numbers.map(accountOf),
  });
  await writeMesh(lab, numbers);
  await lab.startControlPlane();
  const fleet = stack.use(await startFleet());
  fleet.tell(connectMessage(lab, identities, numbers));
  await fleet.next('connected', CONNECT_MS);

  const first: number[] = [];
  const last: number[] = [];
  let cpuUs = 0;
  for (let edit = -WARM_UP_EDITS; edit < edits; edit++) {
    const marker = `/edit-n${edit + WARM_UP_EDITS}x`;
    fleet.tell({ kind: 'expect', marker });
    await fleet.next('expecting', EDIT_MS);
    const cpuBefore = cpuUsOf([lab.controlPlane.pid]);
    const acknowledged = fleet.next('acknowledged', EDIT_MS);
    const writtenAtMs = monotonicMs();
    await lab.write('policies.yaml', ...policies(marker));
    const { firstAtMs, lastAtMs } = await acknowledged;
    await delay(SETTLE_MS);
    if (edit < 0) continue;
    cpuUs += cpuUsOf([lab.controlPlane.pid]) - cpuBefore;
    first.push(firstAtMs - writtenAtMs);
    last.push(lastAtMs - writtenAtMs);
  }
  const { residentMb, privateMb } = memoryOf(lab.controlPlane.pid);
  return {
    proxies: size,
    edits,
    firstAckMs: summarize(first),
    lastAckMs: summarize(last),
    lastAckP99Ms: quantile(
      last.toSorted((a, b) => a - b),
      0.99,
    ),
    cpuMsPerProxy: cpuUs / 1_000 / edits / size,
    controlPlane: { residentMb, privateMb },
  };
}

/** One Deployment whose Pods each have a service account of their own, behind one Service. */
async function writeMesh(lab: Lab, numbers: readonly number[]): Promise<void> {
  const pods = numbers.map((n) =>
    podYaml({
      name: `pod-${n}`,
      ip: `10.64.${n >> 8}.${n & 255}`,
      ports: [PORT],
      app: APP,
      serviceAccount: accountOf(n),
    }),
  );
  const ports = [{ name: 'http', port: 80, targetPort: PORT }];
  await lab.write('pods.yaml', serviceYaml({ name: APP, ports }), ...pods);
  await lab.write('policies.yaml', ...policies('/edit-none'));
}

/** Selects every proxy, so that every one is told. */
const policies = (marker: string): readonly string[] => [
  modeYaml('STRICT'),
  policyYaml({
    name: 'edited',
    action: 'DENY',
    app: APP,
    rules: `[{ to: [{ operation: { paths: ["${marker}"] } }] }]`,
  }),
];

function connectMessage(lab: Lab, identities: Identities, numbers: readonly number[]): ToFleet {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  return {
    kind: 'connect',
    xds: lab.addresses.xds,
    bundlePem: identities.bundlePem,
    controlPlaneId: spiffeIdOf({
      trustDomain,
      namespace: 'weft-system',
      serviceAccount: 'weft-control-plane',
    }),
    members: numbers.map((n) => {
      const { keyPem, chainPem } = credentialOf(identities, accountOf(n));
      return { node: `pod-${n}.${NAMESPACE}`, keyPem, chainPem };
    }),
  };
}
