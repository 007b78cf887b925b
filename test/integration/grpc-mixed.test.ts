// Programs without a proxy and Weft's sidecars call each other, certificates are replaced while they do, and the control plane may be away.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  planeOf,
  PORT,
  principalOf,
  SENDS_NAME,
  type ProxylessPod,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import {
  type ClientKind,
  clientProgram,
  GrpcClient,
  goGrpc,
  GrpcServer,
} from '../support/grpc-programs.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { modeYaml, policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, openLab, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const KINDS: readonly ClientKind[] = ['grpc-go', 'grpc-js', 'grpcio'];
const SERVICE = [{ name: 'grpc', port: 80, targetPort: PORT }];
const ok = (count: number): readonly string[] => Array.from({ length: count }, () => 'OK');

async function whyNot(kinds: readonly ClientKind[] = []): Promise<string | undefined> {
  const programs = [await goGrpc(), ...(await Promise.all(kinds.map(clientProgram)))];
  return programs.flatMap((one) => ('missing' in one ? [one.missing] : []))[0];
}

/** One workload behind a sidecar, whose policy lets `web` in by one method. */
async function startFront(lab: Lab, mode: 'PERMISSIVE' | 'STRICT', app: GrpcServer) {
  const allow = `[{ from: [{ source: { principals: ["${principalOf('web')}"] } }], to: [{ operation: { paths: ["/weft.test.Echo/Say"] } }] }]`;
  await lab.write(
    'policies.yaml',
    modeYaml(mode),
    policyYaml({ name: 'allow-web', action: 'ALLOW', app: 'front', rules: allow }),
  );
  const inbound = { [PORT]: app.address };
  const front = await lab.startSidecar({ pod: 'front-0', inbound, service: SERVICE });
  return { front, web: await startProxyless(lab, { pod: 'web-0' }) };
}

for (const kind of KINDS) {
  test(`${kind} calls a service behind a Weft sidecar, which knows who calls`, async (t) => {
    const why = await whyNot([kind]);
    if (why !== undefined) return t.skip(why);
    await using lab = await startLab();
    await using app = await GrpcServer.start({ listen: '127.0.0.1:0', name: 'behind' });
    const { web } = await startFront(lab, 'STRICT', app);
    await using client = await startClient(kind, web);
    const target = targetOf('front');
    const allowed = await client.call({ target, waits: true });
    assert.deepEqual(allowed.codes, ['OK'], allowed.message);
    assert.deepEqual(allowed.values, ['behind ']);
    const denied = await client.call({ target, method: '/weft.test.Echo/Other' });
    assert.equal(denied.codes[0]?.replace('_', ''), 'PERMISSIONDENIED', denied.message);
    shown(planeOf(kind), 'calls-weft');
  });
}

test('a PERMISSIVE sidecar knows gRPC clients by the server name that they call; one that says none does not fall back to plaintext', async (t) => {
  const why = await whyNot(['grpc-go', 'grpcio']);
  if (why !== undefined) return t.skip(why);
  await using lab = await startLab();
  await using app = await GrpcServer.start({ listen: '127.0.0.1:0', name: 'behind' });
  const { web, front } = await startFront(lab, 'PERMISSIVE', app);
  const target = targetOf('front');
  for (const kind of ['grpc-go', 'grpcio'] as const) {
    await using client = await GrpcClient.start(kind, web.bootstrap, SENDS_NAME);
    const allowed = await client.call({ target, waits: true });
    assert.deepEqual(allowed.codes, ['OK'], `${kind} ${allowed.message}`);
    const denied = await client.call({ target, method: '/weft.test.Echo/Other' });
    assert.equal(denied.codes[0]?.replace('_', ''), 'PERMISSIONDENIED', denied.message);
  }
  const told = 'destination_service="front.shop.svc.cluster.local"';
  await eventually(async () => (await front.metric('weft_requests_total', told)) === 4, {
    what: 'the name tells what was called',
  });
  await using silent = await startClient('grpc-go', web);
  const { codes, message } = await silent.call({ target, timeMs: 4_000 });
  assert.deepEqual(codes, ['UNAVAILABLE'], message);
});

test('a Weft sidecar calls a server of grpc-go, which knows who calls, and follows its policy', async (t) => {
  const why = await whyNot();
  if (why !== undefined) return t.skip(why);
  await using lab = await startLab();
  const prices = await startProxyless(lab, { pod: 'prices-0', port: PORT });
  await using server = await startServer(prices);
  const deny = `[{ from: [{ source: { principals: ["${principalOf('cart')}"] } }] }]`;
  await lab.write(
    'policies.yaml',
    policyYaml({ name: 'deny-cart', action: 'DENY', app: 'prices', rules: deny }),
  );
  await lab.enforced('deny-cart');
  const call = async (pod: string) => {
    const caller = await lab.startSidecar({ pod, outbound: ['prices.shop:80'] });
    await using client = await plainClient(prices);
    return await client.call({ target: `dns:///${caller.via('prices.shop:80')}`, waits: true });
  };
  assert.equal(server.address, `${prices.podIp}:${PORT}`);
  const allowed = await call('web-0');
  assert.deepEqual(allowed.codes, ['OK'], allowed.message);
  assert.deepEqual(allowed.values, ['prices-0 spiffe://cluster.local/ns/shop/sa/web']);
  const denied = await call('cart-0');
  assert.deepEqual(denied.codes, ['PERMISSIONDENIED'], denied.message);
  shown('weft', 'calls-grpc');
});

/** Whose calls are no xDS: its credentials fall back to plaintext, to a sidecar on its own host. */
const plainClient = (at: ProxylessPod): Promise<GrpcClient> => startClient('grpc-go', at);

