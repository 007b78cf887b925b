// Policies hold at a gRPC server that has no proxy: who may call which method, what nobody allowed, and that what gRPC cannot judge is closed.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  PORT,
  type ProxylessPod,
  principalOf,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import { type CallSpec, type GrpcClient, goGrpc, GrpcServer } from '../support/grpc-programs.ts';
import { modeYaml, policyYaml, type PolicySpec } from '../support/lab-manifests.ts';
import { shown } from '../support/shown.ts';
import { callGrpc } from '../support/conformance-grpc.ts';
import { TYPE_URLS } from '@weft/xds/resource';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, listOf, startLab } from '../support/lab.ts';

const stack = new AsyncDisposableStack();
let missing: string | undefined = 'nothing was started';
let lab: Lab;
let web: GrpcClient;
let cart: GrpcClient;
let prices: ProxylessPod;

before(async () => {
  const program = await goGrpc();
  if ('missing' in program) {
    missing = program.missing;
    return;
  }
  lab = stack.use(await startLab());
  prices = await startProxyless(lab, { pod: 'prices-0', port: PORT });
  stack.use(await startServer(prices));
  web = stack.use(await startClient('grpc-go', await startProxyless(lab, { pod: 'web-0' })));
  cart = stack.use(await startClient('grpc-js', await startProxyless(lab, { pod: 'cart-0' })));
  missing = undefined;
});
after(() => stack.disposeAsync());

const SAY = '/weft.test.Echo/Say';
const OTHER = '/weft.test.Echo/Other';

async function codeOf(client: GrpcClient, more: Partial<CallSpec> = {}): Promise<string> {
  const { codes } = await client.call({ target: targetOf('prices'), timeMs: 4_000, ...more });
  return (codes[0] ?? '').replaceAll('_', '');
}

/** What the server has acknowledged of its listener. */
async function listenerVersion(): Promise<string> {
  const { body } = await prices.agent.ask('/config_dump');
  const { streams } = JSON.parse(body);
  return String(streams[0]?.types[TYPE_URLS.listener]?.version);
}

interface Expected {
  readonly who: 'web' | 'cart';
  readonly call?: Partial<CallSpec>;
  readonly code: 'OK' | 'PERMISSIONDENIED' | 'UNAVAILABLE';
}

/** Puts policies in place of those that are there; then each of these is the answer, soon and still. */
function judge(
  name: string,
  policies: readonly Omit<PolicySpec, 'app'>[],
  expected: readonly Expected[],
  more: readonly string[] = [],
): void {
  test(name, async (t) => {
    if (missing !== undefined) return t.skip(missing);
    const documents = policies.map((one) => policyYaml({ ...one, app: 'prices' }));
    const before = await listenerVersion();
    await lab.write('policies.yaml', ...documents, ...more);
    await eventually(async () => (await listenerVersion()) !== before, {
      what: 'the server has other rules',
    });
    const ask = async (): Promise<readonly string[]> => {
      const codes: string[] = [];
      for (const { who, call } of expected)
        codes.push(await codeOf(who === 'web' ? web : cart, call));
      return codes;
    };
    const wanted = expected.map(({ code }) => code);
    let seen: readonly string[] = [];
    await eventually(
      async () => {
        seen = await ask();
        return seen.join() === wanted.join();
      },
      {
        what: 'these answers',
        withinMs: 10_000,
        told: () => `${seen.join()} for ${wanted.join()}`,
      },
    );
    assert.deepEqual(await ask(), wanted);
    shown('grpc-go', 'grpc-called', 'rules-http');
  });
}

const from = (app: string): string => `from: [{ source: { principals: ["${principalOf(app)}"] } }]`;
const to = (path: string): string => `to: [{ operation: { paths: ["${path}"] } }]`;

