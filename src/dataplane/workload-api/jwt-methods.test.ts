import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { judgeByItsKeys, judgeToken } from './judge-token.ts';
import { structOf } from './struct.ts';
import { TokenClient } from './token-client.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const WEB = 'spiffe://mesh.test/ns/shop/sa/web';
const NOW_MS = 1_700_000_000_000;
const NOW = NOW_MS / 1_000;

const pairOf = (): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' });
const own = pairOf();
const other = pairOf();
const jwks = JSON.stringify({
  keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }],
});

interface Written {
  readonly key?: KeyObject;
  readonly header?: object;
  readonly claims?: object;
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function tokenOf({ key = own.privateKey, header, claims }: Written = {}): string {
  const head = { alg: 'ES256', kid: 'k1', ...header };
  const text = `${part(head)}.${part({ sub: WEB, aud: ['vault'], exp: NOW + 60, ...claims })}`;
  const signed = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signed.toString('base64url')}`;
}

const judge = (token: string, audience = 'vault') =>
  judgeToken(token, { jwks, audience, trustDomain, nowMs: NOW_MS });

test('judgeToken() takes a token of the trust domain for the audience, and tells its claims', async () => {
  const judged = await judge(tokenOf({ claims: { team: 'shop' } }));
  assert.ok(judged.ok);
  assert.deepEqual([judged.spiffeId, judged.claims['team']], [WEB, 'shop']);
});

const BAD: readonly (readonly [string, Written, string])[] = [
  ['signed by another key', { key: other.privateKey }, 'jwt-bad-signature'],
  ['of a key nobody knows', { header: { kid: 'k2' } }, 'jwt-unknown-kid'],
  ['that needs no signature', { header: { alg: 'none' } }, 'jwt-algorithm'],
  ['with an algorithm of shared keys', { header: { alg: 'HS256' } }, 'jwt-algorithm'],
  ['that has ended', { claims: { exp: NOW - 3_600 } }, 'jwt-expired'],
  ['without an end', { claims: { exp: undefined } }, 'jwt-without-end'],
  ['for another audience', { claims: { aud: ['other'] } }, 'jwt-wrong-audience'],
  ['for an audience that looks alike', { claims: { aud: ['vault/'] } }, 'jwt-wrong-audience'],
  ['for an audience with a scheme', { claims: { aud: ['https://vault'] } }, 'jwt-wrong-audience'],
  ['for nobody', { claims: { aud: undefined } }, 'jwt-wrong-audience'],
  [
    'of another trust domain',
    { claims: { sub: 'spiffe://x.test/ns/a/sa/b' } },
    'jwt-of-nobody-here',
  ],
  ['of a trust domain alone', { claims: { sub: 'spiffe://mesh.test' } }, 'jwt-of-nobody-here'],
  ['of no SPIFFE id', { claims: { sub: 'admin' } }, 'jwt-of-nobody-here'],
];
for (const [what, written, reason] of BAD) {
  test(`judgeToken() refuses a token ${what}`, async () => {
    const judged = await judge(tokenOf(written));
    assert.ok(!judged.ok);
    assert.equal(judged.reason, reason);
  });
}

test('judgeToken() refuses what is no token, and an audience that is empty', async () => {
  for (const text of ['', '.', '..', 'a.b.c', 'x'.repeat(20_000), `${tokenOf()}.`]) {
    assert.ok(!(await judge(text)).ok);
  }
  assert.ok(!(await judge(tokenOf({ claims: { aud: [''] } }), '')).ok);
});

test('judgeByItsKeys() judges a token by the keys of the trust domain that it claims, and by no other’s', async () => {
  const theirs = JSON.stringify({
    keys: [{ ...other.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }],
  });
  const keys = { own: jwks, federated: new Map([['partner.test', theirs]]) };
  const options = { audience: 'vault', trustDomain, nowMs: NOW_MS };
  const judgeOf = (key: KeyObject, sub: string) =>
    judgeByItsKeys(tokenOf({ key, claims: { sub } }), keys, options);
  const partner = 'spiffe://partner.test/any/path';
  const rows = [
    [own.privateKey, WEB, true],
    [other.privateKey, partner, true],
    [other.privateKey, WEB, false],
    [own.privateKey, partner, false],
    [other.privateKey, 'spiffe://stranger.test/a', false],
    [own.privateKey, 'spiffe://stranger.test/a', false],
  ] as const;
  for (const [key, sub, isGood] of rows) {
    const judged = await judgeOf(key, sub);
    assert.equal(judged.ok, isGood, sub);
    if (judged.ok) assert.equal(judged.spiffeId, sub);
  }
  assert.equal((await judgeByItsKeys('a.b.c', keys, options)).ok, false);
});

test('structOf() writes every kind of claim', () => {
  assert.deepEqual(structOf({ a: 'x', b: 1, c: true, d: ['y'], e: { f: null } }), {
    fields: {
      a: { stringValue: 'x' },
      b: { numberValue: 1 },
      c: { boolValue: true },
      d: { listValue: { values: [{ stringValue: 'y' }] } },
      e: { structValue: { fields: { f: { nullValue: 0 } } } },
    },
  });
});

/** A token client whose control plane is a function. */
function createRig() {
  const clock = createTurnableClock(NOW_MS);
  const asked: string[] = [];
  let answer = (_name: string): PlainMessage => ({});
  const methods = serviceDefinition('weft.enrolment.v1.Enrolment');
  const channel = {
    async ask(path: string): Promise<Buffer> {
      const name = path.slice(path.lastIndexOf('/') + 1);
      asked.push(name);
      const method = methods[name];
      assert.ok(method !== undefined);
      return method.responseSerialize(answer(name));
    },
  };
  const tokens = new TokenClient({
    connect: () => ({ channel, [Symbol.dispose]: () => undefined }),
    clock,
    log: pino({ level: 'silent' }),
  });
  const answerWith = (next: typeof answer): void => void (answer = next);
  return { tokens, clock, asked, answerWith, [Symbol.dispose]: () => tokens[Symbol.dispose]() };
}

const away = (): never => {
  throw new CallFailure(STATUS.UNAVAILABLE, 'away');
};

test('a token is asked for once for its audiences until half of its life has gone', async () => {
  using rig = createRig();
  let count = 0;
  rig.answerWith(() => ({ token: `t${++count}`, expires_at_unix_seconds: NOW + 300 }));
  assert.equal(await rig.tokens.token(['a', 'b']), 't1');
  assert.equal(await rig.tokens.token(['b', 'a']), 't1');
  assert.equal(await rig.tokens.token(['a']), 't2');
  rig.clock.turn(149_000);
  assert.equal(await rig.tokens.token(['a', 'b']), 't1');
  rig.clock.turn(2_000);
  assert.equal(await rig.tokens.token(['a', 'b']), 't3');
  rig.tokens.forgetTokens();
  assert.equal(await rig.tokens.token(['a', 'b']), 't4');
});

test('tokens for any number of audiences are kept in a bounded place', async () => {
  using rig = createRig();
  rig.answerWith(() => ({ token: 't', expires_at_unix_seconds: NOW + 300 }));
  for (let count = 0; count < 65; count++) await rig.tokens.token([`a${count}`]);
  await rig.tokens.token(['a64']);
  assert.equal(rig.asked.length, 65);
  await rig.tokens.token(['a0']);
  assert.equal(rig.asked.length, 66, 'the oldest made room');
});

test('a token that cannot be had is refused with the word of the control plane', async () => {
  using rig = createRig();
  rig.answerWith(() => {
    throw new CallFailure(STATUS.PERMISSION_DENIED, 'it is vulnerable');
  });
  await assert.rejects(rig.tokens.token(['a']), {
    code: STATUS.PERMISSION_DENIED,
    details: 'the control plane: it is vulnerable',
  });
});

test('keys are kept for five minutes, told to followers when they change, and outlive a control plane that is away', async () => {
  using rig = createRig();
  rig.answerWith(() => ({ jwks: 'one' }));
  assert.equal((await rig.tokens.keys()).own, 'one');
  const told: string[] = [];
  using _ = rig.tokens.onKeys((keys) => told.push(keys.own, ...keys.federated.values()));
  rig.answerWith(() => ({ jwks: 'two' }));
  assert.equal((await rig.tokens.keys()).own, 'one');
  rig.clock.turn(301_000);
  assert.equal((await rig.tokens.keys()).own, 'two');
  assert.deepEqual(told, ['two']);
  rig.answerWith(() => ({ jwks: 'two', federated_jwks: { 'partner.test': 'theirs' } }));
  rig.clock.turn(301_000);
  assert.deepEqual(told, ['two', 'two', 'theirs'].slice(0, told.length));
  assert.equal((await rig.tokens.keys()).federated.get('partner.test'), 'theirs');
  assert.deepEqual(told, ['two', 'two', 'theirs']);
  rig.answerWith(away);
  rig.clock.turn(301_000);
  assert.equal((await rig.tokens.keys()).own, 'two');
});

test('an unknown key is a reason to ask again, once in ten seconds', async () => {
  using rig = createRig();
  rig.answerWith(() => ({ jwks: 'one' }));
  await rig.tokens.keys();
  assert.equal(await rig.tokens.keysAgain(), undefined);
  rig.clock.turn(10_000);
  rig.answerWith(() => ({ jwks: 'two' }));
  assert.equal((await rig.tokens.keysAgain())?.own, 'two');
  assert.equal(await rig.tokens.keysAgain(), undefined);
});
