// The filter that asks: what an authorizer may change of a request, what it may not, and what holds without its word.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import type { RbacRules } from '@weft/model/policy/rbac';
import type { ExtAuthz, HttpAuthorizer } from '@weft/xds/resources/ext-authz';
import { pass } from '../../../test/support/jwt-rig.ts';
import { startHttpAuthorizer } from '../../../test/support/lab-authorizers.ts';
import type { AuthorizerUpstream } from './authorizer.ts';
import { createExtAuthzGate } from './ext-authz-gate.ts';

const RULES: RbacRules = {
  action: 'DENY',
  policies: [
    {
      name: 'ns[shop]-policy[ask]-rule[0]',
      permissions: [
        { kind: 'urlPath', path: { kind: 'prefix', value: '/asked', ignoreCase: false } },
      ],
      principals: [{ kind: 'any' }],
    },
  ],
};

const exact = (value: string) => ({ kind: 'exact', value, ignoreCase: true }) as const;

const authzOf = (more: Partial<ExtAuthz> = {}, http: Partial<HttpAuthorizer> = {}): ExtAuthz => ({
  provider: 'a',
  cluster: 'c',
  host: 'authz:9000',
  timeoutMs: 1_000,
  failOpen: false,
  statusOnError: 403,
  service: {
    kind: 'http',
    pathPrefix: '',
    requestHeaders: [],
    additionalHeaders: [],
    toUpstreamOnAllow: [
      exact('x-user'),
      exact('host'),
      exact('x-weft-own'),
      exact('x-forwarded-for'),
    ],
    toDownstreamOnDeny: [],
    ...http,
  },
  ...more,
});

const upstreamAt = (address: string): AuthorizerUpstream => ({
  isHttp2: false,
  http2: { connectRetries: 0, pick: () => undefined, report: () => undefined },
  http1: {
    connectRetries: 0,
    acquire: (_want, handlers) => {
      const socket = net.connect(Number(address.split(':')[1]), '127.0.0.1');
      socket.on('error', () => socket.destroy());
      const discard = (): unknown => socket.destroy();
      const connection = {
        socket,
        isReused: false,
        address,
        attach: () => undefined,
        release: discard,
        discard,
      };
      void once(socket, 'connect').then(
        () => handlers.onConnection({ ...connection, report: () => undefined }),
        () => handlers.onFailure('upstream-refused', undefined),
      );
      return { [Symbol.dispose]: () => undefined };
    },
  },
});

async function askedWith(
  reply: Readonly<Record<string, string | readonly string[]>>,
  authz = authzOf(),
  headers: Readonly<Record<string, string>> = {},
) {
  await using server = await startHttpAuthorizer((_asked, response) => {
    for (const [name, value] of Object.entries(reply)) {
      response.setHeader(name, typeof value === 'string' ? value : [...value]);
    }
    response.writeHead(200).end();
  });
  const upstream = upstreamAt(server.address);
  const gate = createExtAuthzGate({ authz, rules: RULES, upstream: () => upstream });
  return { ...(await pass(gate, headers, { path: '/asked' })), asked: server.asked };
}

test('what the rules do not match is passed at once, and nobody is asked', async () => {
  let count = 0;
  const upstream = (): undefined => void count++;
  const gate = createExtAuthzGate({ authz: authzOf(), rules: RULES, upstream });
  assert.equal((await pass(gate, {}, { path: '/open' })).said, 'pass');
  assert.equal(count, 0);
});

test('an authorizer sets the headers that are listed in place of what the client said, every value of them', async () => {
  const { said, facts } = await askedWith({ 'x-user': ['ann', 'bob'], 'x-other': 'o' }, authzOf(), {
    'x-user': 'eve',
    'x-other': 'e',
  });
  assert.equal(said, 'pass');
  assert.deepEqual(facts.header('x-user'), ['ann', 'bob']);
  assert.deepEqual(facts.header('x-other'), ['e']);
});

test('no authorizer changes the host, how a message is framed, or what the mesh says of its sender', async () => {
  const { edits } = await askedWith({
    host: 'evil',
    'x-weft-own': 'x',
    'x-forwarded-for': '1.2.3.4',
    'x-envoy-auth-headers-to-remove': 'authorization, host, content-length',
  });
  assert.deepEqual(edits.added, []);
  assert.equal(edits.isRemoved('authorization'), true);
  assert.equal(edits.isRemoved('host'), false);
  assert.equal(edits.isRemoved('content-length'), false);
});

test('what a client says under the names of the mesh is not told (CVE-2023-27487)', async () => {
  const all = [{ kind: 'prefix', value: 'x', ignoreCase: true } as const];
  const { asked } = await askedWith({}, authzOf({}, { requestHeaders: all }), {
    'x-weft-identity': 'admin',
    'x-forwarded-client-cert': 'By=me',
    x_forwarded_client_cert: 'By=me',
    'x-good': 'yes',
  });
  const told = [...(asked[0]?.headers.keys() ?? [])].filter((name) => name.startsWith('x'));
  assert.deepEqual(told, ['x-good']);
});

for (const failOpen of [true, false]) {
  const outcome = failOpen ? 'failed-open' : 'failed-closed';
  test(`without a way to the authorizer a request has ${outcome}, and the mark says so`, async () => {
    const authz = authzOf({ failOpen, statusOnError: 429 });
    const gate = createExtAuthzGate({ authz, rules: RULES, upstream: () => undefined });
    const { said, outcome: given } = await pass(gate, {}, { path: '/asked' });
    assert.equal(said, failOpen ? 'pass' : '429 ext-authz-error');
    assert.partialDeepStrictEqual(given.authorizer, {
      provider: 'a',
      rule: 'ns[shop]-policy[ask]-rule[0]',
      answer: outcome,
      reasonCode: 'no-cluster',
    });
  });
}