judge(
  'an ALLOW of one principal lets that one in and nobody else',
  [{ name: 'allow-web', action: 'ALLOW', rules: `[{ ${from('web')} }]` }],
  [
    { who: 'web', code: 'OK' },
    { who: 'cart', code: 'PERMISSIONDENIED' },
  ],
);
judge(
  'a DENY of one principal keeps that one out and lets the others in',
  [{ name: 'deny-web', action: 'DENY', rules: `[{ ${from('web')} }]` }],
  [
    { who: 'web', code: 'PERMISSIONDENIED' },
    { who: 'cart', code: 'OK' },
  ],
);
judge(
  'a DENY wins over an ALLOW',
  [
    { name: 'allow-all', action: 'ALLOW', rules: '[{}]' },
    { name: 'deny-other', action: 'DENY', rules: `[{ ${from('cart')}, ${to(OTHER)} }]` },
  ],
  [
    { who: 'web', call: { method: OTHER }, code: 'OK' },
    { who: 'cart', call: { method: OTHER }, code: 'PERMISSIONDENIED' },
    { who: 'cart', call: { method: SAY }, code: 'OK' },
  ],
);
judge(
  'methods are told apart by path, exactly, by prefix and by template',
  [
    { name: 'one', action: 'ALLOW', rules: `[{ ${from('web')}, ${to(SAY)} }]` },
    { name: 'all', action: 'ALLOW', rules: `[{ ${from('cart')}, ${to('/weft.test.Echo/*')} }]` },
    { name: 'any', action: 'ALLOW', rules: `[{ ${from('web')}, ${to('/open.{*}/{**}')} }]` },
    { name: 'seg', action: 'ALLOW', rules: `[{ ${from('web')}, ${to('/{*}/Ping')} }]` },
  ],
  [
    { who: 'web', call: { method: SAY }, code: 'OK' },
    { who: 'web', call: { method: OTHER }, code: 'PERMISSIONDENIED' },
    { who: 'cart', call: { method: OTHER }, code: 'OK' },
    { who: 'web', call: { method: '/a.B/Ping' }, code: 'OK' },
    { who: 'cart', call: { method: '/a.B/Ping' }, code: 'PERMISSIONDENIED' },
  ],
);
judge(
  'an ALLOW without rules denies everything',
  [{ name: 'nothing', action: 'ALLOW', rules: '[]' }],
  [
    { who: 'web', code: 'PERMISSIONDENIED' },
    { who: 'cart', code: 'PERMISSIONDENIED' },
  ],
);
judge(
  'headers and namespaces of callers count',
  [
    {
      name: 'by-header',
      action: 'ALLOW',
      rules: '[{ when: [{ key: "request.headers[x-team]", values: ["blue"] }] }]',
    },
    {
      name: 'elsewhere',
      action: 'DENY',
      rules: '[{ from: [{ source: { notNamespaces: ["shop"] } }] }]',
    },
  ],
  [
    { who: 'web', call: { headers: { 'x-team': 'blue' } }, code: 'OK' },
    { who: 'cart', call: { headers: { 'x-team': 'red' } }, code: 'PERMISSIONDENIED' },
    { who: 'cart', code: 'PERMISSIONDENIED' },
  ],
);

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const JWKS = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'a' }] });
const CLAIM = 'when: [{ key: "request.auth.claims[role]", values: ["admin"] }]';
judge(
  'a condition that gRPC cannot judge allows nobody',
  [
    { name: 'claims', action: 'ALLOW', rules: `[{ ${from('web')}, ${CLAIM} }]` },
    { name: 'cart', action: 'ALLOW', rules: `[{ ${from('cart')} }]` },
  ],
  [
    { who: 'web', code: 'PERMISSIONDENIED' },
    { who: 'cart', code: 'OK' },
  ],
);
judge(
  'a condition that gRPC cannot judge denies what the rest of its rule says',
  [{ name: 'claims', action: 'DENY', rules: `[{ ${from('web')}, ${CLAIM} }]` }],
  [
    { who: 'web', code: 'PERMISSIONDENIED' },
    { who: 'cart', code: 'OK' },
  ],
);
judge(
  'a call with a token is denied where tokens are asked about, for none is checked',
  [],
  [
    { who: 'web', code: 'OK' },
    { who: 'web', call: { headers: { authorization: 'Bearer abc' } }, code: 'PERMISSIONDENIED' },
  ],
  [
    `apiVersion: security.weft.dev/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: shop }
spec:
  selector: { matchLabels: { app: prices } }
  jwtRules: [{ issuer: "https://issuer.test", jwks: '${JWKS}' }]
`,
  ],
);
judge(
  'what an external authorizer was to decide is denied, for nobody is asked',
  [{ name: 'ask', action: 'CUSTOM', provider: 'nobody', rules: `[{ ${to(SAY)} }]` }],
  [{ who: 'web', call: { method: SAY }, code: 'PERMISSIONDENIED' }],
);
judge(
  'without a policy whoever is of the mesh may call',
  [],
  [
    { who: 'web', code: 'OK' },
    { who: 'cart', code: 'OK' },
  ],
);

