// gRPC programs without a proxy that take everything from Weft by xds:///: whom they call, how often, how long, and that nobody answers in another's place.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  planeOf,
  PORT,
  type ProxylessPod,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import {
  type ClientKind,
  clientProgram,
  type GrpcClient,
  type GrpcServer,
} from '../support/grpc-programs.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { podYaml, serviceYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';
import type { Capability } from '../data-planes/rows.ts';

const KINDS: readonly ClientKind[] = ['grpc-go', 'grpc-js', 'grpcio'];
const PRICES = targetOf('prices');
const SERVICE = [{ name: 'grpc', port: 80, targetPort: PORT }];
const missing = new Map<ClientKind, string>();

const stack = new AsyncDisposableStack();
let lab: Lab;
let web: ProxylessPod;
const servers = new Map<string, GrpcServer>();
const clients = new Map<ClientKind, GrpcClient>();

async function startPrices(pod: string): Promise<ProxylessPod> {
  const service = pod === 'prices-0' ? SERVICE : [];
  const at = await startProxyless(lab, { pod, port: PORT, service });
  servers.set(pod, stack.use(await startServer(at)));
  return at;
}

const TRAFFIC = `
apiVersion: mesh.weft.dev/v1
kind: TrafficPolicy
metadata: { name: prices, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: prices }]
  retries: { attempts: 3, on: [unavailable], backOff: { base: 5ms, max: 20ms } }
---
apiVersion: mesh.weft.dev/v1
kind: TrafficPolicy
metadata: { name: slow, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: slow }]
  timeouts: { request: 700ms }
`;

before(async () => {
  for (const kind of KINDS) {
    const program = await clientProgram(kind);
    if ('missing' in program) missing.set(kind, program.missing);
  }
  if (missing.has('grpc-go')) return;
  lab = stack.use(await startLab());
  const slow = serviceYaml({ name: 'slow', app: 'prices', ports: SERVICE });
  await lab.write('traffic.yaml', TRAFFIC, slow);
  web = await startProxyless(lab, { pod: 'web-0' });
  await startPrices('prices-0');
  for (const kind of KINDS)
    if (!missing.has(kind)) clients.set(kind, stack.use(await startClient(kind, web)));
});
after(() => stack.disposeAsync());

/** Of a client of the kind, or why there is none. */
const testEach = (
  name: string,
  run: (client: GrpcClient) => Promise<void>,
  ...shows: readonly Capability[]
): void => {
  for (const kind of KINDS) {
    test(`${kind} ${name}`, async (t) => {
      const client = clients.get(kind);
      const why = missing.get(kind) ?? missing.get('grpc-go') ?? 'nothing was started';
      if (client === undefined) return t.skip(why);
      await run(client);
      shown(planeOf(kind), ...shows);
    });
  }
};

const names = (values: readonly string[]): readonly string[] =>
  [...new Set(values.map((value) => value.split(' ')[0] ?? ''))].toSorted();

testEach(
  'calls a server of grpc-go by its name, and each knows whom it speaks to',
  async (client) => {
    const { codes, values, message } = await client.call({ target: PRICES });
    assert.deepEqual(codes, ['OK'], message);
    assert.deepEqual(values, ['prices-0 spiffe://cluster.local/ns/shop/sa/web']);
  },
  'enrols',
  'grpc-calls',
  'calls-grpc',
);

testEach(
  'has a retry of the Service made good what was unavailable, and no more often',
  async (client) => {
    const call = (value: string) =>
      client.call({ target: PRICES, method: '/weft.test.Echo/Fail', value });
    const id = `${process.hrtime.bigint()}`;
    assert.deepEqual((await call(`${id}a:2`)).codes, ['OK']);
    assert.deepEqual((await call(`${id}b:9`)).codes, ['UNAVAILABLE']);
  },
  'retries',
);

for (const kind of KINDS) {
  test(`${kind} gives a call up after the Service's time for it`, async (t) => {
    if (!clients.has(kind)) return t.skip(missing.get(kind) ?? 'nothing was started');
    await using client = await startClient(kind, web);
    const slow = { target: targetOf('slow'), method: '/weft.test.Echo/Slow' };
    const { codes, tookMs, message } = await client.call(slow);
    // Both sides know the limit: where the server is first, its reset is what the client is told.
    const code = codes[0]?.replace('_', '') ?? '';
    assert.ok(['DEADLINEEXCEEDED', 'CANCELLED'].includes(code), `${code} ${message}`);
    assert.ok(tookMs >= 600 && tookMs < 9_000, `${tookMs} ms`);
    shown(planeOf(kind), 'timeouts');
  });
}

