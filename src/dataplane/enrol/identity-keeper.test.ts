import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { textOf } from '@weft/xds/protocol/fields';
import type { Evidence } from '@weft/model/enrolment-evidence';
import { EnrolmentRefused } from './identity-keeper.ts';
import { createKeeperRig } from '../../../test/support/keeper-rig.ts';
import {
  bundleOf,
  issued,
  openScriptedControlPlane,
  openTestAuthority,
  Refusal,
} from '../../../test/support/scripted-control-plane.ts';

const HOUR_MS = 3_600_000;
const SECOND_MS = 1_000;
const WEB = 'spiffe://mesh.test/ns/shop/sa/web';
const away = (): never => {
  throw new Refusal(status.UNAVAILABLE, 'not there yet');
};

test('start() enrols with the token, and tells of the certificate', async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server);
  await rig.start();
  assert.equal(rig.keeper.svid?.spiffeId, WEB);
  assert.equal(rig.identity.contexts?.spiffeId, WEB);
  assert.equal(rig.keeper.bundleVersion, server.authority.bundle().version);
  assert.deepEqual(server.tokens, ['token']);
});

test('start() gives up at once on what trying again cannot cure', async () => {
  await using server = await openScriptedControlPlane();
  for (const code of [status.UNAUTHENTICATED, status.INVALID_ARGUMENT, status.PERMISSION_DENIED]) {
    server.onEnrol = () => {
      throw new Refusal(code, 'the join token is not accepted');
    };
    using rig = createKeeperRig(server);
    await assert.rejects(rig.start(), (error: Error) => {
      assert.ok(error instanceof EnrolmentRefused);
      assert.match(
        error.message,
        /Cannot enrol at 127\.0\.0\.1:\d+: the join token is not accepted/,
      );
      return true;
    });
    assert.deepEqual(rig.told, []);
  }
});

test('start() refuses a control plane that answers with what was not asked for', async () => {
  await using server = await openScriptedControlPlane();
  await using other = await openTestAuthority();
  const bundle = server.bundle();
  const answers: readonly (readonly [RegExp, typeof server.onEnrol])[] = [
    [/for namespace shop/, (csr) => ({ svid: server.svid(csr, 'bank/web'), bundle })],
    [/no usable bundle/, (csr) => ({ svid: server.svid(csr) })],
    [/no root of the bundle/, (csr) => ({ svid: issued(other, csr), bundle })],
    [/0 certificates came/, () => ({ bundle })],
  ];
  for (const [reason, answer] of answers) {
    server.onEnrol = answer;
    using rig = createKeeperRig(server);
    await assert.rejects(rig.start(), reason);
    assert.equal(rig.identity.contexts, undefined);
  }
});

test('start() waits for a control plane that is away, longer each time, and reads the token anew', async () => {
  await using server = await openScriptedControlPlane();
  server.onEnrol = away;
  let tokens = 0;
  using rig = createKeeperRig(server, {
    readEvidence: async () => ({ kind: 'join-token', token: `token-${++tokens}` }),
  });
  const started = rig.start();
  const delays: unknown[] = [];
  for (let failures = 1; failures <= 8; failures++) {
    await rig.until(() => rig.lines.length === failures);
    const line: { readonly retryInMs: number } = JSON.parse(rig.lines.at(-1) ?? '{}');
    delays.push(Math.round(line.retryInMs / 500));
    assert.equal(server.tokens.length, failures, 'nothing was sent before its time');
    if (failures === 8)
      server.onEnrol = (csr) => ({ svid: server.svid(csr), bundle: server.bundle() });
    rig.clock.turn(30 * SECOND_MS);
  }
  await started;
  assert.deepEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
  assert.deepEqual(server.tokens.slice(0, 2), ['token-1', 'token-2']);
});

