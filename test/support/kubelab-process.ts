// The processes of a cluster for tests: with which flags each runs, when it is ready, and that none outlives its test.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { programPath } from './go-tools.ts';
import type { ClusterKeys } from './kubelab-keys.ts';
import { eventually, within } from './lab-wait.ts';

export type Part = 'etcd' | 'apiserver' | 'controllers';
/** In the order in which they start. */
export const PARTS: readonly Part[] = ['etcd', 'apiserver', 'controllers'];

/** 3 s together on an idle machine; two cores that also run other tests need more. */
const READY_MS = 60_000;
/** The API server ends its requests and watches first. */
const END_MS = 30_000;
const ASK_MS = 2_000;
const LOG_TAIL_CHARS = 2_000;
const PROGRAMS = {
  etcd: 'etcd',
  apiserver: 'kube-apiserver',
  controllers: 'kube-controller-manager',
} as const;
/**
 * Kills what it becomes when its standard input closes, which it does when the test process ends, however it ends.
 * `$$` stays the shell's number in the background part, and is the program's after `exec`.
 */
const GUARD =
  'exec 3<&0 0</dev/null; (cat <&3 >/dev/null; kill -9 "$$" 2>/dev/null) & exec "$@" 3<&-';

/** The controllers that give the API its everyday behaviour; none of nodes, volumes, certificate requests, autoscaling. */
const CONTROLLERS = [
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'root-ca-certificate-publisher-controller',
  'namespace-controller',
  'garbage-collector-controller',
  'deployment-controller',
  'replicaset-controller',
  'statefulset-controller',
  'daemonset-controller',
  'job-controller',
  'cronjob-controller',
  'endpoints-controller',
  'endpointslice-controller',
  'endpointslice-mirroring-controller',
  'clusterrole-aggregation-controller',
  'resourcequota-controller',
  'disruption-controller',
  'ttl-after-finished-controller',
  'validatingadmissionpolicy-status-controller',
];

export interface ClusterPlan {
  readonly dir: string;
  readonly keys: ClusterKeys;
  readonly kubeconfig: string;
  /** `https://ADDRESS:PORT`, as the tests reach it. */
  readonly server: string;
  readonly port: number;
  readonly bindAddress: string;
  /** A loopback address is no endpoint: then the Service `kubernetes` has none. */
  readonly advertiseAddress: string | undefined;
  /** A loopback address of this cluster alone, for what etcd would say to other members. */
  readonly ownAddress: string;
  readonly serviceCidr: string;
  /** Absent: those of everyday life; `[]`: no controller manager. */
  readonly controllers: readonly string[] | undefined;
  readonly apiserverArgs: readonly string[];
  /** Written before each program and its arguments. */
  readonly inside: readonly string[];
}

const socketOf = (plan: ClusterPlan): string => join(plan.dir, 'etcd.sock');

function etcdArgs(plan: ClusterPlan): readonly string[] {
  const peer = `http://${plan.ownAddress}:2380`;
  return [
    '--name=kubelab',
    `--data-dir=${join(plan.dir, 'etcd')}`,
    `--listen-client-urls=unix://${socketOf(plan)}`,
    // Nobody reads it, and it must be a URL of TCP.
    `--advertise-client-urls=http://${plan.ownAddress}:2379`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=kubelab=${peer}`,
    '--heartbeat-interval=10',
    '--election-timeout=100',
    // What it wrote survives its own death, not the machine's: enough for tests, and much faster.
    '--unsafe-no-fsync=true',
    '--log-level=warn',
  ];
}

function apiserverArgs(plan: ClusterPlan): readonly string[] {
  const { keys, advertiseAddress } = plan;
  const reconciler = advertiseAddress === undefined ? 'none' : 'lease';
  return [
    `--etcd-servers=unix://${socketOf(plan)}`,
    `--bind-address=${plan.bindAddress}`,
    `--secure-port=${plan.port}`,
    `--advertise-address=${advertiseAddress ?? plan.ownAddress}`,
    `--endpoint-reconciler-type=${reconciler}`,
    `--service-cluster-ip-range=${plan.serviceCidr}`,
    `--tls-cert-file=${keys.serverFile}`,
    `--tls-private-key-file=${keys.serverKeyFile}`,
    `--client-ca-file=${keys.caFile}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${keys.accountPublicFile}`,
    `--service-account-signing-key-file=${keys.accountKeyFile}`,
    '--allow-privileged=true',
    '--profiling=false',
    '--v=1',
    ...plan.apiserverArgs,
  ];
}

