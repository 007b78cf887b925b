// A mesh of Pods in network namespaces of their own, each with Envoy or Weft's sidecar before it, as on a node of a cluster.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createJoinToken } from '@weft/ca/join-tokens';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { DaemonProcess } from '../../src/cli/demo/daemon-process.ts';
import {
  createNamespaces,
  type Namespaces,
  whyNoNamespaces,
} from '../../src/cli/demo/namespaces.ts';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import { APP_PORTS } from './envoy-lab-app.ts';
import { EnvoyPod, type EnvoyPodSpec, type PodPlace } from './envoy-pod.ts';
import { NAMESPACE, podYaml, serviceYaml } from './lab-manifests.ts';
import { eventually } from './lab-wait.ts';
import { weftCommand } from './weft-main.ts';

const run = promisify(execFile);
const SIDECAR_UID = 1_337;

const flags = (values: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);

/** Why there is no such lab here, or the Envoy. */
export const envoyLab = await (async () => {
  const why = await whyNoNamespaces();
  if (why !== undefined) return { skip: why, envoy: '' };
  const found = await findEnvoy();
  return found.ok ? { skip: false, envoy: found.path } : { skip: found.reason, envoy: '' };
})();

export class EnvoyLab implements PodPlace, AsyncDisposable {
  readonly root: string;
  readonly certificate: string;
  readonly pods = new Map<string, EnvoyPod>();
  readonly #namespaces: Namespaces;
  readonly #network: string;
  #controlPlane: DaemonProcess | undefined;
  #files = 0;

  constructor(root: string, namespaces: Namespaces, network: string) {
    this.root = root;
    this.certificate = join(root, 'app.pem');
    this.#namespaces = namespaces;
    this.#network = network;
  }

  enter(host: string): readonly string[] {
    return this.#namespaces.enter(host);
  }

  get gateway(): string {
    return `${this.#network}.1`;
  }

  get manifests(): string {
    return join(this.root, 'manifests');
  }

  get state(): string {
    return join(this.root, 'state');
  }

  pod(name: string): EnvoyPod {
    const pod = this.pods.get(name);
    assert.ok(pod !== undefined, `there is no Pod ${name}`);
    return pod;
  }

  async write(file: string, ...documents: readonly string[]): Promise<void> {
    const hidden = join(this.root, `.${file}.new`);
    await writeFile(hidden, documents.join('---\n'));
    await rename(hidden, join(this.manifests, file));
  }

  remove(file: string): Promise<void> {
    return rm(join(this.manifests, file));
  }

  async startControlPlane(args: readonly string[] = []): Promise<DaemonProcess> {
    const controlPlane = new DaemonProcess({
      weft: weftCommand,
      name: 'control plane',
      enter: this.enter('switch'),
      args: [
        'control-plane',
        ...flags({
          manifests: this.manifests,
          'state-dir': this.state,
          admin: '127.0.0.1:15014',
          'ip-address': this.gateway,
          xds: `${this.gateway}:15012`,
          enrolment: `${this.gateway}:15013`,
        }),
        ...args,
      ],
      logFile: join(this.root, 'control-plane.log'),
    });
    this.#controlPlane = controlPlane;
    await controlPlane.ready();
    return controlPlane;
  }

  async stopControlPlane(): Promise<void> {
    await this.#controlPlane?.stop();
    this.#controlPlane = undefined;
  }

  /** A document of the control plane's. */
  async ask(path: string): Promise<PlainObject> {
    const script = `const r=await fetch('http://127.0.0.1:15014${path}');console.log(await r.text())`;
    const [ip = '', ...args] = this.enter('switch');
    const command = [...args, process.execPath, '--input-type=module', '-e', script];
    const { stdout } = await run(ip, command, { maxBuffer: 16 * 1_024 * 1_024 });
    const value: unknown = JSON.parse(stdout);
    assert.ok(isPlainObject(value), stdout);
    return value;
  }

  /** `weft` beside the control plane. */
  async weft(...args: readonly string[]): Promise<string> {
    const [ip = '', ...words] = [...this.enter('switch'), ...weftCommand(args)];
    return (await run(ip, words)).stdout;
  }

  policy(name: string): Promise<PlainObject | undefined> {
    return this.ask('/v1/policies').then(({ policies }) => {
      const list = Array.isArray(policies) ? policies.filter(isPlainObject) : [];
      return list.find((entry) => entry['name'] === name);
    });
  }

  /** Waits until all whom the policy selects enforce it. */
  enforced(name: string): Promise<PlainObject> {
    let policy: PlainObject | undefined;
    return eventually(
      async () => {
        policy = await this.policy(name);
        return policy?.['isEnforced'] === true && policy['enforced'] !== '0/0' ? policy : undefined;
      },
      {
        what: `policy ${name} in force`,
        withinMs: 30_000,
        everyMs: 50,
        told: () => JSON.stringify(policy),
      },
    );
  }

