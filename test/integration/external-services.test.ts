// Hosts outside the mesh: a workload that may call one speaks plain HTTP and is carried there by TLS; nobody else is, and what is refused is told.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { call, startTcpApp, type App } from '../support/lab-clients.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { curl, type Leaf, missingTools, OutsideCa, textOf } from '../support/tls-clients.ts';

const skip = missingTools() ?? false;
const HOST = 'api.pay.example';
let lab: Lab;
let web: LabSidecar;
let cart: LabSidecar;
let ca: OutsideCa;
let other: OutsideCa;
let dns: DnsServer;
let client: Leaf;
const servers: Outside[] = [];
const apps: App[] = [];

/** A server that nobody of the mesh runs: says whose certificate it was shown. */
class Outside {
  readonly server: https.Server;
  connections = 0;

  constructor(leaf: Leaf, options: https.ServerOptions = {}) {
    this.server = https.createServer(
      { cert: textOf(leaf.certificate), key: textOf(leaf.key), ...options },
      (request, response) => {
        const socket = request.socket as TLSSocket;
        response.end(
          JSON.stringify({
            host: request.headers.host,
            path: request.url,
            sni: socket.servername,
            version: socket.getProtocol(),
            client: socket.getPeerX509Certificate()?.subject,
          }),
        );
      },
    );
    this.server.on('secureConnection', () => this.connections++);
    this.server.on('tlsClientError', () => undefined);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }
}

async function outside(leaf: Leaf, options?: https.ServerOptions): Promise<Outside> {
  const made = new Outside(leaf, options);
  made.server.listen(0, '127.0.0.1');
  await once(made.server, 'listening');
  servers.push(made);
  return made;
}

const serviceYaml = (name: string, spec: object): string =>
  `${JSON.stringify({ apiVersion: 'mesh.weft.dev/v1', kind: 'ExternalService', metadata: { name, namespace: 'shop' }, spec })}\n`;
const dataYaml = (kind: 'Secret' | 'ConfigMap', name: string, values: object): string =>
  `${JSON.stringify({ apiVersion: 'v1', kind, metadata: { name, namespace: 'shop' }, [kind === 'Secret' ? 'stringData' : 'data']: values })}\n`;

const staticAt = (host: string, port: number, more: object = {}): object => ({
  hosts: [host],
  ports: [{ number: 80, protocol: 'HTTP', targetPort: port }],
  resolution: 'STATIC',
  addresses: ['127.0.0.1'],
  ...more,
});
const tls = (more: object = {}): object => ({
  tls: { ca: { configMap: { name: 'outside-ca' } }, ...more },
});

const ask = (sidecar: LabSidecar, host: string, path = '/') =>
  call(sidecar.http, path, { headers: { host } });
/** Until what was written is in force. */
const asked = (sidecar: LabSidecar, host: string, status: number) =>
  eventually(
    async () => {
      const answer = await ask(sidecar, host);
      return answer.status === status ? answer : undefined;
    },
    { what: `${status} of ${host}`, withinMs: 10_000 },
  );
const refusedWith = async (sidecar: LabSidecar, host: string): Promise<string> =>
  String(
    (
      await sidecar.access(
        ({ http, authority, reasonCode }) =>
          (authority === host || JSON.stringify(http ?? {}).includes(host)) &&
          typeof reasonCode === 'string' &&
          reasonCode !== '',
        `a refusal of ${host}`,
      )
    )['reasonCode'],
  );

before(async () => {
  if (skip !== false) return;
  ca = new OutsideCa();
  other = new OutsideCa('Another CA');
  client = ca.issue({ subject: '/CN=the client', usage: 'clientAuth' });
  dns = await startDnsServer({});
  lab = await startLab();
  await lab.write(
    'data.yaml',
    dataYaml('ConfigMap', 'outside-ca', { 'ca.crt': textOf(ca.certificate) }),
    dataYaml('Secret', 'pay-client', {
      'tls.crt': textOf(client.certificate),
      'tls.key': textOf(client.key),
    }),
  );
  const args = ['--access-log', 'all', '--dns-server', dns.address];
  const started = ['web-0', 'cart-0'].map((pod) =>
    lab.startSidecar({ pod, outboundHttp: true, args, outbound: ['db.pay.example:5432'] }),
  );
  [web, cart] = (await Promise.all(started)) as [LabSidecar, LabSidecar];
});

after(async () => {
  for (const { server } of servers) {
    server.closeAllConnections();
    server.close();
  }
  for (const app of apps) await app[Symbol.asyncDispose]();
  await lab?.[Symbol.asyncDispose]();
  await dns?.[Symbol.asyncDispose]();
  ca?.[Symbol.dispose]();
  other?.[Symbol.dispose]();
});

