// The demo's last chapter, for root: each workload in a network namespace of its own, its traffic redirected to its sidecar.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createJoinToken } from '@weft/ca/join-tokens';
import { DaemonProcess, weftCommand } from './daemon-process.ts';
import {
  type Layout,
  podManifests,
  WORKLOAD_PORT,
  type WorkloadName,
  WORKLOADS,
} from './layout.ts';
import { type Folders, makeFolders, removeFolders } from './mesh.ts';
import { createNamespaces, type Namespaces, whyNoNamespaces } from './namespaces.ts';
import { eventually, expect, type Story } from './story.ts';

const run = promisify(execFile);

const SIDECAR_UID = 1337;
const GATEWAY = '10.77.0.1';
const ADDRESS: Layout['addressOf'] = { web: '10.77.0.2', prices: '10.77.0.3', stock: '10.77.0.4' };
/** Virtual addresses of the Services: nobody has them, sidecars know where they lead. */
const VIP: Readonly<Record<WorkloadName, string>> = {
  web: '10.96.0.2',
  prices: '10.96.0.3',
  stock: '10.96.0.4',
};
const SERVICE_PORT: Readonly<Record<WorkloadName, number>> = { web: 80, prices: 80, stock: 7000 };
const CONTROL_PLANE = { xds: `${GATEWAY}:15012`, enrolment: `${GATEWAY}:15013` };
const APPS = fileURLToPath(new URL('apps', import.meta.url));

export async function transparent(story: Story): Promise<void> {
  story.chapter('Transparent: network namespaces, and applications that call the real addresses');
  const reason = await whyNoNamespaces();
  if (reason !== undefined) {
    story.skip('the same three services, each in a network namespace of its own', reason);
    return;
  }
  const layout = { addressOf: ADDRESS };
  const folders = await makeFolders(layout);
  const before = story.failed;
  try {
    await using lab = new TransparentLab(folders);
    await tell(lab, story);
  } finally {
    if (story.failed === before) await removeFolders(folders);
  }
}

async function tell(lab: TransparentLab, story: Story): Promise<void> {
  await story.holds(
    'the same three services, each in a network namespace with redirect to its sidecar',
    async () => {
      await lab.start();
      return `sidecars run as user ${SIDECAR_UID}; applications listen on their own ports, and know nothing of it`;
    },
  );
  if (story.failed > 0) return;
  await story.holds(
    `the application prices calls http://${VIP.web}/item/tea, the Service's own address`,
    async () => {
      const answer = await eventually(
        async () => {
          const got = await lab.curl('prices', `http://${VIP.web}/item/tea`);
          return got.startsWith('200') ? got : undefined;
        },
        { timeoutMs: 10_000, everyMs: 50, what: 'an answer' },
      );
      expect(answer.includes('"price":320') && answer.includes('"inStock":41'), answer);
      return `${answer}: three hops, each redirected, each over mutual TLS`;
    },
  );
  await story.holds(`prices calls http://${VIP.web}/admin`, async () => {
    const answer = await lab.curl('prices', `http://${VIP.web}/admin`);
    expect(answer.startsWith('403'), answer);
    return answer;
  });
  await story.holds(
    `somebody without a sidecar calls ${ADDRESS.web}:${WORKLOAD_PORT.web} directly`,
    async () => {
      const answer = await lab.curl('switch', `http://${ADDRESS.web}:${WORKLOAD_PORT.web}/healthz`);
      expect(answer.startsWith('000'), answer);
      return 'refused: no certificate';
    },
  );
}

class TransparentLab implements AsyncDisposable {
  readonly #folders: Folders;
  readonly #daemons: DaemonProcess[] = [];
  readonly #apps: ChildProcess[] = [];
  #namespaces: Namespaces | undefined;

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  #enter(host: string): readonly string[] {
    if (this.#namespaces === undefined) throw new Error('Cannot enter: there are no namespaces');
    return this.#namespaces.enter(host);
  }

