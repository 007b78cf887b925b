// The endpoint that others fetch our keys from: what it says, how it proves who it is, and what it does not do for anybody.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempDisposable, rename, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { test } from 'node:test';
import { openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { readBundleDocument } from '@weft/model/federation/bundle-document';
import { parseTrustDomain } from '@weft/model/identity';
import { peerIdentity } from '@weft/model/x509';
import { pino } from 'pino';
import { eventually } from '../../../test/support/lab-wait.ts';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { type BundleEndpointOptions, openBundleEndpoint } from './bundle-endpoint.ts';

const DOMAIN = 'mesh.test';
const log = pino({ level: 'silent' });
const listen = { host: '127.0.0.1', port: 0 };

async function open(options: Partial<BundleEndpointOptions> = {}, requestTimeoutMs?: number) {
  await using making = new AsyncDisposableStack();
  const clock = createTurnableClock();
  const trustDomain = parseTrustDomain(DOMAIN);
  assert.ok(trustDomain !== undefined);
  const store = createMemoryStore();
  const authority = making.use(await openAuthority({ store, trustDomain, clock }));
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const endpoint = making.use(
    await openBundleEndpoint(
      { listen, ...options },
      {
        authority,
        ...names,
        clock,
        log,
        ...(requestTimeoutMs !== undefined && { requestTimeoutMs }),
      },
    ),
  );
  const owned = making.move();
  return {
    authority,
    clock,
    endpoint,
    port: Number(endpoint.address.split(':')[1]),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function ask(port: number, ca: string, more: https.RequestOptions = {}, body?: string) {
  const where = { host: '127.0.0.1', port, path: '/', ca, agent: false } as const;
  const request = https.request({ ...where, ...more });
  request.end(body);
  const [response] = await once(request, 'response');
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  const { socket } = response;
  return {
    status: response.statusCode,
    headers: response.headers,
    text: Buffer.concat(parts).toString(),
    certificate: socket.getPeerX509Certificate?.(),
  };
}

test('the document has our roots and token keys, its number grows with them, and who knows it is told so in no bytes', async () => {
  await using rig = await open({ refreshHintSeconds: 90 });
  const ca = rig.authority.bundle().pem;
  const first = await ask(rig.port, ca);
  assert.equal(first.status, 200);
  assert.equal(first.headers['content-type'], 'application/json');
  assert.equal(first.headers['cache-control'], 'no-cache');
  const read = readBundleDocument(first.text, DOMAIN);
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual(read.bundle.x509Authorities, rig.authority.bundle().rootsDer);
  assert.deepEqual([read.bundle.jwtAuthorities.length, read.bundle.refreshHintSeconds], [1, 90]);
  const { etag = '' } = first.headers;
  const same = await ask(rig.port, ca, { headers: { 'if-none-match': `"x", W/${etag}` } });
  assert.deepEqual([same.status, same.text, same.headers.etag], [304, '', etag]);
  await rig.authority.startRotation();
  const next = await eventually(
    async () => {
      const answer = await ask(rig.port, ca, { headers: { 'if-none-match': etag } });
      return answer.status === 200 ? answer : undefined;
    },
    { what: 'the next document' },
  );
  const other = readBundleDocument(next.text, DOMAIN);
  assert.ok(other.ok && other.bundle.x509Authorities.length === 2);
  assert.ok((other.bundle.sequence ?? 0) > (read.bundle.sequence ?? 0));
});

test('it proves to be the control plane, by SPIFFE id, to clients that show nothing', async () => {
  await using rig = await open();
  const socket = tls.connect({
    host: '127.0.0.1',
    port: rig.port,
    ca: rig.authority.bundle().pem,
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  const identity = peerIdentity(socket.getPeerX509Certificate()?.raw ?? Buffer.of());
  socket.destroy();
  assert.ok(identity.ok);
  assert.equal(identity.spiffeId, rig.authority.controlPlaneId);
  assert.ok(identity.serverAuth);
});

const REFUSED: readonly (readonly [string, https.RequestOptions, string | undefined, number])[] = [
  ['HEAD', { method: 'HEAD' }, undefined, 405],
  ['POST', { method: 'POST' }, 'x', 405],
  ['another path', { path: '/other' }, undefined, 404],
  ['a query', { path: '/?x' }, undefined, 404],
  ['a body', { method: 'GET', headers: { 'content-length': 1 } }, 'x', 413],
];
for (const [claim, options, body, status] of REFUSED) {
  test(`${claim} is answered ${status}, counted, and ends the connection`, async () => {
    await using rig = await open();
    const answer = await ask(rig.port, rig.authority.bundle().pem, options, body);
    assert.deepEqual([answer.status, answer.headers.connection], [status, 'close']);
    assert.equal(rig.endpoint.answers.get(status), 1);
  });
}

test('a header without end ends the connection, and not the endpoint (CVE-2022-24726)', async () => {
  await using rig = await open();
  const ca = rig.authority.bundle().pem;
  const socket = tls.connect({ host: '127.0.0.1', port: rig.port, ca });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  socket.write(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(32_768)}`);
  await once(socket, 'close');
  assert.equal((await ask(rig.port, ca)).status, 200);
});

test('who does not say what he wants in time is let go', async () => {
  await using rig = await open({}, 200);
  const socket = tls.connect({ host: '127.0.0.1', port: rig.port, ca: rig.authority.bundle().pem });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  socket.write('GET / HTTP/1.1\r\nhost: ');
  await once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
});

test('a new root waits until others had the time to fetch it', async () => {
  await using rig = await open({ refreshHintSeconds: 60 });
  rig.clock.turn(600_000);
  assert.deepEqual(rig.endpoint.waitsFor(), []);
  await rig.authority.startRotation();
  await eventually(() => rig.authority.publication.current() !== undefined, { what: 'published' });
  assert.equal(rig.endpoint.waitsFor().length, 1);
  rig.clock.turn(119_000);
  assert.equal(rig.endpoint.waitsFor().length, 1);
  rig.clock.turn(1_000);
  assert.deepEqual(rig.endpoint.waitsFor(), []);
});

test('with files it serves their certificate, the next one when they are replaced, and the old one while they do not fit', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'weft-endpoint-'));
  const [certificateFile, keyFile] = ['tls.crt', 'tls.key'].map((name) =>
    join(directory.path, name),
  );
  assert.ok(certificateFile !== undefined && keyFile !== undefined);
  const web = createTestPki('web.test');
  const issue = () => web.issue({ uris: ['https://web.test'] });
  const put = async (path: string, text: string): Promise<void> => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  const [first, second] = [issue(), issue()];
  await put(certificateFile, first.chainPem);
  await put(keyFile, first.keyPem);
  await using rig = await open({ web: { certificateFile, keyFile } });
  assert.equal(rig.endpoint.profile, 'https_web');
  const shown = async (): Promise<string> => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: rig.port,
      ca: web.bundlePem,
      checkServerIdentity: () => undefined,
    });
    await once(socket, 'secureConnect');
    const text = socket.getPeerX509Certificate()?.toString() ?? '';
    socket.destroy();
    return text;
  };
  const before = await shown();
  assert.ok(first.chainPem.startsWith(before.trim()));
  await put(certificateFile, second.chainPem);
  rig.clock.turn(5_000);
  assert.equal(await shown(), before, 'a certificate without its key');
  await put(keyFile, second.keyPem);
  await eventually(
    async () => {
      rig.clock.turn(5_000);
      return second.chainPem.startsWith((await shown()).trim());
    },
    { what: 'the next certificate' },
  );
});

test('files that do not fit together, or are not there, are a failure at the start', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'weft-endpoint-'));
  const path = (name: string): string => join(directory.path, name);
  const web = { certificateFile: path('a'), keyFile: path('b') };
  await assert.rejects(open({ web }), /ENOENT/);
  const pki = createTestPki('web.test');
  await writeFile(web.certificateFile, pki.issue({ uris: [] }).chainPem);
  await writeFile(web.keyFile, pki.issue({ uris: [] }).keyPem);
  await assert.rejects(open({ web }), /is the key of another/);
});