function controllersArgs(plan: ClusterPlan): readonly string[] {
  return [
    `--kubeconfig=${plan.kubeconfig}`,
    `--controllers=${(plan.controllers ?? CONTROLLERS).join(',')}`,
    '--leader-elect=false',
    '--secure-port=0',
    `--service-account-private-key-file=${plan.keys.accountKeyFile}`,
    `--root-ca-file=${plan.keys.caFile}`,
    '--controller-start-interval=0s',
    '--profiling=false',
    '--v=1',
  ];
}

const ARGS = { etcd: etcdArgs, apiserver: apiserverArgs, controllers: controllersArgs } as const;

/** @returns whether the answer was 200; an error is no answer. */
function isFine(plan: ClusterPlan, target: { socketPath: string } | { path: string }) {
  return new Promise<boolean>((resolve, reject) => {
    const tls = { ca: plan.keys.caPem, ...plan.keys.admin, agent: false, timeout: ASK_MS };
    const request =
      'path' in target
        ? httpsRequest(`${plan.server}${target.path}`, tls)
        : httpRequest({ ...target, path: '/health', agent: false, timeout: ASK_MS });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy(new Error('it does not answer')));
    request.on('error', reject);
    request.end();
  });
}

const askOf = (plan: ClusterPlan, part: Part): Promise<boolean> => {
  if (part === 'etcd') return isFine(plan, { socketPath: socketOf(plan) });
  if (part === 'apiserver') return isFine(plan, { path: '/readyz' });
  // The service account controller makes it, so at least one controller works.
  return isFine(plan, { path: '/api/v1/namespaces/default/serviceaccounts/default' });
};

class Ended extends Error {
  readonly isFinal = true;
}

/** Still running; a test file that is given up must not leave them behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface PartProcess {
  readonly pid: number;
  readonly isRunning: () => boolean;
  readonly end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>;
}

/** @returns when it is ready. @throws Error with the end of its log when it ends before, or the time is over. */
export async function startPart(plan: ClusterPlan, part: Part): Promise<PartProcess> {
  const program = programPath(PROGRAMS[part]);
  if (program === undefined) throw new Error(`Cannot start ${part}: there is no ${PROGRAMS[part]}`);
  const logFile = join(plan.dir, `${part}.log`);
  // A socket whose etcd was killed would look like one that is there.
  if (part === 'etcd') rmSync(socketOf(plan), { force: true });
  const log = openSync(logFile, 'a', 0o600);
  const [command, ...args] = [...plan.inside, 'sh', '-c', GUARD, 'sh', program];
  const child = spawn(command, [...args, ...ARGS[part](plan)], {
    stdio: ['pipe', log, log],
    // Memory is there, time is not: collecting less often saves a seventh of what an API server takes to start.
    env: { GOGC: '400', ...process.env },
  });
  closeSync(log);
  running.add(child);
  let failure: Error | undefined;
  const ended = new Promise<void>((resolve) => {
    const over = (): void => {
      running.delete(child);
      resolve();
    };
    child.once('exit', over);
    child.once('error', (error) => {
      failure = error;
      over();
    });
  });
  child.unref();
  const isRunning = (): boolean => running.has(child);
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (!isRunning()) return;
    child.kill(signal);
    await within(ended, END_MS, `the end of ${part} by ${signal}`);
  };
  const tail = (): string => readFileSync(logFile, 'utf8').slice(-LOG_TAIL_CHARS);
  const ask = (): Promise<boolean> => {
    if (isRunning()) return askOf(plan, part);
    throw new Ended(`Cannot start ${part}: ${failure?.message ?? `it ended:\n${tail()}`}`);
  };
  try {
    await eventually(ask, { what: `a ready ${part}`, withinMs: READY_MS, everyMs: 20, told: tail });
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
  return { pid: child.pid ?? 0, isRunning, end };
}

/** @throws Error when it is not ready in time. */
export const untilServing = (plan: ClusterPlan): Promise<boolean> =>
  eventually(() => askOf(plan, 'apiserver'), { what: 'a ready API server', withinMs: READY_MS });
