// Who floods, who does not, and what it costs to know.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import type { FloodsConfig } from '@weft/xds/resources/traffic';
import { type Ends, type Flood, FloodGuard } from './flood-guard.ts';

const CONFIG: FloodsConfig = {
  action: 'drop',
  windowMs: 10_000,
  thresholds: { requests: 10, connections: 5, slowReads: 1 },
  exempt: ['10.9.0.0/16'],
  maxClients: 1_024,
};
const from = (sourceAddress: string): Ends => ({ sourceAddress, destinationAddress: '10.0.0.1' });

function createRig(config: Partial<FloodsConfig> = {}) {
  const rig = { nowMs: 1_000 };
  const guard = new FloodGuard({ ...CONFIG, ...config }, { now: () => rig.nowMs, sweepMs: 1 });
  const times = (
    count: number,
    ends: Ends,
    event: 'requests' | 'connections' = 'requests',
  ): number => {
    let passed = 0;
    for (let at = 0; at < count; at++) if (guard.note(ends, event) === undefined) passed++;
    return passed;
  };
  return { rig, guard, times };
}

test('a client floods above its threshold, is told once, and has calmed down when half of it has faded', () => {
  const { rig, guard, times } = createRig();
  const ends = from('192.0.2.1');
  assert.equal(times(10, ends), 10);
  assert.deepEqual(guard.note(ends, 'requests'), {
    event: 'requests',
    action: 'drop',
    isNew: true,
  });
  assert.deepEqual(guard.note(ends, 'requests'), {
    event: 'requests',
    action: 'drop',
    isNew: false,
  });
  assert.equal(times(1, from('192.0.2.2')), 1, 'others go on');
  rig.nowMs += 4_000;
  assert.notEqual(guard.note(ends, 'connections'), undefined, 'and it floods whatever it does');
  rig.nowMs += 6_000;
  assert.equal(guard.note(ends, 'connections'), undefined);
});

test('a steady client may do nine tenths of its threshold in each window for ever', () => {
  const { rig, times } = createRig();
  const ends = from('192.0.2.1');
  for (let second = 0; second < 100; second++) {
    rig.nowMs += 1_100;
    assert.equal(times(1, ends), 1, `second ${second}`);
  }
});

for (const [what, ends] of [
  ['loopback', from('127.0.0.1')],
  ['IPv6 loopback', from('::1')],
  ['the Pod itself', from('10.0.0.1')],
  ['an exempt network', from('10.9.3.4')],
  ['no address at all', from('')],
] as const) {
  test(`${what} is never counted: probes come by it`, () => {
    assert.equal(createRig().times(1_000, ends), 1_000);
  });
}

test('a network of IPv6 is one client', () => {
  const { times } = createRig();
  for (let host = 0; host < 10; host++)
    assert.equal(times(1, from(`2001:db8:1:2::${host + 1}`)), 1);
  assert.equal(times(1, from('2001:db8:1:2:ffff::1')), 0);
  assert.equal(times(1, from('2001:db8:1:3::1')), 1);
});

test('a quarter of a million clients take no more memory than was set aside, and who floods stays known', () => {
  const { guard, times } = createRig({ maxClients: 10_000 });
  const bytes = guard.bytes;
  assert.ok(bytes < 10_000 * 2 * 40, `${bytes} bytes`);
  const heavy = from('192.0.2.1');
  assert.equal(times(11, heavy), 10);
  for (let at = 0; at < 250_000; at++) {
    guard.note(from(`${11 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}.7`), 'requests');
  }
  assert.equal(guard.bytes, bytes);
  assert.equal(times(1, heavy), 0, 'it was not pushed out');
});

class FakeSocket extends EventEmitter {
  writableLength = 0;
  bytesWritten = 0;
}

test('open connections of a client that is dropped are cut, and those of nobody else', async () => {
  const { guard, times } = createRig();
  const cut: string[] = [];
  const sockets = ['a', 'a', 'b'].map((name, at) => {
    const socket = new FakeSocket();
    guard.watch(socket as never, from(`192.0.2.${name === 'a' ? 1 : 2}`), () =>
      cut.push(`${name}${at}`),
    );
    return socket;
  });
  sockets[0]?.emit('close');
  times(11, from('192.0.2.1'));
  await new Promise(setImmediate);
  assert.deepEqual(cut, ['a1']);
});

test('a client that does not take what it asked for is a slow reader; one that takes some is not', async () => {
  const { guard } = createRig({ action: 'log' });
  const told = new EventEmitter();
  guard.onFlood = (flood: Flood, ends: Ends) => void told.emit('flood', flood, ends);
  const slow = new FakeSocket();
  slow.bytesWritten = slow.writableLength = 5;
  const busy = new FakeSocket();
  Object.defineProperty(busy, 'bytesWritten', { get: () => performance.now() * 1e3 });
  busy.writableLength = 5;
  guard.watch(slow as never, from('192.0.2.1'), () => undefined);
  guard.watch(busy as never, from('192.0.2.2'), () => undefined);
  const [flood, ends] = (await once(told, 'flood', { signal: AbortSignal.timeout(5_000) })) as [
    Flood,
    Ends,
  ];
  assert.deepEqual([flood.event, ends.sourceAddress], ['slowReads', '192.0.2.1']);
  slow.emit('close');
  busy.emit('close');
});
