// One run of a container's program: a process tree in namespaces and a root of its own, started, signalled and entered.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, closeSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DIES_WITH_US, runToEnd, type CommandEnd, type CommandOptions } from './run-command.ts';

export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly isFolder: boolean;
  readonly isReadOnly: boolean;
}

/** Who a process is and what it may. */
export interface Privileges {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** `NET_ADMIN`; of root's only those, of others none. */
  readonly capabilities: readonly string[];
  readonly mayGainPrivileges: boolean;
  readonly isPrivileged: boolean;
}

/** A user who may nothing. */
export const NO_PRIVILEGES: Privileges = {
  uid: 65_534,
  gid: 65_534,
  groups: [],
  capabilities: [],
  mayGainPrivileges: false,
  isPrivileged: false,
};

export interface ProcessPlan {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly hostname: string;
  readonly mounts: readonly Mount[];
  readonly isRootReadOnly: boolean;
  readonly privileges: Privileges;
  /** What to put before a command so that it runs in the Pod's network. */
  readonly enter: readonly string[];
  /** Replace those of the machine. */
  readonly etcFiles: Readonly<Record<string, string>>;
  /** An empty folder that every container of the node may use: each mounts over it in its own view. */
  readonly stage: string;
  readonly logFile: string;
}

export interface ProcessEnd {
  /** 128 + signal when a signal ended it, as container runtimes say. */
  readonly exitCode: number;
  readonly signal: number;
  /** It never came to run the program: what the set-up said. */
  readonly setupFailure: string | undefined;
}