test('start() ends when it is stopped or disposed while it waits', async () => {
  await using server = await openScriptedControlPlane();
  server.onEnrol = away;
  for (const end of ['abort', 'dispose'] as const) {
    using rig = createKeeperRig(server);
    const started = rig.start();
    await rig.until(() => rig.lines.length > 0);
    if (end === 'abort') rig.stop.abort();
    else rig.keeper[Symbol.dispose]();
    await started;
    assert.equal(rig.keeper.svid, undefined);
  }
});

test('a certificate is renewed before half of its life, with another key', async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  const [first] = rig.told;
  rig.clock.turn(0.39 * HOUR_MS);
  assert.equal(rig.told.length, 1, 'not too early');
  rig.clock.turn(0.11 * HOUR_MS);
  await rig.until(() => rig.told.length === 2);
  const second = rig.told[1];
  assert.notEqual(second?.serialHex, first?.serialHex);
  assert.notEqual(second?.keyPem, first?.keyPem);
  assert.equal(second?.spiffeId, WEB);
  assert.equal(server.tokens.length, 1, 'no token is used for it');
});

test('a renewal that answers with another identity or another root is refused, and asked for again', async () => {
  await using server = await openScriptedControlPlane();
  await using other = await openTestAuthority();
  const answers = [
    (csr: Uint8Array) => ({ svid: server.svid(csr, 'shop/admin') }),
    (csr: Uint8Array) => ({ svid: issued(other, csr) }),
    (csr: Uint8Array) => ({ svid: server.svid(csr) }),
  ];
  let asked = 0;
  server.onRenew = (csr) => answers[asked++]?.(csr);
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  const refusals = (): number => rig.lines.filter((line) => line.includes('refused a new')).length;
  rig.clock.turn(0.5 * HOUR_MS);
  await rig.until(() => refusals() === 1);
  rig.clock.turn(10 * SECOND_MS);
  await rig.until(() => refusals() === 2);
  assert.equal(rig.told.length, 1, 'the old one stays in use');
  rig.clock.turn(10 * SECOND_MS);
  await rig.until(() => rig.told.length === 2);
  assert.equal(rig.keeper.svid?.spiffeId, WEB);
});

test('a certificate that nobody asked for is not taken', async () => {
  await using server = await openScriptedControlPlane();
  let csrDer: Uint8Array = Buffer.alloc(0);
  server.onEnrol = (csr) => {
    csrDer = csr;
    return { svid: server.svid(csr), bundle: server.bundle() };
  };
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  server.streams[0]?.send({ svid: server.svid(csrDer) });
  server.streams[0]?.send({ bundle: server.bundle() });
  await server.until(() => (server.streams[0]?.received.length ?? 0) >= 2);
  assert.equal(rig.told.length, 1);
});

test('a call to renew now is followed within a quarter of a second', async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  server.streams[0]?.send({ renew_now: { reason: 'another root signs now' } });
  /** Messages come in order: the acknowledgement of this one shows that the call before it was read. */
  server.streams[0]?.send({ bundle: server.bundle() });
  await server.until(() => (server.streams[0]?.received.length ?? 0) >= 2);
  rig.clock.turn(250);
  await rig.until(() => rig.told.length === 2);
});

test('a pushed bundle is in force at once and acknowledged; one that trusts nobody is neither (CVE-2020-8664)', async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  const [stream] = server.streams;
  const acks = (): readonly string[] =>
    (stream?.received ?? []).map((message) => textOf(message, 'bundle_ack'));
  const before = server.authority.bundle();
  await server.until(() => acks().includes(before.version));
  stream?.send({ bundle: { root_der: [], version: 'nobody' } });
  stream?.send({ bundle: { root_der: [Buffer.from('x')], version: 'garbage' } });
  await server.authority.startRotation();
  stream?.send({ bundle: server.bundle() });
  await server.until(() => acks().includes(server.authority.bundle().version));
  assert.ok(!acks().includes('nobody') && !acks().includes('garbage'));
  const { contexts } = rig.identity;
  assert.equal(contexts?.rootsOf(contexts.spiffeId).length, 2);
  assert.equal(rig.told.at(-1)?.serialHex, rig.told[0]?.serialHex, 'the certificate is the same');
  assert.equal(rig.lines.filter((line) => line.includes('without usable roots')).length, 2);
});