test('curl speaks plain HTTP, the host outside sees mutual TLS; another identity gets 502, and both are told', {
  skip,
}, async () => {
  const server = await outside(ca.issue({ altNames: `DNS:${HOST}` }), {
    ca: textOf(ca.certificate),
    requestCert: true,
    rejectUnauthorized: true,
  });
  const mutual = { mode: 'MUTUAL', clientCertificate: { secret: { name: 'pay-client' } } };
  const allowed = { allowedCallers: { principals: ['cluster.local/ns/shop/sa/web'] } };
  await lab.write(
    'pay.yaml',
    serviceYaml('pay', staticAt(HOST, server.port, { ...tls(mutual), ...allowed })),
  );
  await asked(web, HOST, 200);
  const answer = await curl(['-x', `http://${web.http}`, `http://${HOST}/pay?x=1`]);
  assert.equal(answer.status, 200);
  assert.deepEqual(JSON.parse(answer.body), {
    host: HOST,
    path: '/pay?x=1',
    sni: HOST,
    version: 'TLSv1.3',
    client: 'CN=the client',
  });
  const before_ = server.connections;
  const refused = await asked(cart, HOST, 502);
  assert.equal(refused.body, 'egress-not-allowed\n');
  assert.equal(await refusedWith(cart, HOST), 'egress-not-allowed');
  assert.ok((await cart.metric('weft_connections_refused_total', 'egress-not-allowed')) >= 1);
  assert.equal(server.connections, before_);
  const { state } = await lab.enforced('pay');
  assert.equal(state, 'Enforced', 'each has what it may have');
  const dump = await cart.ask('/config_dump');
  assert.ok(!dump.body.includes('pay-client'), 'who may not call is told of no certificate');
  const own = await web.ask('/config_dump');
  assert.ok(!own.body.includes('PRIVATE KEY'), 'no key in a dump');
});