test('a new endpoint is called as often as the others, and one that is gone no more', async (t) => {
  if (clients.size === 0) return t.skip('nothing was started');
  await startPrices('prices-1');
  for (const [kind, client] of clients) {
    await eventually(
      async () => {
        const { values } = await client.call({ target: PRICES, count: 10 });
        return names(values).length === 2;
      },
      { what: `${kind} calls both`, withinMs: 10_000 },
    );
    const { codes, values } = await client.call({ target: PRICES, count: 40 });
    assert.ok(
      codes.every((code) => code === 'OK'),
      `${kind} ${codes.join(' ')}`,
    );
    const first = values.filter((value) => value.startsWith('prices-0')).length;
    assert.ok(first >= 8 && first <= 32, `${kind}: ${first} of 40`);
  }
  await lab.remove('pod-prices-1.yaml');
  for (const [kind, client] of clients) {
    await eventually(
      async () => {
        const { values } = await client.call({ target: PRICES, count: 10 });
        return names(values).join() === 'prices-0';
      },
      { what: `${kind} calls the one that is left`, withinMs: 10_000 },
    );
    shown(planeOf(kind), 'balances');
  }
});

test('a server that shows the certificate of somebody else is refused by every client', async (t) => {
  if (clients.size === 0) return t.skip('nothing was started');
  const thief = await startProxyless(lab, { pod: 'thief-0', port: PORT });
  await using server = await startServer(thief);
  assert.equal(server.address, `${thief.podIp}:${PORT}`);
  // The Pod of `bank` is said to be where the server of another account listens.
  const bank = podYaml({ name: 'bank-0', ip: thief.podIp, ports: [PORT] });
  await lab.write('pod-bank-0.yaml', bank, serviceYaml({ name: 'bank', ports: SERVICE }));
  for (const [kind, client] of clients) {
    const call = (service: string) =>
      client.call({ target: targetOf(service), timeMs: 4_000, fresh: true });
    const own = await call('thief');
    assert.deepEqual(own.codes, ['OK'], `${kind} ${own.message}`);
    const refused = await call('bank');
    assert.deepEqual(refused.codes, ['UNAVAILABLE'], `${kind} ${refused.message}`);
    shown(planeOf(kind), 'exact-identity');
  }
});

test('the key is in a file that its owner alone reads, and goes with the agent', async (t) => {
  if (clients.size === 0) return t.skip('nothing was started');
  const lone = await startProxyless(lab, { pod: 'lone-0' });
  const folder = `${lone.bootstrap}.d`;
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const file of ['tls.key', 'tls.crt', 'ca.crt'])
    assert.equal(statSync(`${folder}/identity/${file}`).mode & 0o777, 0o600, file);
  assert.equal(statSync(`${folder}/xds.sock`).mode & 0o777, 0o600);
  const bootstrap = readFileSync(lone.bootstrap, 'utf8');
  assert.ok(!bootstrap.includes('PRIVATE'));
  assert.equal(JSON.parse(bootstrap).node.id, 'lone-0.shop');
  assert.equal((await lone.agent.daemon.stop()).code, 0);
  assert.throws(() => statSync(lone.bootstrap), /ENOENT/);
  assert.throws(() => statSync(`${folder}/identity/tls.key`), /ENOENT/);
});

test('options of proxies are refused by name, and so is an agent without a bootstrap', async () => {
  const given = ['--pod', 'web-0', '--namespace', 'shop', '--pod-ip', '127.0.0.1', '--bundle', 'b'];
  const file = ['--grpc-bootstrap', '/tmp/never.json'];
  const refusal = async (...more: readonly string[]): Promise<string> => {
    const { code, stderr } = await runWeft(['sidecar', ...given, ...more]);
    assert.notEqual(code, 0);
    return stderr;
  };
  const inbound = ['--inbound', '8080=127.0.0.1:1'];
  assert.match(await refusal('--proxy', 'none', ...file, ...inbound), /--inbound is of proxies/);
  assert.match(await refusal('--proxy=none', ...file, '--transparent'), /--transparent is of prox/);
  const files = ['--credentials-dir', '/tmp/never'];
  const credentials = await refusal('--proxy', 'none', ...file, ...files);
  assert.match(credentials, /--credentials-dir is of proxies/);
  assert.match(await refusal('--proxy', 'none'), /--grpc-bootstrap/);
  const relative = await refusal('--proxy', 'none', '--grpc-bootstrap', 'here.json');
  assert.match(relative, /no absolute path/);
});

test('nothing that the programs were given was refused by them', async (t) => {
  if (clients.size === 0) return t.skip('nothing was started');
  const { body } = await web.agent.ask('/metrics');
  assert.match(body, /weft_agent_answers_total\{answer="accepted"\} [1-9]/);
  assert.doesNotMatch(body, /weft_agent_answers_total\{answer="refused"\} [1-9]/);
});
