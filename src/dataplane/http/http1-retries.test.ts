// Requests that are sent again over HTTP/1: what the backend sees of them, and what the client.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { eventually } from '../../../test/support/servers.ts';
import { testPlan, type TestPlan } from '../../../test/support/retry-plan.ts';
import { createBackend, createRig, RawClient, type Rig } from './http1-rig.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const UNAVAILABLE = 'HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nbusy\n';

interface Seen {
  /** What came on each connection, in order. */
  readonly texts: string[];
}

/** Answers the n-th connection by `answers[n]`, once what `isWhole` waits for has come. */
async function backendOf(
  answers: readonly ((socket: Socket) => void)[],
  isWhole: (text: string) => boolean = (text) => text.includes('\r\n\r\n'),
) {
  const seen: Seen = { texts: [] };
  const backend = await createBackend((socket) => {
    const at = seen.texts.push('') - 1;
    let isAnswered = false;
    socket.on('data', (chunk: Buffer) => {
      seen.texts[at] += chunk.toString('latin1');
      if (isAnswered || !isWhole(seen.texts[at] ?? '')) return;
      isAnswered = true;
      answers[Math.min(at, answers.length - 1)]?.(socket);
    });
  });
  return { ...seen, backend, port: backend.port };
}

const write = (text: string) => (socket: Socket) => void socket.write(text, 'latin1');
const reset = (socket: Socket): void => void socket.destroy();
const silence = (): void => undefined;

const rigOf = (port: number, { plan }: TestPlan): Promise<Rig> =>
  createRig(port, {
    act: (head, upstream) => ({
      kind: 'forward',
      upstream,
      edits: { target: head.path, isRemoved: () => false, added: [] },
      retry: plan,
    }),
  });

const GET = 'GET /a HTTP/1.1\r\nhost: a\r\n\r\n';
const send = (method: string, body: string): string =>
  `${method} /a HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

for (const [what, first] of [
  ['an answer of 503', write(UNAVAILABLE)],
  ['a connection that is cut', reset],
] as const) {
  test(`${what} is followed by another attempt, of which alone the client hears`, async () => {
    const { texts, port, backend } = await backendOf([first, write(OK)]);
    await using _ = backend;
    await using rig = await rigOf(port, testPlan());
    using client = new RawClient(rig.port);
    client.write(GET);
    await client.until((text) => text.endsWith('ok'));
    assert.ok(!client.text.includes('503'));
    assert.equal(texts.length, 2);
    assert.ok(texts[0]?.startsWith('GET /a '));
    assert.ok(rig.upstream.reports.length > 0 && rig.upstream.reports[0] !== 200);
  });
}

test('the answer to the last attempt is the client’s, whatever it is', async () => {
  const { texts, port, backend } = await backendOf([write(UNAVAILABLE)]);
  await using _ = backend;
  await using rig = await rigOf(port, testPlan());
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('busy\n'));
  assert.equal(texts.length, 3);
  assert.equal(client.text.split('HTTP/1.1').length, 2);
});

test('a POST is not sent again once it may have been processed', async () => {
  const { texts, port, backend } = await backendOf([write(UNAVAILABLE)]);
  await using _ = backend;
  await using rig = await rigOf(port, testPlan());
  using client = new RawClient(rig.port);
  client.write(send('POST', 'hello'));
  await client.until((text) => text.endsWith('busy\n'));
  assert.equal(texts.length, 1);
});

test('a body that came in parts is sent again whole, and what is still to come follows it', async () => {
  const whole = send('PUT', 'hello, world');
  const { texts, port, backend } = await backendOf(
    [write(UNAVAILABLE), write(OK)],
    (text) => texts.length === 1 || text.endsWith('world'),
  );
  await using _ = backend;
  await using rig = await rigOf(port, testPlan());
  using client = new RawClient(rig.port);
  client.write(whole.slice(0, -7));
  await eventually(() => texts.length === 2, 'the second attempt');
  client.write(whole.slice(-7));
  await client.until((text) => text.endsWith('ok'));
  assert.ok(texts[1]?.endsWith('hello, world'));
});

test('a body that is too long to be kept is sent once', async () => {
  const body = 'x'.repeat(100_000);
  const { texts, port, backend } = await backendOf([write(UNAVAILABLE)], (text) =>
    text.endsWith(body.slice(0, 10)),
  );
  await using _ = backend;
  await using rig = await rigOf(port, testPlan());
  using client = new RawClient(rig.port);
  client.write(send('PUT', body));
  await client.until((text) => text.includes('busy\n'));
  assert.equal(texts.length, 1);
});

test('an attempt that takes too long is given up for another, and the last one is a 504', async () => {
  const { texts, port, backend } = await backendOf([silence]);
  await using _ = backend;
  const timed = testPlan({ perTryTimeoutMs: 500, retries: 1 });
  await using rig = await rigOf(port, timed);
  using client = new RawClient(rig.port);
  client.write(GET);
  await timed.elapse(500);
  await timed.elapse(500);
  await client.until((text) => text.endsWith('upstream-try-timeout\n'));
  assert.match(client.text, /^HTTP\/1.1 504 /);
  assert.equal(texts.length, 2);
  assert.equal(timed.timers.size, 0);
});

test('an answer that has begun is never taken back: what breaks off then is broken', async () => {
  const begun = 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha';
  const { texts, port, backend } = await backendOf([
    (socket) => socket.write(begun, () => socket.destroy()),
  ]);
  await using _ = backend;
  await using rig = await rigOf(port, testPlan());
  using client = new RawClient(rig.port);
  client.write(GET);
  await client.ended();
  assert.equal(texts.length, 1);
});

test('a client that goes while a retry waits leaves nothing behind', async () => {
  const { port, backend } = await backendOf([write(UNAVAILABLE)]);
  await using _ = backend;
  const timed = testPlan();
  const slow = {
    ...timed,
    plan: {
      ...timed.plan,
      random: () => 1,
      policy: { ...timed.plan.policy, backOff: { baseMs: 900, maxMs: 900 } },
    },
  };
  await using rig = await rigOf(port, slow);
  using client = new RawClient(rig.port);
  client.write(GET);
  await eventually(() => timed.timers.size > 0, 'the pause before the retry');
  client.socket.destroy();
  await rig.completed(1);
  assert.equal(timed.timers.size, 0);
  assert.equal(rig.completions[0]?.reasonCode, 'client-closed');
  for (let count = 0; count < 20; count++) assert.ok(timed.plan.allowance.tryBegin());
});