const ROLE = 'when: [{ key: "request.headers[x-role]", values: ["guest"] }]';
judge(
  'a header that a DENY asks about denies',
  [{ name: 'guests', action: 'DENY', rules: `[{ ${ROLE} }]` }],
  [
    { who: 'web', call: { headers: { 'x-role': 'guest' } }, code: 'PERMISSIONDENIED' },
    { who: 'web', call: { headers: { 'x-role': 'admin' } }, code: 'OK' },
  ],
);

test('a second value does not hide the one that a DENY asks about', async (t) => {
  if (missing !== undefined) return t.skip(missing);
  const read = (file: string): string =>
    readFileSync(`${prices.bootstrap}.d/identity/${file}`, 'utf8');
  const caller = {
    credential: { keyPem: read('tls.key'), chainPem: read('tls.crt') },
    bundlePem: read('ca.crt'),
  };
  const ask = async (values: readonly string[]): Promise<string> => {
    const request = {
      protocol: 'http',
      srcPrincipal: null,
      port: PORT,
      path: SAY,
      headers: { 'x-role': values },
    } as const;
    return (await callGrpc(request, { host: prices.podIp, port: PORT }, caller)).verdict;
  };
  assert.equal(await ask(['admin', 'other']), 'allow');
  for (const values of [
    ['guest', 'other'],
    ['other', 'guest'],
    ['a', 'guest', 'b'],
  ])
    assert.equal(await ask(values), 'deny', values.join());
});

test('a policy counts as enforced when the server has acknowledged the rules that carry it', async (t) => {
  if (missing !== undefined) return t.skip(missing);
  const policy = await lab.enforced('guests');
  assert.equal(policy['enforced'], '1/1');
  shown('grpc-go', 'status');
  const none = policyYaml({ name: 'none', action: 'DENY', app: 'web', rules: '[{}]' });
  await lab.write('none.yaml', none);
  // A program that serves nobody enforces nothing.
  await eventually(
    async () => {
      const policies = listOf(await lab.ask('/v1/policies'), 'policies');
      return policies.find(({ name }) => name === 'none')?.['enforced'] === '0/1';
    },
    { what: 'a policy that nobody enforces' },
  );
});

test('whoever shows no certificate is refused, also where the mesh would let plaintext in', async (t) => {
  if (missing !== undefined) return t.skip(missing);
  await lab.write('mode.yaml', modeYaml('PERMISSIVE'));
  await using app = await GrpcServer.start({ listen: '127.0.0.1:0', name: 'plain' });
  const ask = (target: string): Promise<string> => codeOf(web, { target });
  assert.equal(await ask(`dns:///${app.address}`), 'OK');
  assert.equal(await ask(`dns:///${prices.podIp}:${PORT}`), 'UNAVAILABLE');
});