export interface ContainerProcess {
  /** The program's process id on this machine. */
  readonly pid: number;
  readonly ended: Promise<ProcessEnd>;
  /** To the program itself; nothing when it has ended. */
  signal(name: NodeJS.Signals): void;
  /** Another command inside, as the same user. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<CommandEnd>;
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGTERM: 15,
  SIGKILL: 9,
  SIGINT: 2,
  SIGSEGV: 11,
  SIGABRT: 6,
  SIGHUP: 1,
};

const OWN_NAMESPACES: readonly string[] = [
  'unshare',
  '--mount',
  '--pid',
  '--uts',
  '--ipc',
  '--fork',
  '--kill-child',
  '--',
];

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Where a path of the container leads, when links of the lower layer such as /var/run are followed. */
function resolveInLower(path: string): string {
  let known = path;
  const rest: string[] = [];
  while (!existsSync(known)) {
    rest.unshift(known.slice(known.lastIndexOf('/') + 1));
    known = dirname(known);
  }
  return join(realpathSync(known), ...rest);
}

function mountLines(root: string, mounts: readonly Mount[]): readonly string[] {
  return mounts
    .toSorted((a, b) => a.target.split('/').length - b.target.split('/').length)
    .flatMap(({ source, target, isFolder, isReadOnly }) => {
      const at = join(root, resolveInLower(target));
      const make = isFolder
        ? `mkdir -p ${quote(at)}`
        : `mkdir -p ${quote(dirname(at))}; : >> ${quote(at)}`;
      const bind = `mount --bind ${quote(source)} ${quote(at)}`;
      return isReadOnly ? [make, bind, `mount -o remount,bind,ro ${quote(at)}`] : [make, bind];
    });
}

/** Run by a shell that is root, in fresh mount, process and host name namespaces; ends by becoming the program. */
function setupScript(plan: ProcessPlan): string {
  const { stage, isRootReadOnly, privileges } = plan;
  const root = `${stage}/root`;
  const etc = Object.entries(plan.etcFiles).flatMap(([name, text]) => [
    `rm -f ${root}/etc/${name}`,
    `printf %s ${quote(text)} > ${root}/etc/${name}`,
  ]);
  return [
    `mount -t tmpfs -o mode=0755 tmpfs ${stage}`,
    `mkdir ${stage}/upper ${stage}/work ${root}`,
    `mount -t overlay overlay -o lowerdir=/,upperdir=${stage}/upper,workdir=${stage}/work ${root}`,
    `mount --rbind /dev ${root}/dev`,
    `mount -t proc proc ${root}/proc`,
    ...(privileges.isPrivileged ? [] : [`mount -o bind,ro /proc/sys ${root}/proc/sys`]),
    `mount -t tmpfs -o mode=0755 tmpfs ${root}/run`,
    `mount -t tmpfs -o mode=1777 tmpfs ${root}/tmp`,
    ...etc,
    ...mountLines(root, plan.mounts),
    ...(isRootReadOnly ? ['/run', '/tmp', ''].map((at) => `mount -o remount,ro ${root}${at}`) : []),
    `hostname ${quote(plan.hostname)}`,
    `cd ${root}`,
    'pivot_root . .',
    'umount -l .',
    `cd ${quote(plan.workingDir)}`,
    'echo started >&3',
    'exec 3>&-',
    'exec "$@"',
  ].join('\n');
}

function becoming({ privileges, env, argv }: ProcessPlan, command = argv): readonly string[] {
  const { uid, gid, groups, capabilities, mayGainPrivileges, isPrivileged } = privileges;
  const set = [`-all`, ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',');
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`,
    ...(isPrivileged ? [] : [`--bounding-set=${set}`]),
    '--inh-caps=-all',
    // Another user's process would outlive the test that was killed.
    '--pdeathsig=keep',
    ...(mayGainPrivileges ? [] : ['--no-new-privs']),
    '--',
    'env',
    '-i',
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...command,
  ];
}

/** The only child of `unshare`: the first process of the new namespace. */
function firstChild(pid: number): number | undefined {
  const file = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(file)) return undefined;
  const [first = ''] = readFileSync(file, 'utf8').split(' ', 1);
  return first === '' ? undefined : Number(first);
}

function endOf(
  child: ChildProcess,
  hasStarted: () => boolean,
  logFile: string,
): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    child.once('error', (error) =>
      resolve({ exitCode: 128, signal: 0, setupFailure: error.message }),
    );
    child.once('exit', (code, name) => {
      const signal = name === null ? 0 : (SIGNALS[name] ?? 0);
      const setupFailure = hasStarted() ? undefined : readFileSync(logFile, 'utf8').trim();
      resolve({ exitCode: code ?? 128 + signal, signal, setupFailure });
    });
  });
}

/** @returns when the program runs, or has ended already: see `ended`. */
export async function startContainer(plan: ProcessPlan): Promise<ContainerProcess> {
  mkdirSync(dirname(plan.logFile), { recursive: true });
  const log = openSync(plan.logFile, 'a');
  const argv = [
    ...DIES_WITH_US.slice(1),
    ...plan.enter,
    ...OWN_NAMESPACES,
    'sh',
    '-ec',
    setupScript(plan),
    'sh',
    ...becoming(plan),
  ];
  const child = spawn(DIES_WITH_US[0] ?? '', argv, { stdio: ['ignore', log, log, 'pipe'] });
  closeSync(log);
  let hasStarted = false;
  const ended = endOf(child, () => hasStarted, plan.logFile);
  const starting = new Promise<void>((resolve) => {
    const told = child.stdio[3];
    told?.once('data', () => {
      hasStarted = true;
      resolve();
    });
    told?.once('close', resolve);
    told?.on('error', () => resolve());
  });
  await Promise.race([starting, ended]);
  const pid = firstChild(child.pid ?? 0) ?? -1;
  let isOver = false;
  void ended.then(() => (isOver = true));
  return {
    pid,
    ended,
    signal(name) {
      if (!isOver && pid > 0 && existsSync(`/proc/${pid}`)) process.kill(pid, name);
    },
    async exec(command, options) {
      if (isOver || pid < 0) throw new Error('Cannot run a command in a container that has ended');
      const inside = [
        'nsenter',
        `--target=${pid}`,
        '--mount',
        '--net',
        '--pid',
        '--uts',
        '--ipc',
        '--',
      ];
      return runToEnd([...DIES_WITH_US, ...inside, ...becoming(plan, command)], options);
    },
  };
}