test('an expired certificate takes its contexts with it: nobody is served until there is a new one (CVE-2020-8664)', async () => {
  const clock = createTurnableClock();
  await using server = await openScriptedControlPlane({ authority: { clock } });
  const tokens = ['first', new Error('no such file'), 'second', 'third'];
  const readEvidence = async (): Promise<Evidence> => {
    const next = tokens.shift() ?? 'none';
    if (next instanceof Error) throw next;
    return { kind: 'join-token', token: next };
  };
  using rig = createKeeperRig(server, { readEvidence, clock });
  await rig.start();
  await server.until(() => server.streams.length === 1);
  server.onRenew = () => undefined;
  clock.turn(HOUR_MS - 2 * SECOND_MS);
  assert.notEqual(rig.identity.contexts, undefined, 'it serves to the last');
  server.onEnrol = (csr) => ({ svid: server.svid(csr, 'shop/admin'), bundle: server.bundle() });
  clock.turn(3 * SECOND_MS);
  assert.equal(rig.told.at(-1), undefined);
  assert.equal(rig.identity.contexts, undefined);
  const waits = (): readonly string[] =>
    rig.lines.filter((line) => line.includes('not enrolled yet'));
  await rig.until(() => waits().length === 1);
  assert.match(waits()[0] ?? '', /no such file/, 'a token file that is missing is read again');
  clock.turn(SECOND_MS);
  await rig.until(() => waits().length === 2);
  assert.match(waits()[1] ?? '', /certificate is for .*admin/, 'we are who we were');
  assert.equal(rig.identity.contexts, undefined);
  server.onEnrol = (csr) => ({ svid: server.svid(csr), bundle: server.bundle() });
  clock.turn(2 * SECOND_MS);
  await rig.until(() => rig.identity.contexts !== undefined);
  assert.equal(rig.keeper.svid?.spiffeId, WEB);
  assert.deepEqual(server.tokens, ['first', 'second', 'third']);
});

test('after its certificate expired a sidecar enrols under the newest bundle, though the pinned root is retired', async () => {
  const clock = createTurnableClock();
  const options = { clock, waitForDisconnected: false };
  await using server = await openScriptedControlPlane({ authority: options });
  using rig = createKeeperRig(server, { clock });
  await rig.start();
  await server.until(() => server.streams.length === 1);
  const { authority } = server;
  const pinned = authority.bundle();
  await authority.startRotation();
  for (let steps = 0; steps < 20 && authority.status().rotation.phase !== 'stable'; steps++) {
    assert.ok((await authority.advance(() => [])).ok);
    clock.turn(10 * SECOND_MS);
  }
  assert.equal(authority.status().rotation.phase, 'stable');
  const newest = authority.bundle();
  assert.ok(!newest.pem.includes(pinned.pem));
  server.streams[0]?.send({ bundle: server.bundle() });
  await rig.until(() => rig.told.at(-1)?.bundlePem !== pinned.pem);
  server.onRenew = () => undefined;
  clock.turn(HOUR_MS + SECOND_MS);
  assert.equal(rig.told.at(-1), undefined);
  await rig.until(() => rig.told.at(-1) !== undefined);
  assert.equal(rig.told.at(-1)?.bundlePem, newest.pem);
  assert.equal(server.tokens.length, 2);
});

test('every new stream begins with the bundle in force and the request that is open', async () => {
  await using server = await openScriptedControlPlane();
  server.onRenew = () => undefined;
  using rig = createKeeperRig(server);
  await rig.start();
  await server.until(() => server.streams.length === 1);
  rig.clock.turn(0.5 * HOUR_MS);
  await server.until(() => server.streams[0]?.received.length === 2);
  server.streams[0]?.end();
  await rig.until(() => rig.lines.some((line) => line.includes('no renewal stream')));
  server.onRenew = (csr) => ({ svid: server.svid(csr) });
  rig.clock.turn(500);
  await rig.until(() => rig.told.length === 2);
  const [ack, request] = server.streams[1]?.received ?? [];
  assert.equal(textOf(ack, 'bundle_ack'), bundleOf(server.authority)['version']);
  assert.deepEqual(request?.['csr_der'], server.streams[0]?.received[1]?.['csr_der']);
});

