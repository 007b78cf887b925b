import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { parseTrustDomain } from '@weft/model/identity';
import { textOf } from '@weft/xds/protocol/fields';
import { openAuthority } from './authority.ts';
import { createMemoryStore } from './store/memory.ts';
import { decodeState, encodeState } from './store/state-codec.ts';
import type { CaState, CaStore } from './store/store.ts';
import { askMutual, createTestMesh, openMutual, enrolledWorkload } from './testing/mesh.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';
import type { TokenAsker } from './token-authority.ts';
import type { PublishedKey } from './token-keys.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const WEB = 'spiffe://mesh.test/ns/shop/sa/web';
const identity = { trustDomain, namespace: 'shop', serviceAccount: 'web' };
const asker = (more: Partial<TokenAsker> = {}): TokenAsker => ({
  identity,
  notAfterMs: Number.POSITIVE_INFINITY,
  audience: ['vault'],
  peer: '10.0.0.1:1',
  ...more,
});

type Claims = Readonly<Record<string, unknown>>;

/** Of a token that one of the keys has signed. */
function claimsOf(token: string, keys: readonly PublishedKey[]): Claims {
  const [head = '', payload = '', signature = ''] = token.split('.');
  const read = (part: string): Claims => JSON.parse(Buffer.from(part, 'base64url').toString());
  const { alg, kid } = read(head);
  assert.equal(alg, 'ES256');
  const jwk = keys.find((key) => key.kid === kid);
  assert.ok(jwk !== undefined, `no key ${String(kid)}`);
  const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  const isSigned = verify(
    'sha256',
    Buffer.from(`${head}.${payload}`),
    { key, dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  );
  assert.ok(isSigned);
  return read(payload);
}

test('IssueToken gives a short token of the identity of the connection, and never a line with it', async () => {
  await using mesh = await createTestMesh({
    authority: { tokenIssuer: 'https://tokens.test' },
  });
  const workload = await enrolledWorkload(mesh);
  const answer = await askMutual(mesh, 'IssueToken', { audience: ['a', 'b'] }, workload);
  const token = textOf(answer, 'token');
  const { keys } = JSON.parse(
    textOf(await askMutual(mesh, 'GetTokenKeys', {}, workload), 'jwks'),
  ) as { readonly keys: readonly PublishedKey[] };
  const { iss, sub, aud, iat, exp, jti } = claimsOf(token, keys);
  assert.deepEqual([iss, sub, aud], ['https://tokens.test', WEB, ['a', 'b']]);
  assert.equal(Number(exp) - Number(iat), 300);
  assert.equal(answer['expires_at_unix_seconds'], exp);
  const audit = mesh.lines.find((line) => line['serial'] === jti);
  assert.deepEqual([audit?.['spiffeId'], audit?.['audience']], [WEB, ['a', 'b']]);
  assert.ok(!JSON.stringify(mesh.lines).includes(token));
  assert.ok(!JSON.stringify(keys).includes('"d"'));
});

test('IssueToken is not reached without a certificate', async () => {
  await using mesh = await createTestMesh();
  const asked = askMutual(mesh, 'IssueToken', { audience: ['a'] });
  await assert.rejects(asked, { code: status.UNAVAILABLE });
});

test('IssueToken refuses who has no audience, too many or too long ones, or an expired certificate', async () => {
  const clock = createTurnableClock();
  await using mesh = await createTestMesh({ authority: { clock } });
  const workload = await enrolledWorkload(mesh);
  for (const audience of [[], [''], ['a'.repeat(513)], Array.from({ length: 17 }, () => 'a')]) {
    const asked = askMutual(mesh, 'IssueToken', { audience }, workload);
    await assert.rejects(asked, { code: status.INVALID_ARGUMENT });
  }
  const huge = askMutual(mesh, 'IssueToken', { audience: ['a'.repeat(20_000)] }, workload);
  await assert.rejects(huge, { code: status.INVALID_ARGUMENT });
  clock.turn(3_700_000);
  const late = askMutual(mesh, 'IssueToken', { audience: ['a'] }, workload);
  await assert.rejects(late, { code: status.UNAUTHENTICATED });
  const { refusedByReason } = mesh.authority.status();
  assert.deepEqual(
    ['audience-not-allowed', 'peer-expired'].map((reason) => refusedByReason.get(reason)),
    [4, 1],
  );
});

test('IssueToken refuses who asks too often', async () => {
  await using mesh = await createTestMesh({ clock: createTurnableClock() });
  const workload = await enrolledWorkload(mesh);
  using asker = openMutual(mesh, workload);
  const asked = Array.from({ length: 130 }, () => asker.ask('GetTokenKeys', {}));
  const outcomes = await Promise.allSettled(asked);
  const refused = outcomes.filter(({ status: how }) => how === 'rejected');
  assert.equal(refused.length, 30);
  assert.equal(mesh.authority.status().refusedByReason.get('rate-limited'), refused.length);
});

test('a token does not outlive the certificate, and is not given to who is held back or is the control plane', async () => {
  const clock = createTurnableClock(1_000_000_000_000);
  await using authority = await openAuthority({
    store: createMemoryStore(),
    trustDomain,
    clock,
    heldBack: (_, peer) => (peer.startsWith('10.0.0.9') ? 'it is vulnerable' : undefined),
  });
  const { tokens } = authority;
  const short = await tokens.issue(asker({ notAfterMs: clock.now() + 60_000 }));
  assert.ok(short.ok);
  assert.equal(claimsOf(short.token, tokens.keys())['exp'], 1_000_000_060);
  const held = await tokens.issue(asker({ peer: '10.0.0.9:1' }));
  assert.ok(!held.ok);
  assert.deepEqual([held.reasonCode, held.reason], ['identity-revoked', 'it is vulnerable']);
  const own = { trustDomain, namespace: 'weft-system', serviceAccount: 'weft-control-plane' };
  assert.ok(!(await tokens.issue(asker({ identity: own }))).ok);
});

/** Answers the saves that it is told to with something else. */
function storeWith(
  answer: (save: CaState) => 'take' | 'conflict' | 'store-failed',
  inner: CaStore = createMemoryStore(),
): CaStore {
  return {
    ...inner,
    async save(state, replaces) {
      const reasonCode = answer(state);
      if (reasonCode === 'take') return inner.save(state, replaces);
      return { ok: false, reasonCode, reason: 'as the test wants it' };
    },
  };
}

test('no token is signed with a key that was not kept; one that was signs while the store is away', async () => {
  const clock = createTurnableClock();
  let isAway = true;
  const store = storeWith(({ tokenKeys }) => (tokenKeys && isAway ? 'store-failed' : 'take'));
  await using authority = await openAuthority({ store, trustDomain, clock });
  const { tokens } = authority;
  const none = await tokens.issue(asker());
  assert.equal(!none.ok && none.reasonCode, 'no-key');
  assert.deepEqual(tokens.keys(), []);
  isAway = false;
  assert.ok((await tokens.issue(asker())).ok);
  isAway = true;
  clock.turn(40 * 86_400_000);
  const later = await tokens.issue(asker());
  assert.ok(later.ok);
  claimsOf(later.token, tokens.keys());
  assert.equal(tokens.keys().length, 1);
});

test('of two control planes that make the first key at once, both sign with the one that was kept first', async () => {
  const shared = createMemoryStore();
  await using first = await openAuthority({ store: shared, trustDomain });
  let hasLost = false;
  const store = storeWith(({ tokenKeys }) => {
    if (tokenKeys === undefined || hasLost) return 'take';
    hasLost = true;
    return 'conflict';
  }, shared);
  await using second = await openAuthority({ store, trustDomain });
  assert.ok((await first.tokens.issue(asker())).ok);
  assert.ok((await second.tokens.issue(asker())).ok);
  assert.ok(hasLost);
  assert.deepEqual(second.tokens.keys(), first.tokens.keys());
});

test('the keys survive being written down, damage of them is refused, and a state without them reads as before', async () => {
  const store = createMemoryStore();
  await using authority = await openAuthority({ store, trustDomain });
  const before = await store.load();
  assert.ok(before !== undefined && !encodeState(before).includes('tokenKeys'));
  await authority.tokens.issue(asker());
  const state = await store.load();
  assert.ok(state?.tokenKeys !== undefined);
  const reading = decodeState(encodeState(state));
  assert.ok(reading.ok);
  assert.deepEqual(reading.state, state);
  const [key] = state.tokenKeys;
  assert.ok(key !== undefined);
  const damaged = { ...state, tokenKeys: [{ ...key, createdAtMs: Number.NaN }] };
  const refused = decodeState(encodeState(damaged));
  assert.ok(!refused.ok && /keys for tokens/.test(refused.reason));
});
