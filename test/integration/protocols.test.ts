// HTTP/1.1 between two applications looks the same with two sidecars between them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { call, connectRaw, failureOf, splitAddress } from '../support/lab-clients.ts';
import { type AwkwardApp, startAwkwardApp, writeBytes } from '../support/lab-http-apps.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const MIB = 1_048_576;
let lab: Lab;
let app: AwkwardApp;
let server: LabSidecar;
let client: LabSidecar;
let via: string;

before(async () => {
  lab = await startLab();
  app = await startAwkwardApp();
  [server, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'], outboundHttp: true }),
  ]);
  via = client.via('web.shop:80');
});

after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await app?.[Symbol.asyncDispose]();
});

const head = (method: string, path: string, ...lines: readonly string[]): string =>
  [`${method} ${path} HTTP/1.1`, 'host: web', ...lines, '', ''].join('\r\n');

test('one connection carries request after request, and the application sees few of its own', async () => {
  using agent = new KeptAlive();
  const before = app.connections;
  for (let count = 0; count < 20; count++) {
    const { status, headers } = await call(via, `/${count}`, { agent });
    assert.equal(status, 200);
    assert.notEqual(headers.connection, 'close');
  }
  assert.equal(agent.opened, 1);
  assert.ok(app.connections - before <= 1, 'and so do its sidecars');
  shown('weft', 'http1-called', 'http1-calls', 'calls-weft');
});

class KeptAlive extends http.Agent implements Disposable {
  opened = 0;
  constructor() {
    super({ keepAlive: true, maxSockets: 1 });
  }
  override createConnection(...args: Parameters<http.Agent['createConnection']>) {
    this.opened++;
    return super.createConnection(...args);
  }
  [Symbol.dispose](): void {
    this.destroy();
  }
}

test('pipelined requests are answered in their order', async () => {
  using raw = await connectRaw(via);
  raw.write(head('GET', '/a') + head('GET', '/bytes/5') + head('GET', '/c'));
  raw.write(head('GET', '/d', 'connection: close'));
  await raw.closed();
  const urls = [...raw.text.matchAll(/"url":"(\/\w)"|\r\n\r\n(x{5})/g)].map((m) => m[1] ?? m[2]);
  assert.deepEqual(urls, ['/a', 'xxxxx', '/c', '/d']);
});

test('chunked bodies stream both ways at once, chunk by chunk, and trailers follow them', async () => {
  using raw = await connectRaw(via);
  raw.write(head('POST', '/echo', 'transfer-encoding: chunked', 'trailer: x-sum'));
  raw.write('5\r\nfirst\r\n');
  await raw.reads('first');
  raw.write('6\r\nsecond\r\n');
  await raw.reads('second');
  raw.write('0\r\nx-sum: 42\r\n\r\n');
  await raw.reads('x-sum: 42\r\n\r\n');
  raw.write(head('GET', '/again'));
  await raw.reads('"url":"/again"');
});

test('100-continue: the body is sent when the application asks for it', async () => {
  using raw = await connectRaw(via);
  raw.write(head('POST', '/sink', 'content-length: 4', 'expect: 100-continue'));
  await raw.reads('HTTP/1.1 100 Continue\r\n\r\n');
  raw.write('body');
  await raw.reads('"bytes":4');
});

test('100-continue: a refusal comes instead, and the body is never sent', async () => {
  using raw = await connectRaw(via);
  raw.write(head('POST', '/refuse', 'content-length: 4', 'expect: 100-continue'));
  const text = await raw.reads('HTTP/1.1 417');
  assert.doesNotMatch(text, /100 Continue/);
});

test('a WebSocket goes through after its upgrade, both ways, with bytes sent right behind the head', async () => {
  using raw = await connectRaw(via);
  const upgrade = ['connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13'];
  raw.write(`${head('GET', '/socket', ...upgrade)}early `);
  await raw.reads('HTTP/1.1 101');
  await raw.reads('welcome early ');
  raw.write('later');
  await raw.reads('later');
  assert.match(raw.text, /upgrade: websocket\r\n/i);
  raw.socket.end();
  await raw.closed();
});

test('an upgrade that the mesh does not pass on is answered as a plain request', async () => {
  const { status, body } = await call(via, '/plain', {
    headers: {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
    },
  });
  assert.equal(status, 200);
  assert.doesNotMatch(body, /h2c|http2-settings/i);
});

test('answers without a body end at their head: HEAD, 204, 304', async () => {
  using raw = await connectRaw(via);
  raw.write(head('HEAD', '/bytes/1000') + head('GET', '/status/204') + head('GET', '/status/304'));
  raw.write(head('GET', '/after', 'connection: close'));
  await raw.closed();
  const statuses = [...raw.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '204', '304', '200']);
  assert.match(raw.text, /content-length: 1000\r\n/i);
  assert.doesNotMatch(raw.text, /xxx/);
  assert.match(raw.text, /"url":"\/after"/);
});

