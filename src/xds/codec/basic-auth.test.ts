// Logins over the wire: the same there and back, refused where they would let in less surely than they say, and closed for who does not know them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { WorkloadLogin } from '@weft/model/login/types';
import { parseHtpasswd } from '@weft/model/login/htpasswd';
import { encodeMessage } from '../registry.ts';
import type { HttpConnectionManager } from '../resources/listener.ts';
import { encodeBasicAuth } from './basic-auth.ts';
import { createReading, readMessage } from './fields.ts';
import { encodeHttpConnectionManager, readHttpConnectionManager } from './http.ts';

const MANAGER = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const TAIL = 'abcdefghijklmnopqrstuuVRZU0c9TbLU.stULl4UFfNeqU1c7wNm';

function read(message: object) {
  const reading = createReading();
  const bytes = encodeMessage(MANAGER, { ...message });
  const value = readMessage(MANAGER, bytes, { reading, path: '' }, readHttpConnectionManager);
  return { value, problems: reading.problems };
}

const managerOf = (login: WorkloadLogin): HttpConnectionManager => ({
  statPrefix: 'in',
  routes: { kind: 'rds', name: 'r' },
  filters: [{ kind: 'basicAuth', login }, { kind: 'router' }],
  forwardClientCert: 'sanitize',
  trustedHops: 0,
  pathNormalization: 'NONE',
  upgrades: [],
  requestHeadersTimeoutMs: 1,
  streamIdleTimeoutMs: 1,
});

const names = fc.uniqueArray(
  fc.string({ minLength: 1, maxLength: 12 }).filter((name) => {
    const line = `${name}:$2b$10$${TAIL}`;
    return parseHtpasswd(line).users[0]?.name === name;
  }),
  { maxLength: 5 },
);
const login: fc.Arbitrary<WorkloadLogin> = fc
  .record({
    users: names,
    cost: fc.constantFrom('08', '12', '15'),
    realm: fc.constantFrom('Restricted', 'The "shop"'),
    exemptPaths: fc.subarray(['/healthz', '/public/*', '*.css', '/a/{*}/b', '/c/{**}']),
    keepsCredential: fc.boolean(),
    userHeader: fc.option(fc.constant('x-user'), { nil: undefined }),
    allowsPlaintext: fc.boolean(),
  })
  .map(({ users, cost, userHeader, ...rules }) => ({
    source: 'shop/login',
    users: parseHtpasswd(users.map((name) => `${name}:$2b$${cost}$${TAIL}`).join('\n')).users,
    ...rules,
    ...(userHeader !== undefined && { userHeader }),
  }));

const revealed = ({ users, ...rules }: WorkloadLogin) => ({
  ...rules,
  users: users.map(({ name, hash }) => [name, hash.reveal()]),
});

test('a login comes back as it was, and nothing of its rules for Envoys stays', () => {
  fc.assert(
    fc.property(login, (one) => {
      const { value, problems } = read(encodeHttpConnectionManager(managerOf(one)));
      assert.deepEqual(problems, []);
      assert.deepEqual(
        value?.filters.map(({ kind }) => kind),
        ['basicAuth', 'router'],
      );
      const [first] = value?.filters ?? [];
      assert.ok(first?.kind === 'basicAuth');
      assert.deepEqual(revealed(first.login), revealed(one));
    }),
  );
});

const LOGIN: WorkloadLogin = {
  source: 'shop/login',
  users: parseHtpasswd(`ann:$2b$10$${TAIL}`).users,
  realm: 'Restricted',
  exemptPaths: ['/healthz'],
  keepsCredential: false,
  allowsPlaintext: false,
};

test('a login that an Envoy would be told less of, or could be passed over in a sidecar, is refused', () => {
  const encoded = encodeHttpConnectionManager(managerOf(LOGIN));
  const [twin, own, router] = encoded['http_filters'] as readonly Record<string, unknown>[];
  const wider = encodeHttpConnectionManager(
    managerOf({ ...LOGIN, exemptPaths: ['/', '/healthz'] }),
  );
  const [widerTwin] = wider['http_filters'] as readonly Record<string, unknown>[];
  for (const http_filters of [
    [own, router],
    [twin, router],
    [widerTwin, own, router],
    [twin, { ...own, is_optional: false }, router],
    [twin, twin, own, router],
  ]) {
    const { problems } = read({ ...encoded, http_filters });
    assert.ok(problems.length > 0, JSON.stringify(http_filters.map((filter) => filter?.['name'])));
  }
});

test('a hash that a list could not have is refused, and no message repeats it', () => {
  const message = encodeBasicAuth(LOGIN);
  const encoded = encodeHttpConnectionManager(managerOf(LOGIN));
  const [twin, own, router] = encoded['http_filters'] as readonly Record<string, unknown>[];
  for (const user of [
    { name: 'ann', hash: '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' },
    { name: 'ann', hash: 'secret-password' },
    { name: 'ann', hash: `$2b$04$${TAIL}` },
    { name: 'ann\neve', hash: `$2b$10$${TAIL}` },
    { name: 'a:b', hash: `$2b$10$${TAIL}` },
    { name: '', hash: `$2b$10$${TAIL}` },
  ]) {
    const value = encodeMessage('weft.login.v1.BasicAuth', { ...message, users: [user] });
    const type_url = 'type.googleapis.com/weft.login.v1.BasicAuth';
    const changed = { ...own, typed_config: { type_url, value } };
    const { problems } = read({ ...encoded, http_filters: [twin, changed, router] });
    assert.ok(problems.length > 0, JSON.stringify(user));
    assert.ok(!JSON.stringify(problems).includes(user.hash.slice(8)), JSON.stringify(problems));
  }
});
