// One Pod of an Envoy lab: its application, its sidecar, and what both say.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { DaemonProcess } from '../../src/cli/demo/daemon-process.ts';
import type { AppAnswer, AppCall } from './envoy-lab-app.ts';

const run = promisify(execFile);
const APP = fileURLToPath(new URL('./envoy-lab-app.ts', import.meta.url));
const APP_UID = 1_000;
const CALL_MS = 60_000;

/** `envoy`: by the real command; `weft`: Weft's own sidecar; `none`: nothing, outside the mesh. */
export type LabProxy = 'envoy' | 'weft' | 'none';

export interface EnvoyPodSpec {
  readonly name: string;
  readonly proxy: LabProxy;
  /** Options of the sidecar besides. */
  readonly args?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What a Pod has of its lab. */
export interface PodPlace {
  readonly root: string;
  /** PEM of certificate and key, for the application's own TLS. */
  readonly certificate: string;
  enter(host: string): readonly string[];
  spawnSidecar(pod: EnvoyPod, more: readonly string[]): Promise<DaemonProcess>;
}

export class EnvoyPod {
  readonly spec: EnvoyPodSpec;
  readonly ip: string;
  readonly vip: string;
  readonly #lab: PodPlace;
  #app: ChildProcess | undefined;
  sidecar: DaemonProcess | undefined;
  ready: PlainObject = {};
  #calls = 0;

  constructor(
    lab: PodPlace,
    spec: EnvoyPodSpec,
    place: { readonly ip: string; readonly vip: string },
  ) {
    this.#lab = lab;
    this.spec = spec;
    this.ip = place.ip;
    this.vip = place.vip;
  }

  get name(): string {
    return this.spec.name;
  }

  get logFile(): string {
    return join(this.#lab.root, `${this.name}.log`);
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** The access-log lines so far. */
  access(): readonly PlainObject[] {
    return this.log
      .split('\n')
      .filter((line) => line.includes('"msg":"access"'))
      .map((line): PlainObject => {
        const value: unknown = JSON.parse(line);
        return isPlainObject(value) ? value : {};
      });
  }

  async startApp(): Promise<void> {
    const [command, ...args] = [
      ...this.#lab.enter(this.name),
      'setpriv',
      `--reuid=${APP_UID}`,
      `--regid=${APP_UID}`,
      '--clear-groups',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      APP,
    ];
    const app = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: {
        ...process.env,
        NODE_TEST_CONTEXT: '',
        APP_NAME: this.name,
        APP_ADDRESS: this.ip,
        APP_CERTIFICATE: this.#lab.certificate,
      },
    });
    this.#app = app;
    await once(app, 'message');
  }

  /** A call that the application makes. */
  async call(call: AppCall): Promise<AppAnswer> {
    const app = this.#app;
    assert.ok(app !== undefined, `${this.name} has no application`);
    const id = ++this.#calls;
    const { promise, resolve, reject } = Promise.withResolvers<AppAnswer>();
    const take = (message: unknown): void => {
      if (isPlainObject(message) && message['id'] === id) resolve(message['answer'] as AppAnswer);
    };
    const timer = setTimeout(() => reject(new Error(`no answer of ${this.name}`)), CALL_MS);
    app.on('message', take);
    app.send({ id, call });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      app.off('message', take);
    }
  }

  /** What the application of `to` says that it was asked; fails with what came instead. */
  async echo(call: AppCall): Promise<PlainObject> {
    const { status, body } = await this.call(call);
    assert.equal(status, 200, `${this.name}: ${body}`);
    const value: unknown = JSON.parse(body);
    assert.ok(isPlainObject(value));
    return value;
  }

  /** An HTTP request in the Pod's network, of root: past the redirect only to loopback. */
  async get(port: number, path: string, host = '127.0.0.1', method = 'GET'): Promise<AppAnswer> {
    const from = host === '127.0.0.1' ? this.name : 'switch';
    const script = `try{const r=await fetch('http://${host}:${port}${path}',{method:'${method}',signal:AbortSignal.timeout(5000)});
      console.log(JSON.stringify({status:r.status,body:await r.text(),headers:{}}))}catch(e){console.log(JSON.stringify({status:0,body:String(e),headers:{}}))}`;
    const [ip = '', ...args] = this.#lab.enter(from);
    const { stdout } = await run(
      ip,
      [...args, process.execPath, '--input-type=module', '-e', script],
      { maxBuffer: 64 * 1_024 * 1_024 },
    );
    return JSON.parse(stdout);
  }

  async startSidecar(more: readonly string[] = []): Promise<void> {
    this.sidecar = await this.#lab.spawnSidecar(this, more);
    this.ready = await this.sidecar.ready();
  }

  /** `config_dump` of its Envoy. */
  async configDump(): Promise<PlainObject> {
    const { body } = await this.get(15_000, '/config_dump');
    const value: unknown = JSON.parse(body);
    assert.ok(isPlainObject(value));
    return value;
  }

  /** Envoy's own figures by name. */
  async stats(filter: string): Promise<ReadonlyMap<string, number>> {
    const { body } = await this.get(15_000, `/stats?filter=${encodeURIComponent(filter)}`);
    return new Map(
      body.split('\n').flatMap((line): [string, number][] => {
        const at = line.lastIndexOf(': ');
        const value = Number(line.slice(at + 2));
        return at === -1 || Number.isNaN(value) ? [] : [[line.slice(0, at), value]];
      }),
    );
  }

  /** Nothing that it was sent was refused, now or before. */
  async checkNothingRefused(): Promise<void> {
    if (this.spec.proxy !== 'envoy' || this.sidecar === undefined) return;
    const dump = JSON.stringify(await this.configDump());
    assert.equal(
      dump.split('"error_state"').length - 1,
      0,
      `${this.name}: ${dump.slice(0, 4_000)}`,
    );
    const rejected = [...(await this.stats('update_rejected'))].filter(([, count]) => count > 0);
    assert.deepEqual(rejected, [], `${this.name} refused what it was sent:\n${this.log}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#app?.kill('SIGKILL');
    await this.sidecar?.stop();
  }
}