test('no key is in any line of the log nor in what is reported of the identity', async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server);
  await rig.start();
  const key = rig.keeper.svid?.keyPem.split('\n')[1] ?? 'none';
  for (const text of [...rig.lines, JSON.stringify(rig.identity.report())]) {
    assert.ok(!text.includes('PRIVATE KEY') && !text.includes(key), text);
    assert.ok(!text.includes('token'), text);
  }
});

const podEvidence: Evidence = {
  kind: 'service-account-token',
  token: 'a.b.c',
  pod: 'web-0',
  namespace: 'shop',
};

test("a Pod's evidence is its token, its name and its namespace, and no join token", async () => {
  await using server = await openScriptedControlPlane();
  using rig = createKeeperRig(server, { readEvidence: async () => podEvidence });
  await rig.start();
  const { csr_der: csr, ...rest } = server.requests[0] ?? {};
  assert.ok(csr instanceof Uint8Array);
  assert.deepEqual(rest, { service_account_token: 'a.b.c', pod: 'web-0', namespace: 'shop' });
});

test('in a Pod a refusal is told and tried again, with the token of then', async () => {
  await using server = await openScriptedControlPlane();
  server.onEnrol = () => {
    throw new Refusal(status.UNAUTHENTICATED, 'the Pod web-0 does not exist');
  };
  const tokens: (string | Error)[] = [new Error('no such file'), 'old', 'new'];
  using rig = createKeeperRig(server, {
    afterRefusal: 'retry',
    readEvidence: async () => {
      const next = tokens.shift() ?? 'none';
      if (next instanceof Error) throw next;
      return { ...podEvidence, token: next };
    },
  });
  const started = rig.start();
  await rig.until(() => rig.lines.length === 1);
  assert.equal(rig.keeper.failure, 'no such file');
  rig.clock.turn(500);
  await rig.until(() => rig.lines.length === 2);
  assert.equal(rig.keeper.failure, 'the Pod web-0 does not exist');
  server.onEnrol = (csr) => ({ svid: server.svid(csr), bundle: server.bundle() });
  rig.clock.turn(SECOND_MS);
  await started;
  assert.equal(rig.keeper.failure, undefined);
  const sent = server.requests.map((request) => request['service_account_token']);
  assert.deepEqual(sent, ['old', 'new']);
});

test("before it has enrolled a sidecar takes a newer bundle from its file; afterwards the control plane's holds", async () => {
  const clock = createTurnableClock();
  await using server = await openScriptedControlPlane({ authority: { clock } });
  await using other = await openTestAuthority();
  const good = server.authority.bundle().pem;
  let file = other.bundle().pem;
  let reads = 0;
  using rig = createKeeperRig(server, {
    clock,
    bundlePem: file,
    afterRefusal: 'retry',
    readBundle: async () => {
      reads++;
      return file;
    },
  });
  const started = rig.start();
  await rig.until(() => rig.lines.length === 1);
  assert.match(rig.keeper.failure ?? '', /certificate/, 'the server is not under these roots');
  file = 'garbage';
  clock.turn(500);
  await rig.until(() => rig.lines.length === 2);
  file = good;
  clock.turn(SECOND_MS);
  await started;
  assert.equal(rig.told.at(-1)?.bundlePem, good);
  assert.equal(reads, 3);
  file = other.bundle().pem;
  await server.until(() => server.streams.length === 1);
  clock.turn(0.5 * HOUR_MS);
  await rig.until(() => rig.told.length === 2);
  assert.equal(rig.told.at(-1)?.bundlePem, good);
  assert.equal(reads, 3, 'with a certificate the file is not asked');
});
