// Serves the part of Vault's documented HTTP API that KV v2 and a login by JWT need, for tests; what it was asked is kept.
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';

interface KvVersion {
  readonly data: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
  deletedAt: string;
  isDestroyed: boolean;
}

export interface VaultServerOptions {
  readonly role?: string;
  readonly jwt?: string;
  /** Seconds. */
  readonly leaseSeconds?: number;
  readonly tls?: { readonly key: string; readonly cert: string };
}

export interface VaultServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** `GET /v1/…`, the newest last. */
  readonly asked: readonly string[];
  /** Tokens that are good now. */
  readonly tokens: ReadonlySet<string>;
  put(path: string, data: Readonly<Record<string, unknown>>): void;
  /** Of the newest version, as `vault kv delete` does. */
  deleteNewest(path: string): void;
  /** Answers 403 to whatever begins so, `/v1/secret/metadata/`. */
  forbid(prefix: string): void;
  allow(prefix: string): void;
  revokeTokens(): void;
  seal(isSealed: boolean): void;
  /** The JWT that a login must show from now on. */
  expectJwt(jwt: string): void;
}

/** With the defaults: role `weft`, JWT `jwt-1`, an engine at `secret`, a login at `auth/kubernetes`. */
export async function startVaultServer(options: VaultServerOptions = {}): Promise<VaultServer> {
  const { role = 'weft', leaseSeconds = 3_600, tls } = options;
  let jwt = options.jwt ?? 'jwt-1';
  let isSealed = false;
  const asked: string[] = [];
  const tokens = new Set<string>();
  const forbidden = new Set<string>();
  const places = new Map<string, KvVersion[]>();
  const auth = (): object => {
    const client_token = randomUUID();
    tokens.add(client_token);
    return { auth: { client_token, lease_duration: leaseSeconds, renewable: true } };
  };
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '' } = request;
    asked.push(`${method} ${url}`);
    const body = await readBody(request);
    const answer = (status: number, value: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (isSealed) return answer(503, { errors: ['Vault is sealed'] });
    if (url === '/v1/auth/kubernetes/login' && method === 'POST') {
      const isGood = body['role'] === role && body['jwt'] === jwt;
      return isGood ? answer(200, auth()) : answer(403, { errors: ['permission denied'] });
    }
    const token = request.headers['x-vault-token'];
    if (typeof token !== 'string' || !tokens.has(token)) {
      return answer(403, { errors: ['permission denied'] });
    }
    if (url === '/v1/auth/token/lookup-self') return answer(200, { data: {} });
    if (url === '/v1/auth/token/renew-self') {
      return answer(200, {
        auth: { client_token: token, lease_duration: leaseSeconds, renewable: true },
      });
    }
    if (url === '/v1/auth/token/revoke-self') {
      tokens.delete(token);
      response.writeHead(204).end();
      return;
    }
    if ([...forbidden].some((prefix) => url.startsWith(prefix))) {
      return answer(403, { errors: ['permission denied'] });
    }
    readPlace(places, url, answer);
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response).catch(() => response.destroy());
  };
  const server =
    tls === undefined ? http.createServer(onRequest) : https.createServer(tls, onRequest);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    asked,
    tokens,
    put(path, data) {
      const createdAt = new Date().toISOString();
      const versions = places.get(path) ?? [];
      places.set(path, [...versions, { data, createdAt, deletedAt: '', isDestroyed: false }]);
    },
    deleteNewest(path) {
      const newest = places.get(path)?.at(-1);
      if (newest !== undefined) newest.deletedAt = new Date().toISOString();
    },
    forbid: (prefix) => void forbidden.add(prefix),
    allow: (prefix) => void forbidden.delete(prefix),
    revokeTokens: () => tokens.clear(),
    seal(value) {
      isSealed = value;
    },
    expectJwt(value) {
      jwt = value;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const text = Buffer.concat(parts).toString('utf8');
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

const metadataOf = (version: KvVersion): object => ({
  created_time: version.createdAt,
  deletion_time: version.deletedAt,
  destroyed: version.isDestroyed,
});

function readPlace(
  places: ReadonlyMap<string, readonly KvVersion[]>,
  url: string,
  answer: (status: number, value: object) => void,
): void {
  const [path = '', query = ''] = url.split('?');
  const [, , , what, ...rest] = path.split('/');
  const versions = places.get(rest.map(decodeURIComponent).join('/'));
  if (versions === undefined) return answer(404, { errors: [] });
  if (what === 'metadata') {
    const all = versions.map((version, at) => [String(at + 1), metadataOf(version)] as const);
    return answer(200, {
      data: { current_version: versions.length, versions: Object.fromEntries(all) },
    });
  }
  const number = Number(new URLSearchParams(query).get('version') ?? versions.length);
  const version = versions[number - 1];
  if (what !== 'data' || version === undefined) return answer(404, { errors: [] });
  const metadata = { ...metadataOf(version), version: number };
  if (version.deletedAt !== '') return answer(404, { data: { data: null, metadata } });
  answer(200, { data: { data: version.data, metadata } });
}
