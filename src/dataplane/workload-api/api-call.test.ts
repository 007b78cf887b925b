import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import { test } from 'node:test';
import { MessageReader } from '../control-plane/grpc/messages.ts';
import { CallFailure, STATUS } from '../control-plane/grpc/status.ts';
import { ApiCall } from './api-call.ts';

/** A call whose client reads nothing until it is told to. */
async function createRig(windowBytes?: number) {
  const server = http2.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const settings = windowBytes === undefined ? {} : { initialWindowSize: windowBytes };
  const session = http2.connect(`http://127.0.0.1:${address.port}`, { settings });
  const request = session.request({ ':method': 'POST' }, { endStream: false });
  const [stream] = (await once(server, 'stream')) as [ServerHttp2Stream];
  return {
    call: new ApiCall(stream),
    request,
    session,
    async [Symbol.asyncDispose]() {
      session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const LAST = 20;

test('of messages that wait for a slow reader the newest alone is sent', async () => {
  await using rig = await createRig(0);
  const message = (number: number): Buffer => Buffer.alloc(40_000, number);
  for (let number = 1; number <= LAST; number++) {
    rig.call.sendLatest(message(number));
    await new Promise(setImmediate);
  }
  const heard: number[] = [];
  const reader = new MessageReader(100_000);
  const last = Promise.withResolvers<void>();
  rig.request.on('data', (chunk: Buffer) =>
    reader.read(chunk, (bytes) => {
      heard.push(bytes[0] ?? 0);
      if (bytes[0] === LAST) last.resolve();
    }),
  );
  rig.session.settings({ initialWindowSize: 65_535 });
  await last.promise;
  assert.ok(heard.length <= 3, `it was sent ${heard.join(', ')}`);
});

test('a refusal after answers ends with its code, and nothing is sent after it', async () => {
  await using rig = await createRig();
  rig.call.sendLatest(Buffer.from('a'));
  rig.call.fail(new CallFailure(STATUS.UNAVAILABLE, 'für heute: 100 %'));
  rig.call.sendLatest(Buffer.from('b'));
  rig.call.answer(Buffer.from('c'));
  let bytes = 0;
  rig.request.on('data', (chunk: Buffer) => (bytes += chunk.length));
  const end = once(rig.request, 'end');
  const [trailers] = (await once(rig.request, 'trailers')) as [http2.IncomingHttpHeaders];
  assert.equal(trailers['grpc-status'], '14');
  assert.equal(decodeURIComponent(String(trailers['grpc-message'])), 'für heute: 100 %');
  await end;
  assert.equal(bytes, 6);
  rig.request.end();
});

test('request() gives the one message, and fails when none comes or the caller goes', async () => {
  await using whole = await createRig();
  whole.request.end(Buffer.from([0, 0, 0, 0, 1, 7]));
  assert.deepEqual([...(await whole.call.request())], [7]);
  await using none = await createRig();
  const asked = none.call.request();
  none.request.end();
  await assert.rejects(asked, { code: STATUS.INVALID_ARGUMENT });
  await using gone = await createRig();
  const waiting = gone.call.request();
  gone.request.close(http2.constants.NGHTTP2_CANCEL);
  await assert.rejects(waiting, /no message came|the caller is gone/);
});
