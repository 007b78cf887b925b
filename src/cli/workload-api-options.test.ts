import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import {
  addWorkloadApiOptions,
  parseWorkloadApi,
  type WorkloadApiFlags,
  workloadApiOptionsOf,
} from './workload-api-options.ts';

function optionsOf(...args: readonly string[]) {
  const command = addWorkloadApiOptions(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  command.parse(args, { from: 'user' });
  return workloadApiOptionsOf(command.opts<WorkloadApiFlags>());
}

const UID = process.getuid?.() ?? 0;

test('a socket alone answers the own user, and is for owner and group', () => {
  assert.deepEqual(optionsOf('--workload-api', 'unix:/run/api.sock'), {
    path: '/run/api.sock',
    mode: 0o660,
    owner: undefined,
    allowed: { uids: [UID], gids: [], pids: [] },
  });
  assert.equal(optionsOf(), undefined);
});

test('owner, mode and callers are taken as they are named', () => {
  const options = optionsOf(
    '--workload-api=unix:///run/api.sock',
    '--workload-api-mode=0666',
    '--workload-api-owner=7:8',
    '--workload-api-allow=uid=1',
    '--workload-api-allow=gid=2',
  );
  assert.deepEqual(options, {
    path: '/run/api.sock',
    mode: 0o666,
    owner: { uid: 7, gid: 8 },
    allowed: { uids: [1], gids: [2], pids: [] },
  });
});

test('a place that is none is refused, with what to write', () => {
  for (const text of ['/run/api.sock', 'unix:api.sock', 'tcp://127.0.0.1:1', 'unix:', '']) {
    assert.throws(() => parseWorkloadApi(text), /write unix:\/run/);
  }
  assert.throws(() => parseWorkloadApi(`unix:/${'x'.repeat(107)}`), /at most 107 bytes/);
  assert.equal(parseWorkloadApi(`unix:/${'x'.repeat(106)}`).length, 107);
});

const BAD: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['a mode that can be executed', ['--workload-api-mode', '0777'], /no mode of a socket/],
  ['a mode that its owner cannot use', ['--workload-api-mode', '0060'], /no mode of a socket/],
  ['nobody as caller', ['--workload-api-allow', 'root'], /names nobody/],
];
for (const [what, args, message] of BAD) {
  test(`${what} is refused`, () => {
    assert.throws(() => optionsOf('--workload-api', 'unix:/x', ...args), message);
  });
}

test('options without a socket are a mistake', () => {
  assert.throws(() => optionsOf('--workload-api-allow', 'uid=1'), /give --workload-api/);
});
