// A mesh of real processes for one test: a control plane beside a temporary folder of manifests, and sidecars with addresses of their own.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJoinToken } from '@weft/ca/join-tokens';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type Answer, call } from './lab-clients.ts';
import { Daemon } from './lab-daemon.ts';
import { appOf, NAMESPACE, podYaml, type ServicePortSpec, serviceYaml } from './lab-manifests.ts';
import { eventually, PATIENCE_MS } from './lab-wait.ts';

export interface SidecarSpec {
  /** The Pod's name, `web-0`; its manifest is written unless `manifest` is false. */
  readonly pod: string;
  /** Address of the application by the workload's port: `{ 8080: app.address }`. */
  readonly inbound?: Readonly<Record<number, string>>;
  /** Services that are called, `prices.shop:80`: `via()` gives the local addresses. */
  readonly outbound?: readonly string[];
  /** Opens an HTTP proxy: `http` gives its address. */
  readonly outboundHttp?: boolean;
  /** Default: a free address of this lab. */
  readonly podIp?: string;
  /** Default: the Pod's name without its number; also the token's. */
  readonly serviceAccount?: string;
  /** Writes a Service of the app's name with these ports as well. */
  readonly service?: readonly ServicePortSpec[];
  /** Default: a new token for the service account; `file` is used as it is. */
  readonly token?: { readonly text: string } | { readonly file: string };
  readonly manifest?: boolean;
  /** Of the Pod. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Further options of `weft sidecar`. */
  readonly args?: readonly string[];
  /** Runs this application under `weft run` instead. */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface ControlPlaneSpec {
  /** `10s`; default an hour. */
  readonly svidTtl?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Addresses {
  readonly xds: string;
  readonly enrolment: string;
  readonly admin: string;
}

/** Connections to it are redirected in namespaces that have such rules: no lab may be in it. */
const REDIRECTED = 88;
const SECOND = 64 + ((process.pid >> 8) & 127);
/** Processes of other test files run at the same time: each has a network of its own, and the demo's are left alone. */
const NETWORK = `127.${SECOND === REDIRECTED ? 192 : SECOND}.${process.pid & 255}`;
/** Nobody's connections come from this address: after a restart its ports are still free. */
const ANY_PORT = `${NETWORK}.1:0`;
let lastHost = 1;

const textField = (value: PlainObject, key: string): string => {
  const field = value[key];
  assert.ok(typeof field === 'string', `${key} of ${JSON.stringify(value)}`);
  return field;
};
const textByKey = (value: unknown): Readonly<Record<string, string>> =>
  isPlainObject(value)
    ? Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]))
    : {};

const flags = (values: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);