  async start(): Promise<void> {
    const { manifests, state } = this.#folders;
    const services = join(manifests, 'shop.yaml');
    await writeFile(services, withAddresses(await readFile(services, 'utf8')));
    await writeFile(join(manifests, 'pods.yaml'), podManifests({ addressOf: ADDRESS }));
    this.#namespaces = await createNamespaces({
      prefix: `weft${process.pid.toString(36)}`,
      gateway: `${GATEWAY}/24`,
      addressByHost: new Map(Object.entries(ADDRESS)),
    });
    const controlPlane = this.#daemon('switch', 'control plane', [
      'control-plane',
      '--manifests',
      manifests,
      '--state-dir',
      state,
      '--xds',
      CONTROL_PLANE.xds,
      '--enrolment',
      CONTROL_PLANE.enrolment,
      '--admin',
      '127.0.0.1:15014',
      '--ip-address',
      GATEWAY,
    ]);
    await controlPlane.ready();
    await Promise.all(WORKLOADS.map((name) => this.#startWorkload(name, { state })));
  }

  #daemon(host: string, name: string, args: readonly string[]): DaemonProcess {
    const daemon = new DaemonProcess({
      name,
      enter: this.#enter(host),
      args,
      logFile: join(this.#folders.logs, `transparent-${name.replaceAll(' ', '-')}.log`),
    });
    this.#daemons.push(daemon);
    return daemon;
  }

  async #startWorkload(name: WorkloadName, folders: { readonly state: string }): Promise<void> {
    const { state } = folders;
    const { token } = await createJoinToken({
      stateDir: state,
      namespace: 'shop',
      serviceAccount: name,
    });
    const tokenFile = join(this.#folders.root, `${name}.token`);
    await writeFile(tokenFile, token, { mode: 0o600 });
    await chown(tokenFile, SIDECAR_UID, SIDECAR_UID);
    await chown(this.#folders.root, SIDECAR_UID, SIDECAR_UID);
    const [ip = '', ...enter] = this.#enter(name);
    await run(ip, [
      ...enter,
      ...weftCommand(['capture', 'apply', '--proxy-uid', String(SIDECAR_UID)]),
    ]);
    const sidecar = this.#daemon(name, name, [
      'sidecar',
      '--pod',
      `${name}-0`,
      '--namespace',
      'shop',
      '--pod-ip',
      ADDRESS[name],
      '--token-file',
      tokenFile,
      '--bundle',
      join(state, 'bundle.pem'),
      '--xds',
      CONTROL_PLANE.xds,
      '--enrolment',
      CONTROL_PLANE.enrolment,
      '--transparent',
      '--run-as',
      String(SIDECAR_UID),
      '--access-log',
      'all',
    ]);
    await sidecar.ready();
    this.#startApp(name);
  }

  /** Knows nothing of the mesh: it listens on its port at every address, and calls the Services' addresses. */
  #startApp(name: WorkloadName): void {
    const [ip = '', ...enter] = this.#enter(name);
    const own = ['0.0.0.0', String(WORKLOAD_PORT[name])];
    const others =
      name === 'web'
        ? (['prices', 'stock'] as const).map((other) => `${VIP[other]}:${SERVICE_PORT[other]}`)
        : [];
    const child = spawn(
      ip,
      [
        ...enter,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        join(APPS, `${name}.ts`),
        ...own,
        ...others,
      ],
      { stdio: 'ignore', detached: true },
    );
    this.#apps.push(child);
  }

  /** @returns status and body; `000` when there was no answer. */
  async curl(host: string, url: string): Promise<string> {
    const [ip = '', ...enter] = this.#enter(host);
    const script = `const r=await fetch(${JSON.stringify(url)},{signal:AbortSignal.timeout(4000)});console.log(r.status,(await r.text()).trim())`;
    try {
      const { stdout } = await run(ip, [
        ...enter,
        process.execPath,
        '--input-type=module',
        '-e',
        script,
      ]);
      return stdout.trim();
    } catch (error) {
      return `000 ${error instanceof Error ? (error.message.split('\n').at(-2) ?? '') : ''}`;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const app of this.#apps) app.kill('SIGTERM');
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
    await this.#namespaces?.[Symbol.asyncDispose]();
  }
}

/** The example's Services have no addresses, for there is no cluster to give them any; here each has one. */
const withAddresses = (text: string): string =>
  WORKLOADS.reduce(
    (changed, name) =>
      changed.replace(
        `selector: { app: ${name} }`,
        `clusterIP: ${VIP[name]}\n  selector: { app: ${name} }`,
      ),
    text,
  );
