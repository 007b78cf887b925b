// Streams with the same certificate and bundle share a connection; it ends with the last of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { SharedChannel } from './shared-channel.ts';

function createRig() {
  const opened: Client[] = [];
  const closed: Client[] = [];
  const channel = new SharedChannel(() => {
    const client = new Client('127.0.0.1:1', credentials.createInsecure());
    const close = client.close.bind(client);
    client.close = () => {
      closed.push(client);
      close();
    };
    opened.push(client);
    return client;
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
  const renewed = lease('b');
  const distrusting = lease('b', 'other roots');
  assert.equal(new Set([old.client, renewed.client, distrusting.client]).size, 3);
  old[Symbol.dispose]();
  assert.deepEqual(closed, [opened[0]]);
  assert.equal(lease('b', 'other roots').client, distrusting.client);
});

test('after the last stream has ended the next one has a new connection: what was wrong with the old one is not its concern', () => {
  const { opened, lease } = createRig();
  lease('a')[Symbol.dispose]();
  lease('a');
  assert.equal(opened.length, 2);
});
