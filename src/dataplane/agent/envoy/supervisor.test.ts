import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { pino } from 'pino';
import { eventually } from '../../../../test/support/lab-wait.ts';
import { Supervisor } from './supervisor.ts';

/** In place of Envoy: what a shell does with the words of its command line. */
function createRig(script: string) {
  const clock = createTurnableClock();
  const told: string[] = [];
  const lines: string[] = [];
  const supervisor = new Supervisor({
    guard: ['/bin/sh', '-c', script, 'sh'],
    binary: 'envoy',
    args: ['-c', 'x.json'],
    folder: '/',
    onLine: (line) => lines.push(line),
    onStart: () => told.push('start'),
    onEnd: () => told.push('end'),
    onGiveUp: (reason) => told.push(reason),
    clock,
    random: () => 0.999,
    log: pino({ level: 'silent' }),
  });
  return { supervisor, clock, told, lines };
}

test('one that ends is started again, later and later, and given up in the end', async () => {
  const rig = createRig('exit 3');
  rig.supervisor.start();
  for (let count = 1; count <= 10; count++) {
    await eventually(() => rig.told.filter((word) => word === 'end').length === count, {
      what: `end ${count}`,
    });
    rig.clock.turn(count === 1 ? 150 : 15);
    if (count > 1) assert.equal(rig.told.at(-1), 'end', 'not at once');
    rig.clock.turn(10_000);
  }
  await eventually(() => rig.told.at(-1)?.startsWith('Envoy has ended 10 times') === true, {
    what: 'giving up',
    told: () => rig.told.join(),
  });
  assert.match(String(rig.told.at(-1)), /status 3/);
  assert.equal(rig.supervisor.pid, undefined);
});

test('its lines are taken one by one, long ones cut, and it ends when it is told to', async () => {
  const rig = createRig(
    'echo "$@"; head -c 200000 /dev/zero | tr "\\0" x; echo; echo end; exec sleep 60',
  );
  rig.supervisor.start();
  await eventually(() => rig.lines.at(-1) === 'end', { what: 'the last line' });
  assert.equal(rig.lines[0], `${process.pid} envoy -c x.json`);
  assert.equal(rig.lines.length, 3);
  assert.ok((rig.lines[1]?.length ?? 0) <= 65_536);
  assert.ok(rig.supervisor.pid !== undefined);
  await rig.supervisor.stop(5_000);
  assert.equal(rig.supervisor.pid, undefined);
  assert.deepEqual(rig.told, ['start']);
});

test('one that does not end on SIGTERM is killed', async () => {
  const rig = createRig('trap "" TERM; echo up; while :; do sleep 0.05; done');
  rig.supervisor.start();
  await eventually(() => rig.lines.includes('up'), { what: 'its start' });
  await rig.supervisor.stop(100);
  assert.equal(rig.supervisor.pid, undefined);
});
