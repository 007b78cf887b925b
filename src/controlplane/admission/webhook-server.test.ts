// What a caller of the webhooks can do wrong, and what it is then told; and that whatever fails is a refusal.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { test } from 'node:test';
import { openAuthority } from '@weft/ca/authority';
import { createMemoryStore } from '@weft/ca/store/memory';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { parseTrustDomain } from '@weft/model/identity';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { pino } from 'pino';
import type { AdmissionDecision } from './admission-review.ts';
import {
  openWebhookServer,
  type Review,
  type ReviewOutcome,
  type WebhookLimits,
} from './webhook-server.ts';

const NAME = 'weft-control-plane.weft-system.svc';
const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain);
const DOMAIN = trustDomain;

const allow: AdmissionDecision = { allowed: true, warnings: [], auditAnnotations: {} };

interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly outcomes: readonly (readonly [string, ReviewOutcome])[];
  readonly clock: ReturnType<typeof createTurnableClock>;
  send(options: SendOptions, body?: string | Uint8Array): Promise<Told>;
  post(body: unknown, path?: string): Promise<Told>;
}

type SendOptions = Omit<RequestOptions, 'headers'> & {
  readonly headers?: Readonly<Record<string, string>>;
};

interface Told {
  readonly status: number;
  readonly body: string;
  readonly notAfter: string;
}

