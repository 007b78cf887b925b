// Requests that are sent again over HTTP/2: calls of gRPC and others, bodies and time limits.
import assert from 'node:assert/strict';
import http2, { type ServerHttp2Stream } from 'node:http2';
import { test } from 'node:test';
import { createRig, listen } from '../../../test/support/http2-rig.ts';
import { testPlan, type TestPlan } from '../../../test/support/retry-plan.ts';

interface Seen {
  readonly bodies: string[];
}

async function rigOf(answers: readonly ((stream: ServerHttp2Stream) => void)[], timed: TestPlan) {
  const seen: Seen = { bodies: [] };
  const backend = http2.createServer();
  backend.on('stream', (stream: ServerHttp2Stream) => {
    const at = seen.bodies.push('') - 1;
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      seen.bodies[at] += chunk.toString();
    });
    stream.on('end', () => answers[Math.min(at, answers.length - 1)]?.(stream));
  });
  const rig = await createRig(await listen(backend), undefined, timed.plan);
  const client = http2.connect(`http://127.0.0.1:${rig.port}`);
  return {
    ...seen,
    rig,
    async ask(headers: http2.OutgoingHttpHeaders, body = ''): Promise<Record<string, unknown>> {
      const isBodiless = body === '';
      const stream = client.request({ ':path': '/a', ...headers }, { endStream: isBodiless });
      if (!isBodiless) stream.end(body);
      let text = '';
      const heads: http2.IncomingHttpHeaders[] = [];
      stream.on('response', (head) => heads.push(head));
      return new Promise((resolve, reject) => {
        stream.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        stream.on('end', () => resolve({ ...heads[0], text }));
        stream.on('error', reject);
      });
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await rig[Symbol.asyncDispose]();
      backend.close();
    },
  };
}

const say =
  (headers: http2.OutgoingHttpHeaders, text = '') =>
  (stream: ServerHttp2Stream): void => {
    stream.respond(headers);
    stream.end(text);
  };
const BUSY = say({ ':status': 503 }, 'busy');
const OK = say({ ':status': 200 }, 'ok');
const trailersOnly = (status: string) =>
  say({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status });
const GRPC = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

for (const [what, first] of [
  ['an answer of 503', BUSY],
  ['a stream that is reset', (stream: ServerHttp2Stream) => stream.close(2)],
] as const) {
  test(`${what} is followed by another attempt with the same body`, async () => {
    await using call = await rigOf([first, OK], testPlan());
    const answer = await call.ask({ ':method': 'PUT' }, 'hello');
    assert.equal(answer[':status'], 200);
    assert.equal(answer['text'], 'ok');
    assert.deepEqual(call.bodies, ['hello', 'hello']);
  });
}

test('a POST is not sent again, nor anything more often than the policy says', async () => {
  await using call = await rigOf([BUSY], testPlan());
  assert.equal((await call.ask({ ':method': 'POST' }, 'x'))[':status'], 503);
  assert.equal(call.bodies.length, 1);
  assert.equal((await call.ask({ ':method': 'GET' }))[':status'], 503);
  assert.equal(call.bodies.length, 4);
});

test('a gRPC call is sent again when its server says that it is unavailable, and not on what it does not say', async () => {
  const timed = testPlan({ on: ['unavailable', 'gateway-error', 'reset'] });
  await using call = await rigOf([trailersOnly('14'), trailersOnly('0')], timed);
  assert.equal((await call.ask(GRPC, 'x'))['grpc-status'], '0');
  assert.equal(call.bodies.length, 2);
  await using other = await rigOf([trailersOnly('13'), trailersOnly('0')], timed);
  assert.equal((await other.ask(GRPC, 'x'))['grpc-status'], '13');
  assert.equal(other.bodies.length, 1);
  await using cut = await rigOf([(stream) => stream.close(2), trailersOnly('0')], timed);
  await assert.rejects(
    cut.ask(GRPC, 'x').then((answer) => {
      if (answer['grpc-status'] !== '0') throw new Error(String(answer['grpc-status']));
    }),
  );
  assert.equal(cut.bodies.length, 1, 'it may have been processed');
});

test('an attempt that takes too long is given up for another, and the last one is a 504', async () => {
  const timed = testPlan({ perTryTimeoutMs: 500, retries: 1 });
  await using call = await rigOf([() => undefined], timed);
  const answer = call.ask({ ':method': 'GET' });
  await timed.elapse(500);
  await timed.elapse(500);
  assert.equal((await answer)[':status'], 504);
  assert.equal(call.bodies.length, 2);
  assert.equal(timed.timers.size, 0);
});

test('a body that is too long to be kept is sent once', async () => {
  await using call = await rigOf([BUSY], testPlan());
  assert.equal((await call.ask({ ':method': 'PUT' }, 'x'.repeat(200_000)))[':status'], 503);
  assert.equal(call.bodies.length, 1);
});
