// What a sidecar does with what the control plane grants: takes it, keeps it while nobody answers, loses it when it is withdrawn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { encodeMessage, type PlainMessage } from '@weft/xds/registry';
import { type Clock, systemClock } from '@weft/model/clock';
import { eventually } from '../../../test/support/lab-wait.ts';
import { CredentialsServer } from '../../../test/support/credentials-server.ts';
import { Channel } from '../control-plane/grpc/channel.ts';
import { ownChannel } from '../control-plane/shared-channel.ts';
import { createCredentialsRig } from './testing/rig.ts';
import { CredentialWatch } from './watch.ts';

async function createRig(clock: Clock = systemClock) {
  await using making = new AsyncDisposableStack();
  const server = making.use(await CredentialsServer.start());
  const rig = createCredentialsRig();
  const watch = making.use(
    new CredentialWatch({
      ...rig,
      connect: () =>
        ownChannel(
          new Channel({
            address: { host: '127.0.0.1', port: server.port },
            userAgent: 'test',
            maxMessageBytes: 4_000_000,
          }),
        ),
      nodeId: 'web-0.shop',
      clock,
      random: () => 0,
    }),
  );
  const owned = making.move();
  return { ...rig, server, watch, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const message = (changes: PlainMessage = {}): PlainMessage => ({
  name: 'db',
  version: 'v1',
  values: { password: Buffer.from('s3cret') },
  ways: ['WAY_URL'],
  ...changes,
});

test('what is granted is held, and the control plane told which version is in force', async () => {
  await using rig = await createRig();
  const stream = await rig.server.stream(0);
  assert.deepEqual(stream.received[0], { node_id: 'web-0.shop' });
  stream.send({ credentials: [message()], is_complete: true });
  await eventually(() => rig.store.isComplete, { what: 'the grant' });
  assert.equal(rig.store.get('db')?.values.get('password')?.toString(), 's3cret');
  const told = await eventually(() => stream.received[1], { what: 'the answer' });
  assert.deepEqual(told, { in_force: [{ name: 'db', version: 'v1' }] });
  stream.send({ removed: ['db'] });
  await eventually(() => rig.store.size === 0, { what: 'the withdrawal' });
});

test('without the control plane it is kept; the next stream says what is held and hears what went', async () => {
  await using rig = await createRig();
  const first = await rig.server.stream(0);
  first.send({ credentials: [message(), message({ name: 'api' })], is_complete: true });
  await eventually(() => rig.store.size === 2, { what: 'the grants' });
  first.end();
  const second = await rig.server.stream(1);
  assert.equal(rig.store.size, 2);
  const versions = ['db', 'api'].map((name) => ({ name, version: 'v1' }));
  assert.deepEqual(second.received[0]?.['held'], versions);
  second.send({ removed: ['db'], is_complete: true });
  await eventually(() => rig.store.get('db') === undefined, { what: 'the withdrawal' });
  assert.ok(rig.store.get('api'));
});

/** A field of this number with a small value, as a newer control plane might append it. */
const UNKNOWN_99 = Buffer.from([0x98, 0x06, 0x01]);

/** One length-delimited field. */
function field(number: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  assert.ok(body.length < 128 && number < 16);
  return Buffer.concat([Buffer.from([number * 8 + 2, body.length]), body]);
}

const encoded = (name: string): Uint8Array =>
  encodeMessage('weft.credentials.v1.Credential', message({ name }));
const injection = encodeMessage('weft.credentials.v1.Injection', {
  hosts: ['db.example.com'],
  bearer: { key: 'password' },
});

const SAYS_MORE: readonly (readonly [string, string, Buffer])[] = [
  ['itself', 'Credential', field(1, encoded('db'), UNKNOWN_99)],
  ['its injection', 'Injection', field(1, encoded('db'), field(5, injection, UNKNOWN_99))],
];
for (const [where, type, bytes] of SAYS_MORE) {
  test(`CVE-2022-21679: a credential of which a newer control plane says in ${where} what is not known is not held, others are`, async () => {
    await using rig = await createRig();
    const stream = await rig.server.stream(0);
    stream.send({ credentials: [message()], is_complete: true });
    await eventually(() => rig.store.get('db'), { what: 'the grant' });
    stream.send(Buffer.concat([bytes, field(1, encoded('api'))]));
    await eventually(() => rig.store.get('api'), { what: 'the other grant' });
    assert.equal(rig.store.get('db'), undefined);
    const reason = `has field number 99 of weft.credentials.v1.${type}, which is not known here`;
    assert.ok(rig.logged().includes(reason), rig.logged());
    assert.ok(!rig.logged().includes('s3cret'));
    assert.match(rig.exposed(), /weft_credentials_refused_total\{reason="unknown-field"\} 1/);
    const told = await eventually(() => stream.received[2], { what: 'the answer' });
    assert.deepEqual(told['in_force'], [{ name: 'api', version: 'v1' }]);
  });
}

test('CVE-2022-21679: a reply that says of all that it carries what is not known gives nothing, and takes away what it takes away', async () => {
  await using rig = await createRig();
  const stream = await rig.server.stream(0);
  const both = [message(), message({ name: 'api' })];
  stream.send({ credentials: [...both, message({ name: 'web' })], is_complete: true });
  await eventually(() => rig.store.size === 3, { what: 'the grants' });
  const removed = field(2, Buffer.from('api'));
  stream.send(Buffer.concat([field(1, encoded('db')), removed, UNKNOWN_99]));
  await eventually(() => rig.store.size === 1, { what: 'the withdrawal' });
  assert.ok(rig.store.get('web'), 'of which nothing was said');
});

test('hand-overs are told, with who took what', async () => {
  const clock = createTurnableClock();
  await using rig = await createRig(clock);
  const stream = await rig.server.stream(0);
  rig.handOvers.note({ name: 'db', version: 'v1' }, 'url', 'uid 7');
  rig.handOvers.note({ name: 'db', version: 'v1' }, 'url', 'uid 7');
  const told = await eventually(
    () => {
      clock.turn(1_000);
      return stream.received.find((request) => request['hand_overs'] !== undefined);
    },
    { what: 'the hand-over' },
  );
  assert.deepEqual(told['hand_overs'], [
    { name: 'db', version: 'v1', way: 'WAY_URL', receiver: 'uid 7', count: 2 },
  ]);
});

test('why a source cannot be read is known, and what is held stays', async () => {
  await using rig = await createRig();
  const stream = await rig.server.stream(0);
  stream.send({ credentials: [message()], is_complete: true });
  stream.send({ unavailable: [{ name: 'db', reason: 'vault is sealed' }] });
  await eventually(() => rig.watch.whyUnavailable('db') === 'vault is sealed', { what: 'why' });
  assert.ok(rig.store.get('db'));
});

const BAD: readonly (readonly [string, PlainMessage])[] = [
  ['no version', { version: '' }],
  ['a key that leads elsewhere', { values: { '../x': Buffer.from('s3cret') } }],
  ['a hidden key', { values: { '.x': Buffer.from('s3cret') } }],
  ['more than a mebibyte', { values: { a: Buffer.alloc(1_048_577) } }],
  ['an injection to every host', { injections: [{ hosts: ['*'], bearer: { key: 'password' } }] }],
  ['an injection without hosts', { injections: [{ bearer: { key: 'password' } }] }],
  ['an injection of no kind', { injections: [{ hosts: ['a.example'] }] }],
  [
    'an injection of a key that it has not',
    { injections: [{ hosts: ['a.b'], bearer: { key: 'x' } }] },
  ],
  [
    'a header that frames the message',
    {
      injections: [{ hosts: ['a.example'], header: { name: 'Content-Length', key: 'password' } }],
    },
  ],
  [
    'a header whose name is of ASCII only in lower case',
    { injections: [{ hosts: ['a.example'], header: { name: 'x-\u212aey', key: 'password' } }] },
  ],
  [
    'a header that is two',
    { injections: [{ hosts: ['a.example'], header: { name: 'a\r\nb', key: 'password' } }] },
  ],
];
for (const [what, changes] of BAD) {
  test(`a credential with ${what} is refused, and the one before it taken away`, async () => {
    await using rig = await createRig();
    const stream = await rig.server.stream(0);
    stream.send({ credentials: [message()], is_complete: true });
    await eventually(() => rig.store.size === 1, { what: 'the good one' });
    stream.send({ credentials: [message({ version: 'v2', ...changes })] });
    await eventually(() => rig.store.size === 0, { what: 'its going' });
    assert.match(rig.exposed(), /refused_total\{reason="unreadable"\} 1/);
    assert.doesNotMatch(rig.logged(), /s3cret/);
  });
}

test('a way that is not known is none', async () => {
  await using rig = await createRig();
  const stream = await rig.server.stream(0);
  stream.send({ credentials: [message({ ways: [9, 'WAY_UNSPECIFIED'] })], is_complete: true });
  await eventually(() => rig.store.size === 1, { what: 'the credential' });
  assert.deepEqual([...(rig.store.get('db')?.ways ?? [])], []);
});

test('no more than 256 are held', async () => {
  await using rig = await createRig();
  const stream = await rig.server.stream(0);
  const credentials = Array.from({ length: 300 }, (_, at) => message({ name: `c${at}` }));
  stream.send({ credentials, is_complete: true });
  await eventually(() => rig.store.isComplete, { what: 'all of them' });
  assert.equal(rig.store.size, 256);
  assert.match(rig.exposed(), /refused_total\{reason="too-many"\} 44/);
});