const handshakes: readonly (readonly [string, () => Leaf, object, string])[] = [
  [
    'a certificate of another name',
    () => ca.issue({ altNames: 'DNS:evil.example' }),
    {},
    'upstream-name-mismatch',
  ],
  [
    'a name that stands in the subject alone',
    () => ca.issue({ subject: '/CN=n1.pay.example' }),
    {},
    'upstream-name-mismatch',
  ],
  [
    'a star over two labels',
    () => ca.issue({ altNames: 'DNS:*.example' }),
    {},
    'upstream-name-mismatch',
  ],
  [
    'an expired certificate',
    () => ca.issue({ altNames: 'DNS:n3.pay.example', days: -1 }),
    {},
    'CERT_HAS_EXPIRED',
  ],
  [
    'a certificate of another authority',
    () => other.issue({ altNames: 'DNS:n4.pay.example' }),
    {},
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  ],
  [
    'a certificate for clients alone',
    () => ca.issue({ altNames: 'DNS:n5.pay.example', usage: 'clientAuth' }),
    {},
    'INVALID_PURPOSE',
  ],
  [
    'TLS below the minimum',
    () => ca.issue({ altNames: 'DNS:n6.pay.example' }),
    { maxVersion: 'TLSv1.2' },
    'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  ],
];
handshakes.forEach(([what, leaf, options, reasonCode], at) => {
  test(`a server with ${what} is sent nothing`, { skip }, async () => {
    const host = `n${at}.pay.example`;
    const server = await outside(leaf(), options);
    const minVersion = reasonCode.includes('PROTOCOL_VERSION') ? 'TLSv1_3' : 'TLSv1_2';
    await lab.write(
      `n${at}.yaml`,
      serviceYaml(`n${at}`, staticAt(host, server.port, tls({ minVersion }))),
    );
    await asked(web, host, 503);
    assert.equal(await refusedWith(web, host), reasonCode);
  });
});

test('the name to expect, the server name to ask for and the roots can be others than the host says', {
  skip,
}, async () => {
  const server = await outside(ca.issue({ altNames: 'DNS:inner.example,IP:127.0.0.1' }));
  const named = tls({ sni: 'front.example', subjectAltNames: ['inner.example'] });
  await lab.write(
    'named.yaml',
    serviceYaml('named', staticAt('named.example', server.port, named)),
  );
  const answer = await asked(web, 'named.example', 200);
  assert.equal(JSON.parse(answer.body).sni, 'front.example');
  assert.equal(JSON.parse(answer.body).host, 'named.example');
});

test('names are resolved when they are called, answers that lead to this machine are not dialled, and one that is listed is', {
  skip,
}, async () => {
  const server = await outside(ca.issue({ altNames: 'DNS:dns.pay.example,DNS:open.pay.example' }));
  dns.records.set('dns.pay.example', ['127.0.0.1', '169.254.169.254']);
  dns.records.set('open.pay.example', ['127.0.0.1']);
  const spec = {
    ...staticAt('dns.pay.example', server.port, tls()),
    resolution: 'DNS',
    addresses: [],
  };
  const ttl = { dns: { minTtlSeconds: 1 } };
  await lab.write(
    'dns.yaml',
    serviceYaml('dns', { ...spec, ...ttl }),
    serviceYaml('open', {
      ...spec,
      hosts: ['open.pay.example'],
      allowedNetworks: ['127.0.0.1/32'],
    }),
    serviceYaml('gone', { ...spec, hosts: ['gone.pay.example'] }),
  );
  await asked(web, 'dns.pay.example', 503);
  assert.ok((await web.metric('weft_connections_refused_total', 'address-forbidden')) >= 1);
  await asked(web, 'open.pay.example', 200);
  const before_ = dns.asked.get('open.pay.example');
  await ask(web, 'open.pay.example');
  assert.equal(dns.asked.get('open.pay.example'), before_, 'the answer is held');
  await asked(web, 'gone.pay.example', 503);
  assert.ok((await web.metric('weft_connections_refused_total', 'name-not-resolved')) >= 1);
});

test('a rotated client certificate is in force without a restart, and a withdrawn host is called no more', {
  skip,
}, async () => {
  const server = await outside(ca.issue({ altNames: 'DNS:rotated.example' }), {
    ca: textOf(ca.certificate),
    requestCert: true,
  });
  const mutual = { mode: 'MUTUAL', clientCertificate: { secret: { name: 'rotating' } } };
  const write = async (leaf: Leaf): Promise<void> => {
    const values = { 'tls.crt': textOf(leaf.certificate), 'tls.key': textOf(leaf.key) };
    await lab.write('rotating.yaml', dataYaml('Secret', 'rotating', values));
  };
  await write(ca.issue({ subject: '/CN=first', usage: 'clientAuth' }));
  await lab.write(
    'rotated.yaml',
    serviceYaml('rotated', staticAt('rotated.example', server.port, tls(mutual))),
  );
  const first = await asked(web, 'rotated.example', 200);
  assert.equal(JSON.parse(first.body).client, 'CN=first');
  await write(ca.issue({ subject: '/CN=second', usage: 'clientAuth' }));
  await eventually(
    async () =>
      JSON.parse((await ask(web, 'rotated.example')).body).client === 'CN=second' || undefined,
    { what: 'the second certificate', withinMs: 5_000 },
  );
  await lab.remove('rotating.yaml');
  await asked(web, 'rotated.example', 503);
  await lab.remove('rotated.yaml');
  const answer = await asked(web, 'rotated.example', 502);
  assert.match(answer.body, /^(unknown-destination|egress-not-registered)/);
});

test('bytes that are no HTTP are carried to a database outside for whom they are, reset for others, and cut when it is withdrawn', {
  skip,
}, async () => {
  const echo = await startTcpApp();
  apps.push(echo);
  const port = Number(echo.address.split(':').at(-1));
  const spec = (account: string): string =>
    serviceYaml('db', {
      hosts: ['db.pay.example'],
      ports: [{ number: 5432, protocol: 'TCP', targetPort: port }],
      resolution: 'STATIC',
      addresses: ['127.0.0.1'],
      allowedCallers: { principals: [`cluster.local/ns/shop/sa/${account}`] },
    });
  await lab.write('db.yaml', spec('web'));
  const via = (sidecar: LabSidecar): string => sidecar.viaHost('db.pay.example:5432');
  const open = await eventually(
    async () => {
      const made = await connectEcho(via(web));
      return made === 'refused' ? undefined : made;
    },
    { what: 'a connection to the database', withinMs: 10_000 },
  );
  assert.equal(await connectEcho(via(cart)), 'refused');
  const closed = new Promise((resolve) => open.once('close', resolve));
  open.on('error', () => undefined);
  await lab.write('db.yaml', spec('cart'));
  await closed;
});

test('what is not registered is refused by name, and the control plane tells who was refused what', {
  skip,
}, async () => {
  const answer = await ask(web, 'www.unknown.example');
  assert.equal(answer.status, 502);
  assert.match(answer.body, /^egress-not-registered: www.unknown.example:80/);
  const refused = await eventually(
    async () => {
      const { refused: list } = await lab.ask('/v1/refused-egress');
      return (list as readonly Record<string, unknown>[]).find(
        ({ host, workload }) => host === 'www.unknown.example' && workload === 'web-0.shop',
      );
    },
    { what: 'the report of it', withinMs: 30_000 },
  );
  assert.equal(refused['reason'], 'egress-not-registered');
  assert.equal(refused['identity'], 'spiffe://cluster.local/ns/shop/sa/web');
});

async function connectEcho(address: string): Promise<net.Socket | 'refused'> {
  const at = address.lastIndexOf(':');
  const socket = net.connect(Number(address.slice(at + 1)), address.slice(0, at));
  socket.write('hello');
  const answered = once(socket, 'data').then(
    () => socket,
    () => 'refused' as const,
  );
  const closed = once(socket, 'close').then(
    () => 'refused' as const,
    () => 'refused' as const,
  );
  return Promise.race([answered, closed]);
}
