// Starts the demo's mesh: a control plane beside a folder of manifests, and three services each with its sidecar.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJoinToken } from '@weft/ca/join-tokens';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { askAdminJson } from '../admin-client.ts';
import { type HostPort, parseHostPort } from '../parse.ts';
import { DaemonProcess } from './daemon-process.ts';
import {
  ADMIN_PORT,
  APP_PORT,
  HTTP_PROXY_PORT,
  type Layout,
  OUTBOUND_PORT,
  podManifests,
  SERVICE,
  WORKLOAD_PORT,
  type WorkloadName,
  WORKLOADS,
} from './layout.ts';

const EXAMPLE = fileURLToPath(new URL('../../../deploy/examples/shop', import.meta.url));
const APPS = fileURLToPath(new URL('apps', import.meta.url));

export interface Folders {
  readonly root: string;
  readonly manifests: string;
  readonly state: string;
  readonly logs: string;
  readonly policies: string;
}

export async function makeFolders(layout: Pick<Layout, 'addressOf'>): Promise<Folders> {
  const root = await mkdtemp(join(tmpdir(), 'weft-demo-'));
  const folders = {
    root,
    manifests: join(root, 'manifests'),
    state: join(root, 'state'),
    logs: join(root, 'logs'),
    policies: join(root, 'manifests', 'policies.yaml'),
  };
  await cp(EXAMPLE, folders.manifests, { recursive: true });
  await mkdir(folders.logs);
  await mkdir(folders.state, { mode: 0o700 });
  await writeFile(join(folders.manifests, 'pods.yaml'), podManifests(layout));
  return folders;
}

const textField = (value: PlainObject, key: string): string => {
  const field = value[key];
  if (typeof field !== 'string') throw new TypeError(`Cannot read ${key} of a ready line`);
  return field;
};

interface ControlPlaneAddresses {
  readonly xds: string;
  readonly enrolment: string;
  readonly admin: string;
}

export class DemoMesh implements AsyncDisposable {
  readonly layout: Layout;
  readonly folders: Folders;
  readonly #workloads = new Map<WorkloadName, DaemonProcess>();
  #controlPlane: DaemonProcess | undefined;
  #addresses: ControlPlaneAddresses | undefined;

  constructor(layout: Layout, folders: Folders) {
    this.layout = layout;
    this.folders = folders;
  }

  get admin(): HostPort {
    return parseHostPort(this.addresses.admin);
  }

  get addresses(): ControlPlaneAddresses {
    if (this.#addresses === undefined) throw new Error('Cannot ask: no control plane was started');
    return this.#addresses;
  }

  /** The same ports again after a restart, so that sidecars find it. */
  async startControlPlane(): Promise<PlainObject> {
    const { manifests, state, logs } = this.folders;
    /** Nobody's connections come from this address: after a restart its ports are still free. */
    const anyPort = `${this.layout.controlPlane}:0`;
    const daemon = new DaemonProcess({
      name: 'control plane',
      args: [
        'control-plane',
        '--manifests',
        manifests,
        '--state-dir',
        state,
        '--rotation-grace',
        '2s',
        '--xds',
        this.#addresses?.xds ?? anyPort,
        '--enrolment',
        this.#addresses?.enrolment ?? anyPort,
        '--admin',
        this.#addresses?.admin ?? anyPort,
      ],
      logFile: join(logs, 'control-plane.log'),
    });
    this.#controlPlane = daemon;
    const ready = await daemon.ready();
    this.#addresses = {
      xds: textField(ready, 'xds'),
      enrolment: textField(ready, 'enrolment'),
      admin: textField(ready, 'admin'),
    };
    return ready;
  }

  async stopControlPlane(): Promise<number> {
    const status = await this.#controlPlane?.stop();
    this.#controlPlane = undefined;
    return status ?? 0;
  }

  async startWorkload(name: WorkloadName): Promise<PlainObject> {
    const { state, logs } = this.folders;
    const tokenFile = join(this.folders.root, `${name}.token`);
    const { token } = await createJoinToken({
      stateDir: state,
      namespace: 'shop',
      serviceAccount: name,
    });
    await writeFile(tokenFile, token, { mode: 0o600 });
    const address = this.layout.addressOf[name];
    const others = WORKLOADS.filter((other) => other !== name);
    const daemon = new DaemonProcess({
      name,
      args: [
        'run',
        '--pod',
        `${name}-0`,
        '--namespace',
        'shop',
        '--pod-ip',
        address,
        '--token-file',
        tokenFile,
        '--bundle',
        join(state, 'bundle.pem'),
        '--xds',
        this.addresses.xds,
        '--enrolment',
        this.addresses.enrolment,
        '--inbound',
        `${WORKLOAD_PORT[name]}=${address}:${APP_PORT[name]}`,
        ...others.flatMap((other) => [
          '--outbound',
          `${address}:${OUTBOUND_PORT[other]}=${SERVICE[other]}`,
        ]),
        '--outbound-http',
        `${address}:${HTTP_PROXY_PORT}`,
        '--admin',
        `${address}:${ADMIN_PORT}`,
        '--access-log',
        'all',

        '--',
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        join(APPS, `${name}.ts`),
        address,
        String(APP_PORT[name]),
        ...(name === 'web' ? [this.via('web', 'prices'), this.via('web', 'stock')] : []),
      ],
      logFile: join(logs, `${name}.log`),
    });
    this.#workloads.set(name, daemon);
    return daemon.ready();
  }

  workload(name: WorkloadName): DaemonProcess {
    const daemon = this.#workloads.get(name);
    if (daemon === undefined) throw new Error(`Cannot look at ${name}: it was not started`);
    return daemon;
  }

  /** The local port at which one workload reaches another. */
  via(from: WorkloadName, to: WorkloadName): string {
    return `${this.layout.addressOf[from]}:${OUTBOUND_PORT[to]}`;
  }

  /** The address that everybody sees, where the sidecar answers. */
  front(name: WorkloadName): string {
    return `${this.layout.addressOf[name]}:${WORKLOAD_PORT[name]}`;
  }

  sidecarAdmin(name: WorkloadName): HostPort {
    return { host: this.layout.addressOf[name], port: ADMIN_PORT };
  }

  async ask(path: string): Promise<PlainObject> {
    const answer = await askAdminJson(this.admin, path);
    if (!isPlainObject(answer)) throw new TypeError(`Cannot read ${path}: not an object`);
    return answer;
  }

  /** Replaces text in the policy file, as an editor would. */
  async editPolicies(edit: (text: string) => string): Promise<void> {
    const before = await readFile(this.folders.policies, 'utf8');
    const after = edit(before);
    if (before === after) throw new Error('Cannot edit the policies: nothing would change');
    await writeFile(this.folders.policies, after);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workloads.values()].map((daemon) => daemon.stop()));
    await this.#controlPlane?.stop();
  }
}

export const removeFolders = (folders: Folders): Promise<void> =>
  rm(folders.root, { recursive: true, force: true });
