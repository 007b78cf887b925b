// Registries for tests: Debian's docker-registry where it can be had, and one in the process that answers as tests say.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCommand, installPackages, whyMissing } from '../bench/peers/packages.ts';
import { eventually } from './lab-wait.ts';
import { freePort } from './free-port.ts';

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly name: string;
}

export const digestOf = (bytes: string | Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** @returns why there can be none here, or `undefined`. */
export async function dockerRegistryMissing(): Promise<string | undefined> {
  await installPackages(['docker-registry'], () => undefined);
  return (await findCommand('docker-registry')) === undefined
    ? whyMissing('docker-registry')
    : undefined;
}

export async function startDockerRegistry(): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-registry-'));
  const name = `127.0.0.1:${await freePort()}`;
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: name },
  };
  const file = join(folder, 'config.yml');
  await writeFile(file, JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', file], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await eventually(async () => (await fetch(`http://${name}/v2/`)).ok, {
    what: 'a registry that answers',
    withinMs: 10_000,
  });
  return {
    name,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface FakeRegistry extends TestRegistry {
  /** By path, `/v2/shop/web/manifests/sha256:…`. */
  readonly content: Map<string, Buffer>;
  readonly asked: string[];
  /** Answers instead, when it says so. */
  intercept: (request: http.IncomingMessage, response: http.ServerResponse) => boolean;
}

/** Keeps manifests by tag and digest, and blobs; nothing else. */
export async function startFakeRegistry(): Promise<FakeRegistry> {
  const content = new Map<string, Buffer>();
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    const { url = '', method } = request;
    asked.push(`${method} ${url}`);
    if (registry.intercept(request, response)) return;
    if (method === 'GET') {
      const bytes = content.get(url);
      response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
      return;
    }
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const bytes = Buffer.concat(parts);
      if (method === 'POST') response.writeHead(202, { location: `${url}upload` }).end();
      else {
        const at = new URL(url, 'http://registry');
        const digest = at.searchParams.get('digest') ?? digestOf(bytes);
        const path = at.pathname.replace('/uploads/upload', `/${digest}`);
        content.set(path, bytes);
        content.set(path.slice(0, path.lastIndexOf('/') + 1) + digest, bytes);
        response.writeHead(201).end();
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const registry: FakeRegistry = {
    name: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    content,
    asked,
    intercept: () => false,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return registry;
}

/** Pushes as clients do. @returns the blob's digest. */
export async function pushBlob(registry: TestRegistry, repository: string, bytes: string | Buffer) {
  const begun = await fetch(`http://${registry.name}/v2/${repository}/blobs/uploads/`, {
    method: 'POST',
  });
  const at = new URL(begun.headers.get('location') ?? '', `http://${registry.name}`);
  const digest = digestOf(bytes);
  at.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  const body = new Uint8Array(Buffer.from(bytes));
  const put = await fetch(at, { method: 'PUT', body, headers });
  if (put.status !== 201) throw new Error(`Cannot push a blob: ${put.status} ${await put.text()}`);
  return digest;
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** @param tag absent: by its digest. @returns the manifest's digest. */
export async function pushManifest(
  registry: TestRegistry,
  repository: string,
  manifest: object,
  tag?: string,
): Promise<string> {
  const body = JSON.stringify(manifest);
  const digest = digestOf(body);
  const path = `http://${registry.name}/v2/${repository}/manifests/${tag ?? digest}`;
  const type = 'mediaType' in manifest ? String(manifest.mediaType) : MANIFEST;
  const put = await fetch(path, { method: 'PUT', body, headers: { 'content-type': type } });
  if (put.status !== 201) {
    throw new Error(`Cannot push a manifest: ${put.status} ${await put.text()}`);
  }
  return digest;
}

/** An image of one layer. @returns its digest. */
export async function pushImage(
  registry: TestRegistry,
  repository: string,
  text: string,
): Promise<string> {
  const config = '{}';
  return pushManifest(registry, repository, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: await pushBlob(registry, repository, config),
      size: config.length,
    },
    layers: [
      {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: await pushBlob(registry, repository, text),
        size: text.length,
      },
    ],
  });
}
