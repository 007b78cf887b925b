// What is believed of another trust domain: what its publisher said last over real HTTPS, never less new, never too old, and from nobody else.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createTurnableClock, type TurnableClock } from '@weft/ca/testing/turnable-clock';
import { formatBundleDocument, rootsPem } from '@weft/model/federation/bundle-document';
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import { pino } from 'pino';
import { eventually } from '../../../test/support/lab-wait.ts';
import { createTestPki, type TestPki } from '../../../test/support/mesh-pki.ts';
import { Federations, type FederationsOptions } from './federations.ts';
import { keepBundlesIn } from './kept-bundles.ts';

const DOMAIN = 'partner.example';
const SERVER_ID = `spiffe://${DOMAIN}/ns/weft-system/sa/weft-control-plane`;
const HOUR_MS = 3_600_000;
const rootOf = ({ bundlePem }: TestPki): Buffer => new X509Certificate(bundlePem).raw;
const documentOf = (sequence: number | undefined, ...pkis: readonly TestPki[]): string =>
  formatBundleDocument({
    ...(sequence !== undefined && { sequence }),
    refreshHintSeconds: 60,
    x509Authorities: pkis.map(rootOf),
    jwtAuthorities: [],
  });

/** Serves what it is told, as a publisher with that id would. */
async function publish(pki: TestPki, first: string, spiffeId = SERVER_ID) {
  const { keyPem, chainPem } = pki.issue({ uris: [spiffeId] });
  const said = { status: 200, headers: {}, body: first };
  const asked: string[] = [];
  const server = https.createServer({ key: keyPem, cert: chainPem }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(said.status, said.headers).end(said.body);
  });
  server.on('tlsClientError', () => asked.push('refused'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    said,
    asked,
    port,
    serveAs(other: TestPki) {
      const { keyPem: key, chainPem: cert } = other.issue({ uris: [spiffeId] });
      server.setSecureContext({ key, cert });
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function federation(port: number, initial: string, more: object = {}): FederatedTrustDomain {
  const bundleEndpoint = {
    url: `https://127.0.0.1:${port}/`,
    profile: 'https_spiffe',
    spiffeId: SERVER_ID,
    bundle: initial,
  };
  const parsed = parseFederatedTrustDomain({
    apiVersion: 'security.weft.dev/v1',
    kind: 'FederatedTrustDomain',
    metadata: { name: 'partner', namespace: 'weft-system' },
    spec: { trustDomain: DOMAIN, bundleEndpoint, ...more },
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

const LOOPBACK = ['127.0.0.0/8'];

function keep(clock: TurnableClock, more: Partial<FederationsOptions> = {}) {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const federations = new Federations({ clock, log, random: () => 0, ...more });
  return {
    federations,
    lines,
    state: () => federations.states()[0],
    believed: () => [...federations.bundles.values()].flatMap((one) => one.x509Authorities),
    fetched: (count: number) =>
      eventually(
        () => (federations.fetches.good + federations.fetches.failed >= count ? true : undefined),
        { what: `fetch ${count}` },
      ),
    [Symbol.dispose]: () => federations[Symbol.dispose](),
  };
}

test('keys are fetched from who has the SPIFFE id, again by its hint, and a rotation of its root is followed', async () => {
  const [old, next] = [createTestPki(DOMAIN), createTestPki(DOMAIN)];
  const clock = createTurnableClock();
  await using server = await publish(old, documentOf(5, old));
  using kept = keep(clock);
  kept.federations.want([federation(server.port, documentOf(undefined, old))], LOOPBACK);
  await kept.fetched(1);
  assert.deepEqual(kept.believed(), [rootOf(old)]);
  server.said.body = documentOf(6, old, next);
  clock.turn(59_000);
  assert.equal(kept.federations.fetches.good, 1, 'not before the hint');
  clock.turn(1_000);
  await kept.fetched(2);
  assert.equal(kept.believed().length, 2);
  // The publisher is itself under the new root from now on, of which the object knows nothing.
  server.serveAs(next);
  server.said.body = documentOf(7, next);
  clock.turn(60_000);
  await kept.fetched(3);
  assert.deepEqual(kept.believed(), [rootOf(next)]);
  assert.deepEqual(new Set(server.asked), new Set(['GET /']));
});

const old = createTestPki(DOMAIN);
const stranger = createTestPki(DOMAIN);
const NOT_TAKEN: readonly (readonly [
  string,
  { readonly status?: number; readonly headers?: object; readonly body?: string },
  string,
])[] = [
  ['garbage', { body: '<html>' }, 'no JSON'],
  ['a document longer than any bundle', { body: `${' '.repeat(70_000)}{}` }, 'longer than'],
  ['a sequence that goes back', { body: documentOf(4, stranger) }, 'goes back'],
  ['other keys under the same sequence', { body: documentOf(5, stranger) }, 'same sequence'],
  ['a document without a sequence', { body: documentOf(undefined, stranger) }, 'no sequence'],
  ['an error', { status: 500, body: documentOf(6, stranger) }, 'the answer is 500'],
  ['a redirect', { status: 302, headers: { location: '/other' } }, 'the answer is 302'],
  [
    'a root that is none',
    { body: JSON.stringify({ keys: [{ kty: 'EC', use: 'x509-svid' }] }) },
    'x5c',
  ],
];
for (const [claim, answer, why] of NOT_TAKEN) {
  test(`${claim} is not taken: the last good keys stay, and it is said why`, async () => {
    const clock = createTurnableClock();
    await using server = await publish(old, documentOf(5, old));
    using kept = keep(clock);
    kept.federations.want([federation(server.port, documentOf(1, old))], LOOPBACK);
    await kept.fetched(1);
    Object.assign(server.said, answer);
    clock.turn(60_000);
    await kept.fetched(2);
    assert.deepEqual(kept.believed(), [rootOf(old)]);
    const [problem] = kept.federations.problems();
    assert.equal(problem?.code, 'bundle-stale');
    assert.ok(problem?.message.includes(why), problem.message);
    assert.ok(kept.state()?.isInForce);
  });
}

test('who is not under the keys of the trust domain, or has another id, is not heard', async () => {
  const clock = createTurnableClock();
  const impostors = [
    await publish(stranger, documentOf(9, stranger)),
    await publish(old, documentOf(9, stranger), `spiffe://${DOMAIN}/ns/shop/sa/web`),
  ];
  for (const impostor of impostors) {
    await using server = impostor;
    using kept = keep(clock);
    kept.federations.want([federation(server.port, documentOf(1, old))], LOOPBACK);
    await kept.fetched(1);
    assert.deepEqual(kept.believed(), []);
    assert.equal(kept.federations.problems()[0]?.code, 'bundle-missing');
    assert.ok(!server.asked.includes('GET /'), 'nothing was asked of an impostor');
  }
});

test('an address that is not public is not called unless it is listed (CVE-2026-41413)', async () => {
  await using server = await publish(old, documentOf(5, old));
  using kept = keep(createTurnableClock());
  kept.federations.want([federation(server.port, documentOf(1, old))], []);
  await kept.fetched(1);
  assert.deepEqual([kept.believed(), server.asked], [[], []]);
  assert.match(kept.state()?.failure ?? '', /not public/);
});

test('keys of a publisher that is away are believed as long as the object says, and no longer', async () => {
  const clock = createTurnableClock();
  using kept = keep(clock);
  {
    await using server = await publish(old, documentOf(5, old));
    const one = federation(server.port, documentOf(1, old), { keepForHours: 2 });
    kept.federations.want([one], LOOPBACK);
    await kept.fetched(1);
  }
  clock.turn(2 * HOUR_MS - 1);
  assert.deepEqual(kept.believed(), [rootOf(old)]);
  clock.turn(1);
  assert.deepEqual(kept.believed(), []);
  assert.equal(kept.state()?.isInForce, false);
});

test('over a restart the last good keys hold as long as they would have, and their sequence still counts', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'weft-federations-'));
  const clock = createTurnableClock();
  await using server = await publish(old, documentOf(5, old));
  const options = { kept: keepBundlesIn(directory.path) };
  const one = federation(server.port, documentOf(1, old));
  {
    using kept = keep(clock, options);
    kept.federations.want([one], LOOPBACK);
    await kept.fetched(1);
    await eventually(async () => (await options.kept.load(one)) && true, { what: 'kept' });
  }
  server.said.body = documentOf(4, stranger);
  clock.turn(HOUR_MS);
  {
    using kept = keep(clock, options);
    kept.federations.want([one], LOOPBACK);
    await kept.fetched(1);
    assert.deepEqual(kept.believed(), [rootOf(old)]);
    assert.ok(kept.state()?.failure?.includes('goes back'));
  }
  clock.turn(24 * HOUR_MS);
  using late = keep(clock, options);
  late.federations.want([one], LOOPBACK);
  await late.fetched(1);
  assert.deepEqual(late.believed(), [], 'a day is over, restart or not');
});

test('what is wanted no more is believed no more, at once; other keys to begin with begin anew', async () => {
  const clock = createTurnableClock();
  await using server = await publish(old, documentOf(5, old));
  using kept = keep(clock);
  let told = 0;
  using _subscription = kept.federations.subscribe(() => told++);
  kept.federations.want([federation(server.port, documentOf(1, old))], LOOPBACK);
  await kept.fetched(1);
  const before = told;
  kept.federations.want([], LOOPBACK);
  assert.deepEqual(kept.believed(), []);
  assert.ok(told > before);
  kept.federations.want([federation(server.port, documentOf(1, old, stranger))], LOOPBACK);
  assert.deepEqual(kept.believed(), []);
  await kept.fetched(2);
  assert.deepEqual(kept.believed(), [rootOf(old)]);
  assert.equal(rootsPem(kept.believed()), old.bundlePem);
});