const serialOf = (at: ProxylessPod): string =>
  new X509Certificate(readFileSync(`${at.bootstrap}.d/identity/tls.crt`)).serialNumber;
const rootsOf = (at: ProxylessPod): number =>
  readFileSync(`${at.bootstrap}.d/identity/ca.crt`, 'utf8').split('BEGIN CERTIFICATE').length - 1;

interface Pair {
  readonly prices: ProxylessPod;
  readonly web: ProxylessPod;
  readonly clients: readonly GrpcClient[];
}

async function startPair(lab: Lab, stack: AsyncDisposableStack): Promise<Pair> {
  const prices = await startProxyless(lab, { pod: 'prices-0', port: PORT });
  const web = await startProxyless(lab, { pod: 'web-0' });
  stack.use(await startServer(prices));
  const clients: GrpcClient[] = [];
  for (const kind of KINDS) clients.push(stack.use(await startClient(kind, web)));
  return { prices, web, clients };
}

/** Kept connections and new ones in turn, until it is done: every call must be good. */
async function callUntil(
  clients: readonly GrpcClient[],
  isDone: () => boolean | Promise<boolean>,
  withinMs: number,
): Promise<number> {
  const until = performance.now() + withinMs;
  let count = 0;
  while (!(await isDone())) {
    assert.ok(performance.now() < until, `it was not done in ${withinMs} ms (${count} calls)`);
    for (const client of clients) {
      for (const fresh of [false, true]) {
        const { codes, message } = await client.call({
          target: targetOf('prices'),
          fresh,
          waits: true,
        });
        assert.deepEqual(codes, ['OK'], message);
        count++;
      }
    }
  }
  return count;
}

test('certificates of ten seconds are replaced on both sides without one call that fails', async (t) => {
  const why = await whyNot(KINDS);
  if (why !== undefined) return t.skip(why);
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ svidTtl: '10s' }));
  const { prices, web, clients } = await startPair(lab, stack);
  const seen = { prices: new Set<string>(), web: new Set<string>() };
  const count = await callUntil(
    clients,
    () => {
      seen.prices.add(serialOf(prices));
      seen.web.add(serialOf(web));
      // The first two have ended by the time of the fourth.
      return seen.prices.size >= 4 && seen.web.size >= 4;
    },
    60_000,
  );
  assert.ok(count > 20, `${count} calls`);
  for (const kind of KINDS) shown(planeOf(kind), 'leaf-rotation');
});

test('a root is replaced without one call that fails, step by step as programs take it', async (t) => {
  const why = await whyNot(KINDS);
  if (why !== undefined) return t.skip(why);
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab());
  const { prices, web, clients } = await startPair(lab, stack);
  assert.equal(rootsOf(web), 1);
  const first = readFileSync(`${web.bootstrap}.d/identity/ca.crt`, 'utf8');
  const rotate = await runWeft(['ca', 'rotate', '--state-dir', lab.state]);
  assert.equal(rotate.code, 0, rotate.stderr);
  await callUntil(
    clients,
    () => {
      const now = readFileSync(`${web.bootstrap}.d/identity/ca.crt`, 'utf8');
      return now !== first && rootsOf(web) === 1 && rootsOf(prices) === 1;
    },
    60_000,
  );
  for (const kind of KINDS) shown(planeOf(kind), 'root-rotation');
});

test('without a control plane programs go on with what they have, and take up what is new when it is back', async (t) => {
  const why = await whyNot(KINDS);
  if (why !== undefined) return t.skip(why);
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab());
  const { clients } = await startPair(lab, stack);
  const target = targetOf('prices');
  for (const client of clients)
    assert.deepEqual((await client.call({ target })).codes, ['OK'], client.complaint);
  await lab.controlPlane.stop('SIGKILL');
  for (const client of clients) {
    const { codes, message } = await client.call({ target, count: 20 });
    assert.deepEqual(codes, ok(20), message);
  }
  const deny = policyYaml({ name: 'deny', action: 'DENY', app: 'prices', rules: '[{}]' });
  await lab.write('policies.yaml', deny);
  await lab.startControlPlane();
  for (const client of clients) {
    await eventually(
      async () => {
        const { codes } = await client.call({ target, fresh: true, timeMs: 4_000 });
        return codes[0]?.replace('_', '') === 'PERMISSIONDENIED';
      },
      { what: 'the new policy holds', withinMs: 30_000 },
    );
  }
  for (const kind of KINDS) shown(planeOf(kind), 'without-control-plane');
});

test('programs ask the control plane themselves, with the certificate of their files, where the agent is told so', async (t) => {
  const why = await whyNot(KINDS);
  if (why !== undefined) return t.skip(why);
  await using lab = await openLab();
  const [a, b, c] = lab.nextIp().split('.');
  await lab.startControlPlane({ args: ['--ip-address', `${a}.${b}.${c}.1`] });
  const args = ['--grpc-discovery', 'direct'];
  const prices = await startProxyless(lab, { pod: 'prices-0', port: PORT, args });
  const web = await startProxyless(lab, { pod: 'web-0', args });
  assert.equal(web.agent.ready['discovery'], undefined);
  await using server = await startServer(prices);
  for (const kind of ['grpc-go', 'grpcio'] as const) {
    await using client = await startClient(kind, web);
    const { codes, values, message } = await client.call({ target: targetOf('prices') });
    assert.deepEqual(codes, ['OK'], `${kind} ${message} ${client.complaint} ${server.complaint}`);
    assert.deepEqual(values, ['prices-0 spiffe://cluster.local/ns/shop/sa/web']);
  }
});