const rssOf = async (sidecar: LabSidecar): Promise<number> => {
  const text = await readFile(`/proc/${sidecar.daemon.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) * 1_024;
};

/** Waits until a number has stopped to grow. */
async function settled(value: () => number): Promise<number> {
  let last = -1;
  let same = 0;
  return eventually(
    () => {
      same = value() === last ? same + 1 : 0;
      last = value();
      return same > 25 ? last : undefined;
    },
    { what: 'a standstill', withinMs: 20_000 },
  );
}

const sha256Of = (bytes: number): string => {
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(MIB, 'x');
  for (let at = 0; at < bytes; at += MIB) hash.update(chunk);
  return hash.digest('hex');
};

test('64 MiB to an application that does not read: the sender waits, sidecars do not swell, all arrives', async () => {
  const rss = [await rssOf(server), await rssOf(client)];
  const request = http.request({
    ...splitAddress(via),
    path: '/sink-later',
    method: 'POST',
    agent: false,
    headers: { 'content-length': 64 * MIB },
  });
  const answer = new Promise<string>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      response.setEncoding('utf8').on('data', resolve);
    });
  });
  const written = writeBytes(request, 64 * MIB).then(() => request.end());
  await eventually(() => app.unread === 1, { what: 'the request' });
  const sent = await settled(() => request.socket?.bytesWritten ?? 0);
  assert.ok(sent < 48 * MIB, `${sent} bytes were taken in though nobody reads`);
  const grown = [(await rssOf(server)) - rss[0]!, (await rssOf(client)) - rss[1]!];
  assert.ok(Math.max(...grown) < 40 * MIB, `grown by ${grown.join(' and ')}`);
  app.readBodies();
  await written;
  assert.deepEqual(JSON.parse(await answer), { bytes: 64 * MIB, sha256: sha256Of(64 * MIB) });
});

test('64 MiB to a client that does not read: the application waits, sidecars do not swell, all arrives', async () => {
  const rss = [await rssOf(server), await rssOf(client)];
  const request = http.request({ ...splitAddress(via), path: `/bytes/${64 * MIB}`, agent: false });
  request.end();
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject);
  });
  await settled(() => response.socket.bytesRead);
  const grown = [(await rssOf(server)) - rss[0]!, (await rssOf(client)) - rss[1]!];
  assert.ok(Math.max(...grown) < 40 * MIB, `grown by ${grown.join(' and ')}`);
  const hash = createHash('sha256');
  for await (const chunk of response) if (chunk instanceof Buffer) hash.update(chunk);
  assert.equal(hash.digest('hex'), sha256Of(64 * MIB));
});

for (const path of ['/half', '/half-chunked']) {
  test(`an application that dies in the middle of its answer (${path}) is seen as a truncation`, async () => {
    const failure = await failureOf(call(via, path));
    assert.match(failure ?? 'it looked whole', /aborted|hang up|ECONNRESET/);
    using raw = await connectRaw(via);
    raw.write(head('GET', path));
    await raw.closed();
    assert.match(raw.text, /half/);
    assert.doesNotMatch(raw.text, /\r\n0\r\n\r\n$/);
  });
}

test('a client that goes away in the middle of its body ends the request at the application', async () => {
  using raw = await connectRaw(via);
  raw.write(head('POST', '/sink-later', 'content-length: 100'));
  raw.write('half');
  await eventually(() => app.unread === 1, { what: 'the request' });
  raw.socket.resetAndDestroy();
  await eventually(() => app.aborted === 1, { what: 'the end of the request' });
});

test('an answer that comes before the body is read reaches the client', async () => {
  using raw = await connectRaw(via);
  raw.write(head('POST', '/early', 'content-length: 1000000'));
  await raw.reads('no need');
});

test('the HTTP proxy sends each request to the service that its Host names', async () => {
  for (const host of ['web', 'web.shop', 'web.shop.svc.cluster.local', 'WEB.shop:80']) {
    const { status, body } = await call(client.http, '/by-host', { headers: { host } });
    assert.equal(status, 200, `${host}: ${body}`);
    assert.match(body, /by-host/);
  }
  using raw = await connectRaw(client.http);
  raw.write('GET http://web.shop/absolute HTTP/1.1\r\nhost: web.shop\r\n\r\n');
  await raw.reads('"url":"/absolute"');
  raw.write('GET http://web.shop/absolute HTTP/1.1\r\nhost: elsewhere\r\n\r\n');
  await raw.reads('host-differs');
  const unknown = await call(client.http, '/', { headers: { host: 'nobody.shop' } });
  assert.equal(unknown.status, 502);
  assert.match(unknown.body, /unknown-destination: no service nobody.shop.svc.cluster.local:80/);
  for (const host of ['', '..', 'web:0', 'web:99999', '10.0.0.1']) {
    const { status } = await call(client.http, '/', { headers: { host } });
    assert.ok(status === 400 || status === 502, `${host}: ${status}`);
  }
});

test('headers of the mesh that a client forges never reach the application, true ones do', async () => {
  const { body } = await call(via, '/', {
    headers: {
      'x-forwarded-client-cert': 'By=forged',
      'x-weft-peer': 'forged',
      'x-forwarded-for': '6.6.6.6',
      'x-request-id': 'mine-1',
    },
  });
  const { headers } = JSON.parse(body) as { headers: Record<string, string> };
  const cert = headers['x-forwarded-client-cert'] ?? '';
  assert.match(
    cert,
    /^By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web;Hash=[0-9a-f]{64};URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
  );
  assert.equal(headers['x-weft-peer'], undefined);
  assert.doesNotMatch(headers['x-forwarded-for'] ?? '', /6\.6\.6\.6/);
  assert.equal(headers['x-request-id'], 'mine-1');
  shown('weft', 'xfcc');
});

test('smuggling forms are refused by the first sidecar', async () => {
  const forms = [
    head('POST', '/', 'content-length: 4', 'transfer-encoding: chunked'),
    head('POST', '/', 'content-length: 4', 'content-length: 5'),
    head('POST', '/', 'transfer-encoding: chunked, identity'),
    head('GET', '/', 'a : b'),
    'GET / HTTP/1.1\nhost: web\n\n',
  ];
  for (const form of forms) {
    using raw = await connectRaw(via);
    raw.write(form);
    await raw.closed();
    assert.match(raw.text, /^HTTP\/1\.1 400 /, JSON.stringify(form));
  }
});
