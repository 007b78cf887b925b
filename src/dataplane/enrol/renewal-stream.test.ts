// The renewal stream of a newer control plane: what is known of a message holds, and what is not is told, once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { systemClock } from '@weft/model/clock';
import { textOf } from '@weft/xds/protocol/fields';
import { encodeMessage, type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import { eventually } from '../../../test/support/lab-wait.ts';
import { Channel } from '../control-plane/grpc/channel.ts';
import { ownChannel } from '../control-plane/shared-channel.ts';
import { RenewalStream } from './renewal-stream.ts';

/** Field 99, a varint. */
const UNKNOWN = Buffer.from([0x98, 0x06, 0x01]);

/** Answers the first request with these bytes, each as a message. */
async function startServer(messages: readonly Buffer[]) {
  const server = new Server();
  const { Renew: method } = serviceDefinition('weft.enrolment.v1.Enrolment');
  assert.ok(method !== undefined);
  const responseSerialize = (bytes: Buffer): Buffer => bytes;
  server.addService(
    { Renew: { ...method, responseSerialize } },
    {
      Renew: (call: ServerDuplexStream<PlainMessage, Buffer>) => {
        call.on('error', () => undefined);
        call.once('data', () => messages.forEach((bytes) => call.write(bytes)));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

test('a bundle with a field that is not known is taken, and the field told once', async () => {
  const bundle = encodeMessage('weft.enrolment.v1.Bundle', { version: 'v1' });
  const inner = Buffer.concat([bundle, UNKNOWN]);
  const message = Buffer.concat([Buffer.from([0x12, inner.length]), inner]);
  using server = await startServer([message, message, UNKNOWN]);
  const lines: { readonly what?: string; readonly msg: string }[] = [];
  const bundles: string[] = [];
  using _stream = new RenewalStream({
    connect: () =>
      ownChannel(
        new Channel({
          address: { host: '127.0.0.1', port: server.port },
          userAgent: 'test',
          maxMessageBytes: 100_000,
        }),
      ),
    clock: systemClock,
    random: () => 0,
    log: pino({ level: 'warn' }, { write: (line) => lines.push(JSON.parse(line)) }),
    handlers: {
      onOpen: (send) => send({ bundle_ack: 'v0' }),
      onSvid: () => assert.fail('nobody sent one'),
      onBundle: (one) => bundles.push(textOf(one, 'version')),
      onRenewNow: () => assert.fail('nobody said so'),
    },
  });
  await eventually(() => lines.some(({ msg }) => msg.includes('something unknown')), {
    what: 'the last message',
  });
  assert.deepEqual(bundles, ['v1', 'v1']);
  const told = lines.flatMap(({ what }) => what ?? []);
  assert.deepEqual(told, [
    'has field number 99 of weft.enrolment.v1.Bundle, which is not known here',
    'has field number 99 of weft.enrolment.v1.RenewResponse, which is not known here',
  ]);
});