/** The list under a key of an answer. */
export const listOf = (value: unknown, key: string): readonly PlainObject[] => {
  const list = isPlainObject(value) ? value[key] : undefined;
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

/** A sidecar that runs: where it answers and what it says. */
export class LabSidecar {
  readonly daemon: Daemon;
  readonly podIp: string;
  #ready: PlainObject = {};

  constructor(daemon: Daemon, podIp: string) {
    this.daemon = daemon;
    this.podIp = podIp;
  }

  /** Waits for its ready line. @throws Error with its last words when it ends instead. */
  async whenReady(withinMs?: number): Promise<this> {
    this.#ready = await this.daemon.ready(withinMs);
    return this;
  }

  get ready(): PlainObject {
    return this.#ready;
  }

  get admin(): string {
    return textField(this.#ready, 'admin');
  }

  get spiffeId(): string {
    return textField(this.#ready, 'spiffeId');
  }

  /** The HTTP proxy's address. */
  get http(): string {
    return textField(this.#ready, 'outboundHttp');
  }

  /** Where others reach the workload's port. */
  front(port: number): string {
    const address = textByKey(this.#ready['inbound'])[port];
    assert.ok(address !== undefined, `no inbound port ${port}`);
    return address;
  }

  /** The local address of a service that it was started with: `prices.shop:80`. */
  via(service: string): string {
    const [name = '', port = ''] = service.split(':');
    const found = Object.entries(textByKey(this.#ready['outbound'])).find(
      ([key]) => key === `${name}.svc.cluster.local:${port}`,
    );
    assert.ok(found !== undefined, `no outbound ${service}: ${JSON.stringify(this.#ready)}`);
    return found[1];
  }

  /** The same of a host outside the mesh: `db.example.com:5432`. */
  viaHost(destination: string): string {
    const found = textByKey(this.#ready['outbound'])[destination];
    assert.ok(found !== undefined, `no outbound ${destination}: ${JSON.stringify(this.#ready)}`);
    return found;
  }

  /** An admin endpoint: `/ready`, `/certs`, `/config_dump`, `/clusters`, `/metrics`. */
  ask(path: string): Promise<Answer> {
    return call(this.admin, path);
  }

  async askJson(path: string): Promise<PlainObject> {
    const { status, body } = await this.ask(path);
    assert.equal(status, 200, body);
    const value: unknown = JSON.parse(body);
    assert.ok(isPlainObject(value));
    return value;
  }

  /** An access-log line, newest that fits; start with `--access-log all` to see what went well. */
  access(fits: (line: PlainObject) => boolean, what: string): Promise<PlainObject> {
    return this.daemon.line((line) => line['msg'] === 'access' && fits(line), what);
  }

  /** A metric's value summed over its labels that contain `labels`. */
  async metric(name: string, labels = ''): Promise<number> {
    const { body } = await this.ask('/metrics');
    return body
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }
}

export class Lab implements AsyncDisposable {
  readonly root: string;
  readonly manifests: string;
  readonly state: string;
  readonly #daemons: Daemon[] = [];
  #controlPlane: Daemon | undefined;
  #addresses: Addresses | undefined;
  #files = 0;

  constructor(root: string) {
    this.root = root;
    this.manifests = join(root, 'manifests');
    this.state = join(root, 'state');
  }

  /** A loopback address that nobody else uses. */
  nextIp(): string {
    lastHost++;
    assert.ok(lastHost < 255, 'no address is left');
    return `${NETWORK}.${lastHost}`;
  }

  get bundle(): string {
    return join(this.state, 'bundle.pem');
  }

  get addresses(): Addresses {
    assert.ok(this.#addresses !== undefined, 'no control plane was started');
    return this.#addresses;
  }

  get controlPlane(): Daemon {
    assert.ok(this.#controlPlane !== undefined, 'no control plane was started');
    return this.#controlPlane;
  }

  /** The same ports again after a restart, so that sidecars find it. */
  spawnControlPlane(spec: ControlPlaneSpec = {}): Daemon {
    const { xds, enrolment, admin } = this.#addresses ?? {};
    const args = [
      'control-plane',
      ...flags({
        manifests: this.manifests,
        'state-dir': this.state,
        xds: xds ?? ANY_PORT,
        enrolment: enrolment ?? ANY_PORT,
        admin: admin ?? ANY_PORT,
      }),
      ...(spec.svidTtl === undefined ? [] : ['--svid-ttl', spec.svidTtl]),
      ...(spec.args ?? []),
    ];
    const daemon = this.spawn('control plane', args, { ...(spec.env && { env: spec.env }) });
    this.#controlPlane = daemon;
    return daemon;
  }

  async startControlPlane(spec: ControlPlaneSpec = {}): Promise<PlainObject> {
    const ready = await this.spawnControlPlane(spec).ready();
    this.#addresses = {
      xds: textField(ready, 'xds'),
      enrolment: textField(ready, 'enrolment'),
      admin: textField(ready, 'admin'),
    };
    return ready;
  }

  /** Any `weft` process; it ends with the lab. */
  spawn(name: string, args: readonly string[], options?: ConstructorParameters<typeof Daemon>[2]) {
    const daemon = new Daemon(name, args, options);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Writes a file of manifests at once, as a good editor does: many documents are joined. */
  async write(file: string, ...documents: readonly string[]): Promise<void> {
    const hidden = join(this.root, `.${file}.new`);
    await writeFile(hidden, documents.join('---\n'));
    await rename(hidden, join(this.manifests, file));
  }

  read(file: string): Promise<string> {
    return readFile(join(this.manifests, file), 'utf8');
  }

  remove(file: string): Promise<void> {
    return rm(join(this.manifests, file));
  }

  /** A join token for a service account. */
  async token(serviceAccount: string, options: { readonly ttlMs?: number } = {}): Promise<string> {
    const { token } = await createJoinToken({
      stateDir: this.state,
      namespace: NAMESPACE,
      serviceAccount,
      ...options,
    });
    return token;
  }

  /** A private file with a token; sidecars read it anew at each try. */
  async tokenFile(token: string): Promise<string> {
    const file = join(this.root, `token-${++this.#files}`);
    await writeFile(file, token, { mode: 0o600 });
    return file;
  }

  /** Starts a sidecar without waiting until it is ready, or ends. */
  async spawnSidecar(spec: SidecarSpec): Promise<LabSidecar> {
    const { pod, podIp = this.nextIp(), inbound = {}, outbound = [] } = spec;
    const { serviceAccount = appOf(pod), command, token, annotations = {} } = spec;
    if (spec.manifest !== false) {
      const ports = Object.keys(inbound).map(Number);
      const documents = [podYaml({ name: pod, ip: podIp, ports, serviceAccount, annotations })];
      if (spec.service !== undefined) {
        documents.push(serviceYaml({ name: appOf(pod), ports: spec.service }));
      }
      await this.write(`pod-${pod}.yaml`, ...documents);
    }
    const tokenFile =
      token !== undefined && 'file' in token
        ? token.file
        : await this.tokenFile(token?.text ?? (await this.token(serviceAccount)));
    const daemon = this.spawn(
      pod,
      [
        command === undefined ? 'sidecar' : 'run',
        ...flags({
          pod,
          namespace: NAMESPACE,
          'pod-ip': podIp,
          'token-file': tokenFile,
          bundle: this.bundle,
          xds: this.addresses.xds,
          enrolment: this.addresses.enrolment,
          admin: `${podIp}:0`,
        }),
        ...Object.entries(inbound).flatMap(([port, app]) => ['--inbound', `${port}=${app}`]),
        ...outbound.flatMap((service) => ['--outbound', `${podIp}:0=${service}`]),
        ...(spec.outboundHttp === true ? ['--outbound-http', `${podIp}:0`] : []),
        ...(spec.args ?? []),
        ...(command === undefined ? [] : ['--', ...command]),
      ],
      { ...(spec.env && { env: spec.env }) },
    );
    return new LabSidecar(daemon, podIp);
  }

  async startSidecar(spec: SidecarSpec): Promise<LabSidecar> {
    return (await this.spawnSidecar(spec)).whenReady();
  }

  /** A document of the control plane's: `/v1/status`, `/v1/policies`, `/v1/problems`, `/v1/ca`, … */
  async ask(path: string): Promise<PlainObject> {
    const { status, body } = await call(this.addresses.admin, path);
    assert.equal(status, 200, body);
    const value: unknown = JSON.parse(body);
    assert.ok(isPlainObject(value));
    return value;
  }

  /** The problem whose text contains this, now or soon. */
  problem(text: string, withinMs = PATIENCE_MS): Promise<PlainObject> {
    return eventually(
      async () =>
        listOf(await this.ask('/v1/problems'), 'problems').find((problem) =>
          JSON.stringify(problem).includes(text),
        ),
      { what: `a problem with ${JSON.stringify(text)}`, withinMs },
    );
  }

  /** Waits until every selected workload has acknowledged the policy, and that is at least one. */
  enforced(name: string, withinMs = PATIENCE_MS): Promise<PlainObject> {
    return eventually(
      async () => {
        const policies = listOf(await this.ask('/v1/policies'), 'policies');
        const policy = policies.find((entry) => entry['name'] === name);
        const isEnforced = policy?.['isEnforced'] === true && policy['enforced'] !== '0/0';
        return isEnforced ? policy : undefined;
      },
      { what: `policy ${name} in force everywhere`, withinMs, everyMs: 5 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Folders alone: `await using lab = await openLab(); await lab.startControlPlane();` */
export async function openLab(): Promise<Lab> {
  const lab = new Lab(await mkdtemp(join(tmpdir(), 'weft-lab-')));
  await mkdir(lab.manifests);
  await mkdir(lab.state, { mode: 0o700 });
  return lab;
}

/** A lab whose control plane serves. */
export async function startLab(spec: ControlPlaneSpec = {}): Promise<Lab> {
  const lab = await openLab();
  try {
    await lab.startControlPlane(spec);
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
  return lab;
}
