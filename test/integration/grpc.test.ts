// gRPC between two applications: all four kinds of call, trailers, deadlines and cancellation, over connections that come and go.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { type GrpcApp, GrpcClient, nextText, startGrpcApp, statusOf } from '../support/lab-grpc.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

let lab: Lab;
let app: GrpcApp;
let client: LabSidecar;
let server: LabSidecar;
let grpc: GrpcClient;

before(async () => {
  lab = await startLab();
  app = await startGrpcApp();
  [server, client] = await Promise.all([
    lab.startSidecar({
      pod: 'prices-0',
      inbound: { 9000: app.address },
      service: [{ name: 'grpc', port: 9000, targetPort: 9000 }],
      args: ['--access-log', 'all'],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['prices.shop:9000'] }),
  ]);
  grpc = new GrpcClient(client.via('prices.shop:9000'));
});

after(async () => {
  grpc?.[Symbol.dispose]();
  await lab?.[Symbol.asyncDispose]();
  await app?.[Symbol.asyncDispose]();
});

test('unary: answer and trailers, binary ones too', async () => {
  const { text, trailers } = await grpc.unary('hello');
  assert.equal(text, 'app hello');
  assert.deepEqual(trailers.get('x-count'), ['1']);
  assert.deepEqual(trailers.get('x-bytes-bin'), [Buffer.from([0, 255, 1])]);
  shown('weft', 'http2-called', 'http2-calls', 'grpc-called', 'grpc-calls');
});

test('an error keeps its code, its words and its trailers', async () => {
  await assert.rejects(grpc.unary('fail'), {
    code: status.FAILED_PRECONDITION,
    details: 'as asked: ü',
  });
  const line = await server.access((entry) => entry['grpcStatus'] === '9', 'the failed call');
  assert.equal(line['status'], 200);
});

test('client streaming: many messages, one answer', async () => {
  const answer = await new Promise<string | undefined>((resolve, reject) => {
    const call = grpc.collect((error, text) => (error === null ? resolve(text) : reject(error)));
    for (let count = 0; count < 100; count++) call.write(String(count));
    call.end();
  });
  assert.equal(answer?.split('+').length, 100);
});

test('server streaming: messages in order, then trailers', async () => {
  const call = grpc.spread('a b c');
  const texts: string[] = [];
  call.on('data', (text: string) => texts.push(text));
  const ended = await statusOf(call);
  assert.deepEqual(texts, ['a', 'b', 'c']);
  assert.deepEqual(ended.metadata.get('x-count'), ['3']);
});

test('both ways at once: each message is answered before the next is sent', async () => {
  const call = grpc.chat();
  for (let count = 0; count < 5; count++) {
    call.write(String(count));
    assert.equal(await nextText(call), `app ${count}`);
  }
  call.end();
  const ended = await statusOf(call.resume());
  assert.equal(ended.code, status.OK);
  assert.deepEqual(ended.metadata.get('x-count'), ['bye']);
});

test('what the client cancels is cancelled at the application', async () => {
  const chat = grpc.chat();
  chat.write('x');
  await nextText(chat);
  const spread = grpc.spread('forever');
  await nextText(spread);
  const before = app.cancelled.length;
  chat.cancel();
  spread.cancel();
  await Promise.all([statusOf(chat), statusOf(spread)]);
  await eventually(() => app.cancelled.length >= before + 2, { what: 'both cancellations' });
  assert.deepEqual(app.cancelled.slice(before).sort(), ['chat', 'spread']);
});

test('a deadline ends the call at both ends, and the application is told of it', async () => {
  assert.equal((await grpc.unary('deadline')).text, 'app true');
  const before = app.cancelled.length;
  await assert.rejects(grpc.unary('hang', { timeoutMs: 2_000 }), {
    code: status.DEADLINE_EXCEEDED,
  });
  await eventually(() => app.cancelled.length > before, { what: 'the cancellation' });
});

test('messages of a megabyte and a hundred calls at once', async () => {
  const big = 'x'.repeat(1_000_000);
  assert.equal((await grpc.unary(big)).text.length, big.length + 4);
  const calls = Array.from({ length: 100 }, (_, index) => grpc.unary(String(index)));
  const texts = await Promise.all(calls);
  assert.deepEqual(
    texts.map(({ text }) => text),
    calls.map((_, index) => `app ${index}`),
  );
});

test('an application that sends GOAWAY ends what it has, and no call fails', async () => {
  const chat = grpc.chat();
  chat.write('before');
  await nextText(chat);
  const calls = Array.from({ length: 20 }, (_, index) => grpc.unary(`during ${index}`));
  await app.goAway();
  await Promise.all(calls);
  for (let count = 0; count < 20; count++) await grpc.unary('after');
  chat.write('still');
  assert.equal(await nextText(chat), 'app still');
  chat.end();
  assert.equal((await statusOf(chat.resume())).code, status.OK);
});

test('a policy refuses a method as PERMISSION_DENIED, and others stay', async () => {
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'no-unary',
      action: 'DENY',
      app: 'prices',
      rules: '[{to: [{operation: {paths: ["/test.Echo/Unary"]}}]}]',
    }),
  );
  await lab.enforced('no-unary');
  await assert.rejects(grpc.unary('x'), { code: status.PERMISSION_DENIED });
  const call = grpc.spread('a');
  assert.equal(await nextText(call), 'a');
  await lab.remove('p.yaml');
  await eventually(() => grpc.unary('x').then(() => true), { what: 'the end of the policy' });
});

test('an application that is gone is UNAVAILABLE', async () => {
  await app[Symbol.asyncDispose]();
  await assert.rejects(grpc.unary('x'), { code: status.UNAVAILABLE });
});
