// Gets gRPC programs that know xDS and nothing of Weft: a server and a client with grpc-go, clients with grpc-js and with Python's grpcio.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { buildGoProgram } from '../bench/peers/go-program.ts';
import { eventually } from './lab-wait.ts';

const SOURCES = fileURLToPath(new URL('../grpc-xds', import.meta.url));
const PACKAGES = ['grpcio==1.85.1'];
const VENV = fileURLToPath(new URL('../../node_modules/.cache/py-grpcio-1.85.1', import.meta.url));
const INSTALL_MS = 170_000;
const CALL_MS = 10_000;

const run = promisify(execFile);
const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);

/** How such a program is started, or why there is none. */
export type GrpcProgram = { readonly argv: readonly string[] } | { readonly missing: string };
export type ClientKind = 'grpc-go' | 'grpc-js' | 'grpcio';

export async function goGrpc(): Promise<GrpcProgram> {
  const built = await buildGoProgram({ name: 'grpc-xds', sources: SOURCES, progress });
  return 'path' in built ? { argv: [built.path] } : built;
}

type Side = 'client' | 'server';

const jsGrpc = (side: Side): GrpcProgram => ({
  argv: [process.execPath, join(SOURCES, `${side}.ts`)],
});

/** Under its name only once it is whole: of two that make it at once, the first one's stays. */
export async function pyGrpc(side: Side = 'client'): Promise<GrpcProgram> {
  const argv = [join(VENV, 'bin', 'python3'), join(SOURCES, `${side}.py`)];
  if (existsSync(VENV)) return { argv };
  const made = `${VENV}.${process.pid}`;
  try {
    progress(`fetching ${PACKAGES.join(', ')} from PyPI`);
    await mkdir(join(VENV, '..'), { recursive: true });
    await run('python3', ['-m', 'venv', made]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-input', ...PACKAGES];
    await run(join(made, 'bin', 'python3'), pip, { timeout: INSTALL_MS });
    if (!existsSync(VENV)) await rename(made, VENV);
    return { argv };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `${PACKAGES.join(', ')}: it cannot be had: ${why.trim()}` };
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

export function clientProgram(kind: ClientKind): Promise<GrpcProgram> {
  switch (kind) {
    case 'grpc-go':
      return goGrpc();
    case 'grpc-js':
      return Promise.resolve(jsGrpc('client'));
    case 'grpcio':
      return pyGrpc();
    default:
      return kind satisfies never;
  }
}

async function serverProgram(kind: ClientKind): Promise<GrpcProgram> {
  if (kind === 'grpc-js') return jsGrpc('server');
  if (kind === 'grpcio') return pyGrpc('server');
  const program = await goGrpc();
  return 'argv' in program ? { argv: [...program.argv, 'server'] } : program;
}

/** One that runs: it says a JSON object a line. */
class GrpcProcess implements AsyncDisposable {
  readonly said: PlainObject[] = [];
  protected readonly child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #complaint = '';
  #code: number | null | undefined;

  constructor(argv: readonly string[], bootstrap: string | undefined) {
    const [command = '', ...arguments_] = argv;
    const env = {
      ...process.env,
      ...(bootstrap !== undefined && { GRPC_XDS_BOOTSTRAP: bootstrap }),
      // Without it a server of grpc-js refuses rules, and serves nobody.
      GRPC_XDS_EXPERIMENTAL_RBAC: 'true',
    };
    this.child = spawn(command, arguments_, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ended = once(this.child, 'close').then(([code]) => {
      this.#code = typeof code === 'number' ? code : null;
    });
    this.child.stdin?.on('error', () => undefined);
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-20_000);
    });
    if (this.child.stdout === null) throw new TypeError('Cannot hear the program: it has no pipe');
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const value: unknown = JSON.parse(line);
      if (isPlainObject(value)) this.said.push(value);
    });
  }

  get complaint(): string {
    return this.#complaint;
  }

  heard(what: string, isIt: (said: PlainObject) => boolean, withinMs = 20_000) {
    return eventually(
      () => {
        const found = this.said.find(isIt);
        if (found === undefined && this.#code !== undefined) {
          throw new Error(`it ended with ${this.#code}: ${this.#complaint}`);
        }
        return found;
      },
      { what, withinMs, everyMs: 5, told: () => `${JSON.stringify(this.said)} ${this.#complaint}` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#code === undefined) this.child.kill('SIGKILL');
    await this.#ended;
  }
}

export interface CallSpec {
  /** `xds:///prices.shop.svc.cluster.local:80`. */
  readonly target: string;
  readonly method?: string;
  readonly value?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeMs?: number;
  /** One after the other. */
  readonly count?: number;
  /** Waits for a connection as long as the call may take. */
  readonly waits?: boolean;
  /** On a channel of its own. */
  readonly fresh?: boolean;
}

export interface CallResult {
  readonly codes: readonly string[];
  readonly values: readonly string[];
  readonly message: string;
  readonly tookMs: number;
}

const texts = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.map(String) : [];

export class GrpcClient extends GrpcProcess {
  #calls = 0;

  /** @param enter a command that runs its arguments elsewhere: in another network. */
  static async start(
    kind: ClientKind,
    bootstrap: string | undefined,
    enter: readonly string[] = [],
  ): Promise<GrpcClient> {
    const program = await clientProgram(kind);
    assert.ok('argv' in program, JSON.stringify(program));
    const client = new GrpcClient([...enter, ...program.argv], bootstrap);
    await client.heard('the client', ({ ready }) => ready === true);
    return client;
  }

  async call(spec: CallSpec): Promise<CallResult> {
    const id = ++this.#calls;
    const { timeMs = CALL_MS, count = 1 } = spec;
    const order = { method: '/weft.test.Echo/Say', value: '', ...spec, timeMs, id };
    this.child.stdin?.write(`${JSON.stringify(order)}\n`);
    const said = await this.heard(`call ${id}`, (one) => one['id'] === id, timeMs * count + 5_000);
    return {
      codes: texts(said['codes']),
      values: texts(said['values']),
      message: String(said['message']),
      tookMs: Number(said['tookMs']),
    };
  }
}

export interface ServerSpec {
  readonly listen: string;
  readonly name: string;
  /** Absent: it serves in plaintext, without xDS; grpc-go alone. */
  readonly bootstrap?: string;
  /** Default grpc-go. */
  readonly kind?: ClientKind;
  /** A command that runs its arguments elsewhere: in another network. */
  readonly enter?: readonly string[];
}

export class GrpcServer extends GrpcProcess {
  #address = '';

  static async start(spec: ServerSpec): Promise<GrpcServer> {
    const { listen, name, bootstrap, kind, enter = [] } = spec;
    const program = await serverProgram(kind ?? 'grpc-go');
    assert.ok('argv' in program, JSON.stringify(program));
    const plain = bootstrap === undefined ? ['--plain'] : [];
    const argv = [...enter, ...program.argv, '--listen', listen, '--name', name, ...plain];
    const server = new GrpcServer(argv, bootstrap);
    try {
      const { address } = await server.heard('its address', (said) => 'address' in said);
      server.#address = String(address);
      if (bootstrap !== undefined) await server.mode('SERVING');
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get address(): string {
    return this.#address;
  }

  /** Until it is the newest. */
  mode(mode: 'SERVING' | 'NOT_SERVING'): Promise<PlainObject> {
    return this.heard(`mode ${mode}`, (said) => {
      const newest = this.said.findLast((one) => 'mode' in one);
      return said === newest && String(said['mode']).replace(' ', '_').toUpperCase() === mode;
    });
  }
}
