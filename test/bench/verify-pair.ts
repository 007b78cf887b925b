// Refuses to measure a pair that is not what it is said to be: mutual TLS with the mesh's certificates, and policies that deny.
import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { call, failureOf } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Credential, credentialOf, type Identities } from './identities.ts';
import { PairChecks } from './pair-checks.ts';
import { CALLED, CALLER, POLICY, STRANGER } from './policies.ts';
import type { BenchTokens } from './mesh-policies.ts';
import type { Endpoint } from './peers/envoy-config.ts';
import type { Pair } from './peers/pairs.ts';
import type { MeshSpec } from './scenario.ts';

export interface Verified {
  readonly pair: string;
  readonly mesh: string;
  /** `TLSv1.3, Cipher is …` as openssl's client saw it. */
  readonly tls: string;
  readonly checks: readonly string[];
}

/** A configuration that is on its way arrives in this time. */
const SETTLE_MS = 10_000;
const CLIENT_MS = 10_000;

export interface VerifyOptions {
  readonly identities: Identities;
  /** For files that openssl reads. */
  readonly folder: string;
  /** Default: two policies over HTTP/1.1. */
  readonly mesh?: MeshSpec;
  readonly tokens?: BenchTokens;
}

/** @throws Error that says which check failed. */
export async function verifyPair(pair: Pair, options: VerifyOptions): Promise<Verified> {
  const { mesh, tokens } = options;
  const { front, inbound } = pair;
  const checks = new PairChecks(pair.name);
  const address = `${front.host}:${front.port}`;
  const token = mesh?.isJwtRequired === true ? tokens?.valid : undefined;
  const statusOf = async (path: string, method = 'GET', bearer = token): Promise<number> =>
    (await call(address, path, { method, headers: bearerOf(bearer) })).status;
  await eventually(async () => (await statusOf('/100b')) === 200, {
    what: `an answer through ${pair.name}`,
    withinMs: SETTLE_MS,
  });
  checks.passed.push('the allowed request is 200');
  const name = mesh?.name ?? '';
  if (inbound === undefined) {
    return { pair: pair.name, mesh: name, tls: 'none', checks: checks.passed };
  }
  const isJudged = mesh?.rules !== 0;
  if (isJudged) {
    const denied = await statusOf(POLICY.deniedPath);
    checks.check(denied === 403, 'the denied path is 403', String(denied));
    const posted = await statusOf('/100b', 'POST');
    checks.check(posted === 403, 'a method that no rule allows is 403', String(posted));
  } else checks.passed.push('there are no rules, so nothing is denied');
  if (token !== undefined) {
    const none = await statusOf('/100b', 'GET', '');
    checks.check(none === 403, 'without a token it is 403', String(none));
    const forged = await statusOf('/100b', 'GET', tokens?.forged);
    checks.check(forged === 401, 'a forged token is 401', String(forged));
  }
  const tls = await verifyTls(checks, inbound, { ...options, token, isJudged });
  return { pair: pair.name, mesh: name, tls, checks: checks.passed };
}

const bearerOf = (token: string | undefined): Record<string, string> =>
  token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` };

/** Straight to the called proxy, as openssl sees it. @returns version and cipher suite. */
async function verifyTls(
  checks: PairChecks,
  inbound: Endpoint,
  options: VerifyOptions & { readonly token: string | undefined; readonly isJudged: boolean },
): Promise<string> {
  const { identities, folder, token, isJudged } = options;
  const check: PairChecks['check'] = (...words) => checks.check(...words);
  const client = new OpensslClient({ inbound, bundlePem: identities.bundlePem, folder, token });
  const seen = await client.get(credentialOf(identities, CALLER));
  const tls = /^(?:New, )?(TLSv1\.3, Cipher is \S+)/m.exec(seen)?.[1] ?? '';
  check(tls !== '', 'TLS 1.3 is spoken', seen.slice(-500));
  const serverId = credentialOf(identities, CALLED).spiffeId;
  check(seen.includes(`URI:${serverId}`), 'openssl sees the server certificate', seen);
  check(seen.includes('Verify return code: 0 (ok)'), "it leads to the mesh's root", seen);
  check(seen.includes('HTTP/1.1 200'), 'the caller by its certificate is 200', seen.slice(-500));
  if (isJudged) {
    const stranger = await client.get(credentialOf(identities, STRANGER));
    check(stranger.includes('HTTP/1.1 403'), 'another identity is 403', stranger.slice(-500));
  }
  const nobody = await client.get(undefined);
  check(!nobody.includes('HTTP/1.1 '), 'without a certificate there is no answer', nobody);
  const plain = await failureOf(call(`${inbound.host}:${inbound.port}`, '/100b'));
  check(plain !== undefined, 'plain text is refused', 'it was answered');
  return tls;
}

class OpensslClient {
  readonly #inbound: Endpoint;
  readonly #bundlePem: string;
  readonly #folder: string;
  readonly #request: string;

  constructor(options: {
    readonly inbound: Endpoint;
    readonly bundlePem: string;
    readonly folder: string;
    readonly token: string | undefined;
  }) {
    this.#inbound = options.inbound;
    this.#bundlePem = options.bundlePem;
    this.#folder = options.folder;
    const fields = Object.entries(bearerOf(options.token)).map(
      ([name, of]) => `${name}: ${of}\r\n`,
    );
    this.#request = `GET /100b HTTP/1.1\r\nhost: prices.shop\r\n${fields.join('')}connection: close\r\n\r\n`;
  }

  /** One GET as openssl s_client does it. @returns all that it printed. */
  async get(own: Credential | undefined): Promise<string> {
    const file = (name: string): string => join(this.#folder, `verify-${name}.pem`);
    await writeFile(file('roots'), this.#bundlePem);
    const identity: string[] = [];
    if (own !== undefined) {
      await writeFile(file('key'), own.keyPem, { mode: 0o600 });
      await writeFile(file('chain'), own.chainPem);
      identity.push('-key', file('key'), '-cert', file('chain'), '-cert_chain', file('chain'));
    }
    const { host, port } = this.#inbound;
    const trust = ['-CAfile', file('roots'), '-alpn', 'http/1.1', '-showcerts', '-ign_eof'];
    const child = spawn(
      'openssl',
      ['s_client', '-connect', `${host}:${port}`, ...trust, ...identity],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    const timer = setTimeout(() => child.kill('SIGKILL'), CLIENT_MS);
    const parts: Buffer[] = [];
    child.stdout.on('data', (part: Buffer) => parts.push(part));
    child.stderr.on('data', (part: Buffer) => parts.push(part));
    // It may be gone before it is asked.
    child.stdin.on('error', () => {});
    child.stdin.write(this.#request);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.on('close', () => resolve());
    child.on('error', reject);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
    return withNames(Buffer.concat(parts).toString());
  }
}

/** s_client prints no alternative names: they are read from the leaf that it shows. */
function withNames(text: string): string {
  const begin = text.indexOf('-----BEGIN CERTIFICATE-----');
  const end = text.indexOf('-----END CERTIFICATE-----');
  if (begin === -1 || end === -1) return text;
  const leaf = new X509Certificate(text.slice(begin, end) + '-----END CERTIFICATE-----\n');
  return `${text}\n${leaf.subjectAltName ?? ''}`;
}
