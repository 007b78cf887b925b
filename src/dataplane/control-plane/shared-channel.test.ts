// Streams with the same certificate and bundle share a connection; it ends with the last of them.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { serve } from '../../../test/support/servers.ts';
import { Channel } from './grpc/channel.ts';
import type { CallFailure } from './grpc/status.ts';
import { SharedChannel } from './shared-channel.ts';
import { whyNoAnswer } from './why-no-answer.ts';

const channelTo = (port: number): Channel =>
  new Channel({ address: { host: '127.0.0.1', port }, userAgent: 'test', maxMessageBytes: 1_000 });

function createRig() {
  const opened: Channel[] = [];
  const closed: Channel[] = [];
  const channel = new SharedChannel(() => {
    const one = channelTo(1);
    const close = one.close.bind(one);
    one.close = () => {
      closed.push(one);
      close();
    };
    opened.push(one);
    return one;
  });
  const lease = (chainPem: string, bundlePem = 'roots') =>
    channel.lease({ bundlePem, own: { chainPem } });
  return { opened, closed, lease };
}

test('three streams with one certificate have one connection, and it ends with the last of them', () => {
  const { opened, closed, lease } = createRig();
  const leases = ['a', 'a', 'a'].map((chain) => lease(chain));
  assert.equal(opened.length, 1);
  leases[0]?.[Symbol.dispose]();
  leases[0]?.[Symbol.dispose]();
  leases[1]?.[Symbol.dispose]();
  assert.equal(closed.length, 0, 'giving back twice is giving back once');
  leases[2]?.[Symbol.dispose]();
  assert.deepEqual(closed, opened);
});

test('a stream that is opened with a new certificate, or another bundle, gets a connection of its own', () => {
  const { opened, closed, lease } = createRig();
  const old = lease('a');
  using renewed = lease('b');
  using distrusting = lease('b', 'other roots');
  assert.equal(new Set([old.channel, renewed.channel, distrusting.channel]).size, 3);
  old[Symbol.dispose]();
  assert.deepEqual(closed, [opened[0]]);
  using again = lease('b', 'other roots');
  assert.equal(again.channel, distrusting.channel);
});

test('after the last stream has ended the next one has a new connection: what was wrong with the old one is not its concern', () => {
  const { opened, lease } = createRig();
  lease('a')[Symbol.dispose]();
  using _ = lease('a');
  assert.equal(opened.length, 2);
});

test('streams to an address that answers nothing end in time, and the next one has a new connection', async () => {
  await using silent = await serve(createServer());
  const channel = new SharedChannel(() => channelTo(silent.port), { connectMs: 100 });
  const material = { bundlePem: 'roots', own: { chainPem: 'a' } };
  const streams = [1, 2].map(async () => {
    using lease = channel.lease(material);
    const { promise, resolve } = Promise.withResolvers<CallFailure | undefined>();
    lease.channel.open('/x/Y', { onMessage: () => {}, onEnd: resolve });
    const failure = await promise;
    return { channel: lease.channel, said: whyNoAnswer(failure?.details ?? '') };
  });
  const [first, second] = await Promise.all(streams);
  assert.match(first?.said ?? '', /^nothing answered there in time/);
  assert.equal(second?.channel, first?.channel);
  using next = channel.lease(material);
  assert.notEqual(next.channel, first?.channel);
});