  async spawnSidecar(pod: EnvoyPod, more: readonly string[]): Promise<DaemonProcess> {
    const { name, spec } = pod;
    const { token } = await createJoinToken({
      stateDir: this.state,
      namespace: NAMESPACE,
      serviceAccount: name,
    });
    const tokenFile = join(this.root, `token-${++this.#files}`);
    await writeFile(tokenFile, token, { mode: 0o600 });
    await chown(tokenFile, SIDECAR_UID, SIDECAR_UID);
    const ofEnvoy = flags({
      proxy: 'envoy',
      envoy: envoyLab.envoy,
      'envoy-concurrency': '1',
      'envoy-rules-drain': '1s',
    });
    return new DaemonProcess({
      weft: weftCommand,
      name,
      enter: this.enter(name),
      args: [
        'sidecar',
        '--transparent',
        ...(spec.proxy === 'envoy' ? ofEnvoy : []),
        ...flags({
          'run-as': String(SIDECAR_UID),
          pod: `${name}-0`,
          namespace: NAMESPACE,
          'pod-ip': pod.ip,
          bundle: join(this.state, 'bundle.pem'),
          'token-file': tokenFile,
          xds: `${this.gateway}:15012`,
          enrolment: `${this.gateway}:15013`,
          probes: '0.0.0.0:15021',
          metrics: '0.0.0.0:15020',
          'access-log': 'all',
          'interception-period': '500ms',
        }),
        ...(spec.args ?? []),
        ...more,
      ],
      logFile: pod.logFile,
    });
  }

  /** After each test that uses it. */
  async checkNothingRefused(): Promise<void> {
    for (const pod of this.pods.values()) await pod.checkNothingRefused();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pod of this.pods.values()) await pod[Symbol.asyncDispose]();
    await this.#controlPlane?.stop();
    await this.#namespaces[Symbol.asyncDispose]();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Of every Service of a lab. */
export const LAB_PORTS = [
  { name: 'http', port: 80, targetPort: APP_PORTS.http1 },
  { name: 'http2-api', port: 81, targetPort: APP_PORTS.http2 },
  { name: 'grpc-api', port: 82, targetPort: APP_PORTS.http2 },
  { name: 'tcp-lines', port: 90, targetPort: APP_PORTS.tcp },
  { name: 'tls-app', port: 443, targetPort: APP_PORTS.tls },
  { name: 'any', port: 70, targetPort: APP_PORTS.auto },
] as const;

/** Services `NAME.shop` with a VIP, and `NAME-pods` without; applications and sidecars run when this returns. */
export async function openEnvoyLab(options: {
  readonly pods: readonly EnvoyPodSpec[];
  readonly manifests?: Readonly<Record<string, string>>;
  readonly controlPlaneArgs?: readonly string[];
}): Promise<EnvoyLab> {
  await using making = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'weft-envoy-lab-'));
  await chmod(root, 0o755);
  const second = 80 + (process.pid % 100);
  const network = `10.${second}.${(process.pid >> 7) & 255}`;
  const ips = new Map(options.pods.map(({ name }, index) => [name, `${network}.${index + 10}`]));
  const namespaces = await createNamespaces({
    prefix: `we${process.pid.toString(36)}`,
    gateway: `${network}.1/24`,
    addressByHost: ips,
  });
  const lab = making.use(new EnvoyLab(root, namespaces, network));
  await mkdir(lab.manifests);
  await writeFile(lab.certificate, await selfSigned());
  await chmod(lab.certificate, 0o644);
  for (const [index, spec] of options.pods.entries()) {
    const ip = ips.get(spec.name) ?? '';
    const pod = new EnvoyPod(lab, spec, { ip, vip: `10.255.${second}.${index + 1}` });
    lab.pods.set(spec.name, pod);
    const ports = Object.values(APP_PORTS);
    const { annotations = {} } = spec;
    const meshed = { name: `${spec.name}-0`, ip, ports, annotations };
    await lab.write(
      `${spec.name}.yaml`,
      ...(spec.proxy === 'none' ? [] : [podYaml(meshed)]),
      serviceYaml({ name: spec.name, ports: LAB_PORTS, clusterIP: pod.vip }),
      serviceYaml({
        name: `${spec.name}-pods`,
        app: spec.name,
        ports: LAB_PORTS,
        clusterIP: 'None',
      }),
    );
  }
  for (const [file, text] of Object.entries(options.manifests ?? {})) await lab.write(file, text);
  await lab.startControlPlane(options.controlPlaneArgs);
  await Promise.all([...lab.pods.values()].map((pod) => startPod(lab, pod)));
  making.move();
  return lab;
}

async function startPod(lab: EnvoyLab, pod: EnvoyPod): Promise<void> {
  const isMeshed = pod.spec.proxy !== 'none';
  if (isMeshed) {
    const [ip = '', ...args] = [...lab.enter(pod.name), ...weftCommand(['capture', 'apply'])];
    await run(ip, args);
  }
  await pod.startApp();
  if (!isMeshed) return;
  try {
    await pod.startSidecar();
  } catch (cause) {
    const { body } = await pod.get(15_000, pod.spec.proxy === 'envoy' ? '/agent' : '/ready');
    throw new Error(`Cannot start ${pod.name}:\n${pod.log.slice(-6_000)}\n${body}`, { cause });
  }
}

async function selfSigned(): Promise<string> {
  const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=app -days 1 -keyout -`;
  return (await run('openssl', args.split(' '))).stdout;
}