async function createRig(
  review: Review = () => allow,
  limits: Partial<WebhookLimits> = {},
): Promise<Rig> {
  const stack = new AsyncDisposableStack();
  const clock = createTurnableClock();
  const authority = stack.use(
    await openAuthority({ store: createMemoryStore(), trustDomain: DOMAIN, clock }),
  );
  const outcomes: (readonly [string, ReviewOutcome])[] = [];
  const server = stack.use(
    await openWebhookServer({
      address: { host: '127.0.0.1', port: 0 },
      authority,
      dnsNames: [NAME],
      reviews: new Map([['/inject', review]]),
      onOutcome: (path, outcome) => outcomes.push([path, outcome]),
      limits,
      clock,
      log: pino({ level: 'silent' }),
    }),
  );
  const { port } = server.address;
  const send = async (options: SendOptions, body: string | Uint8Array = ''): Promise<Told> => {
    const sent = httpsRequest({
      host: '127.0.0.1',
      port,
      servername: NAME,
      ca: authority.bundle().pem,
      agent: false,
      method: 'POST',
      path: '/inject?timeout=10s',
      ...options,
      headers: { 'content-type': 'application/json', ...options.headers },
    });
    // A refusal may come before the body was sent: its rest then meets a closed connection.
    sent.on('error', () => undefined).end(body);
    const [answer] = await once(sent, 'response', { signal: AbortSignal.timeout(5_000) });
    const notAfter = answer.socket.getPeerCertificate().valid_to;
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk);
    return { status: answer.statusCode, body: Buffer.concat(chunks).toString(), notAfter };
  };
  return {
    port,
    outcomes,
    clock,
    send,
    post: (body, path = '/inject') => send({ path }, JSON.stringify(body)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const reviewOf = (request: unknown, apiVersion = 'admission.k8s.io/v1'): PlainObject => ({
  apiVersion,
  kind: 'AdmissionReview',
  request,
});

function responseOf({ body }: Told): PlainObject {
  const review: unknown = JSON.parse(body);
  assert.ok(isPlainObject(review) && isPlainObject(review['response']));
  return review['response'];
}

test('a review is answered with what was decided', async () => {
  await using rig = await createRig((request) => ({
    allowed: true,
    patch: [{ op: 'add', path: '/spec/x', value: request['object'] }],
    warnings: ['w'.repeat(300)],
    auditAnnotations: { injection: 'injected' },
  }));
  const told = await rig.post(reviewOf({ uid: 'u', object: { a: 1 } }));
  assert.equal(told.status, 200);
  const { patch, warnings, ...response } = responseOf(told);
  assert.deepEqual(response, {
    uid: 'u',
    allowed: true,
    patchType: 'JSONPatch',
    auditAnnotations: { injection: 'injected' },
  });
  assert.ok(typeof patch === 'string' && Array.isArray(warnings));
  assert.deepEqual(JSON.parse(Buffer.from(patch, 'base64').toString()), [
    { op: 'add', path: '/spec/x', value: { a: 1 } },
  ]);
  assert.equal(String(warnings[0]).length, 256);
  assert.deepEqual(rig.outcomes, [['/inject', 'allowed']]);
});

test('a refusal says why, and changes nothing', async () => {
  await using rig = await createRig(() => ({
    ...allow,
    allowed: false,
    message: 'because',
    patch: [{ op: 'remove', path: '/spec' }],
  }));
  assert.deepEqual(responseOf(await rig.post(reviewOf({ uid: 'u' }))), {
    uid: 'u',
    allowed: false,
    status: { message: 'because', code: 403, reason: 'Forbidden' },
  });
});

for (const [what, review] of [
  ['throws', () => assert.fail('broken')],
  ['rejects', () => Promise.reject(new Error('broken'))],
] satisfies readonly (readonly [string, Review])[]) {
  test(`what ${what} while deciding is a refusal, and the server goes on (threat: fail open)`, async () => {
    await using rig = await createRig(review);
    for (let at = 0; at < 2; at++) {
      const { allowed, status } = responseOf(await rig.post(reviewOf({ uid: 'u' })));
      assert.equal(allowed, false);
      assert.match(JSON.stringify(status), /could not decide: broken/);
    }
    assert.deepEqual(rig.outcomes[1], ['/inject', 'failed']);
  });
}

test('a decision that does not come in time is a refusal', async () => {
  const asked = Promise.withResolvers<void>();
  const never = new Promise<AdmissionDecision>(() => undefined);
  await using rig = await createRig(() => {
    asked.resolve();
    return never;
  });
  const told = rig.post(reviewOf({ uid: 'u' }));
  await asked.promise;
  rig.clock.turn(4_000);
  assert.equal(responseOf(await told)['allowed'], false);
});

const deep = (levels: number): string =>
  `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","object":${'['.repeat(levels)}"]]]"${']'.repeat(levels)}}}`;

const WRONG: readonly (readonly [string, SendOptions, string | Uint8Array, number, RegExp])[] = [
  ['another path', { path: '/mutate' }, '{}', 404, /use \/inject/],
  ['a path with dots', { path: '/x/../inject' }, '{}', 404, /no webhook/],
  ['another method', { method: 'PUT' }, '{}', 405, /POST/],
  ['another type', { headers: { 'content-type': 'text/yaml' } }, '{}', 415, /application\/json/],
  ['a compressed body', { headers: { 'content-encoding': 'gzip' } }, '{}', 415, /compressed/],
  ['no body', {}, '', 400, /no JSON/],
  ['a body that is no text', {}, Buffer.from([0x22, 0xff, 0x22]), 400, /UTF-8/],
  ['a body that is no object', {}, '[]', 400, /no JSON object/],
  ['another kind', {}, '{"kind":"Pod"}', 400, /no AdmissionReview/],
  [
    'another version',
    {},
    JSON.stringify(reviewOf({ uid: 'u' }, 'admission.k8s.io/v1beta1')),
    400,
    /"admission.k8s.io\/v1beta1", and admission.k8s.io\/v1 alone.*admissionReviewVersions/,
  ],
  ['no version', {}, '{"kind":"AdmissionReview"}', 400, /no version/],
  ['no request', {}, JSON.stringify(reviewOf(null)), 400, /no request/],
  ['no uid', {}, JSON.stringify(reviewOf({})), 400, /no uid/],
  ['a uid without end', {}, JSON.stringify(reviewOf({ uid: 'u'.repeat(129) })), 400, /no uid/],
  ['a body that is too deep', {}, deep(127), 400, /128 levels/],
  ['a body without end in brackets', {}, '['.repeat(1_000_000), 400, /128 levels/],
  ['a body that is too large', {}, ' '.repeat(3 * 1_048_576 + 1), 413, /3145728/],
  [
    'a body that says it is too large',
    { headers: { 'content-length': '99999999' } },
    '{',
    413,
    /3145728/,
  ],
];
for (const [what, options, body, status, said] of WRONG) {
  test(`${what} is refused with ${status}, and the reason`, async () => {
    await using rig = await createRig(() => assert.fail('must not be asked'));
    const told = await rig.send(options, body);
    assert.equal(told.status, status);
    assert.match(told.body, said);
    assert.equal(rig.outcomes[0]?.[1], 'refused');
  });
}

test('a body just deep enough is read, brackets in texts do not count', async () => {
  await using rig = await createRig();
  const told = await rig.send({}, deep(126));
  assert.equal(told.status, 200, told.body);
});

test('bodies that are too much together are refused, and others are taken when they are gone', async () => {
  await using rig = await createRig(() => allow, { heldBytes: 10_000 });
  const large = await rig.post(reviewOf({ uid: 'u', object: 'x'.repeat(20_000) }));
  assert.equal(large.status, 503);
  const unsized = { headers: { 'transfer-encoding': 'chunked' } };
  assert.equal((await rig.send(unsized, 'x'.repeat(20_000))).status, 503);
  assert.equal((await rig.post(reviewOf({ uid: 'u' }))).status, 200);
});

test('who speaks no TLS is not served', async () => {
  await using rig = await createRig();
  const socket = connect(rig.port, '127.0.0.1');
  socket.on('error', () => undefined).write('POST /inject HTTP/1.1\r\n\r\n');
  await once(socket.resume(), 'close', { signal: AbortSignal.timeout(5_000) });
  assert.equal((await rig.post(reviewOf({ uid: 'u' }))).status, 200);
});

test('the certificate is replaced at half of its life while the server runs', async () => {
  await using rig = await createRig();
  const first = await rig.post(reviewOf({ uid: 'u' }));
  rig.clock.turn(Date.parse(first.notAfter) - rig.clock.now() - 1_000);
  // By this machine's clock it is not valid yet.
  const asked = JSON.stringify(reviewOf({ uid: 'u' }));
  const second = await rig.send({ rejectUnauthorized: false }, asked);
  assert.ok(Date.parse(second.notAfter) > Date.parse(first.notAfter));
});

test('what is being decided when the server ends is answered', async () => {
  const asked = Promise.withResolvers<void>();
  const decided = Promise.withResolvers<AdmissionDecision>();
  const rig = await createRig(() => {
    asked.resolve();
    return decided.promise;
  });
  const told = rig.post(reviewOf({ uid: 'u' }));
  await asked.promise;
  const ended = rig[Symbol.asyncDispose]();
  decided.resolve(allow);
  assert.equal((await told).status, 200);
  await ended;
});
