// What the options of credentials take, and that nothing is opened by less than it needs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import {
  addCredentialsOptions,
  type CredentialsFlags,
  credentialsOptionsOf,
} from './credentials-options.ts';

function parse(...args: readonly string[]) {
  const command = addCredentialsOptions(new Command().exitOverride());
  command.configureOutput({ writeErr: () => undefined });
  return credentialsOptionsOf(command.parse([...args], { from: 'user' }).opts<CredentialsFlags>());
}

test('without an option there is nothing', () => {
  assert.equal(parse(), undefined);
});

test('a socket answers the own user, or those that are named', () => {
  const own = process.getuid?.() ?? 0;
  const socket = ['--credentials-socket', '/run/x.sock'];
  assert.deepEqual(parse(...socket)?.url?.allowed, { uids: [own], gids: [], pids: [] });
  const named = ['--credentials-allow', 'uid=7', '--credentials-allow', 'gid=8'];
  assert.deepEqual(parse(...socket, ...named)?.url?.allowed, { uids: [7], gids: [8], pids: [] });
});

test('files have mode, owner and what to do on a change', () => {
  const { files } =
    parse(
      '--credentials-dir',
      '/dev/shm/x',
      '--credentials-mode',
      '0400',
      '--credentials-owner',
      '7:8',
      '--credentials-on-change',
      'signal:HUP:/run/app.pid',
    ) ?? {};
  assert.deepEqual(files, {
    directory: '/dev/shm/x',
    mode: 0o400,
    owner: { uid: 7, gid: 8 },
    onChange: { kind: 'signal', signal: 'SIGHUP', pidFile: '/run/app.pid' },
    isForced: false,
  });
  const command = 'command:["/bin/app","reload now"]';
  const argv = parse('--credentials-dir', '/x', '--credentials-on-change', command)?.files
    ?.onChange;
  assert.deepEqual(argv, { kind: 'command', argv: ['/bin/app', 'reload now'] });
});

const DIR = ['--credentials-dir', '/x'];
const SOCKET = ['--credentials-socket', '/x'];
const REFUSED: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['a port without a token', ['--credentials-listen', '9000'], /needs --credentials-token-file/],
  [
    'a port that others reach',
    ['--credentials-listen', '0.0.0.0:9000', '--credentials-token-file', '/x'],
    /is not loopback/,
  ],
  [
    'callers of a port',
    [
      '--credentials-listen',
      '9000',
      '--credentials-token-file',
      '/x',
      '--credentials-allow',
      'uid=1',
    ],
    /a port does not say who calls/,
  ],
  ['a socket and a port', [...SOCKET, '--credentials-listen', '9000'], /cannot be used with/],
  ['callers without a door', ['--credentials-allow', 'uid=1'], /no way to them/],
  ['a path that is not absolute', ['--credentials-socket', 'x.sock'], /no absolute path/],
  ['a user by name', [...SOCKET, '--credentials-allow', 'uid=root'], /names nobody/],
  ['everybody', [...SOCKET, '--credentials-allow', '*'], /names nobody/],
  ['a negative user', [...SOCKET, '--credentials-allow', 'uid=-1'], /names nobody/],
  ['files for everybody', [...DIR, '--credentials-mode', '0444'], /no mode for secrets/],
  ['files that the group writes', [...DIR, '--credentials-mode', '0460'], /no mode for secrets/],
  ['programs', [...DIR, '--credentials-mode', '0500'], /no mode for secrets/],
  ['an owner by name', [...DIR, '--credentials-owner', 'app:app'], /no owner/],
  ['a shell line', [...DIR, '--credentials-on-change', 'command:reload me'], /says not what to do/],
  [
    'a command by its name alone',
    [...DIR, '--credentials-on-change', 'command:["reload"]'],
    /says not what to do/,
  ],
  [
    'a signal that is none',
    [...DIR, '--credentials-on-change', 'signal:RELOAD:/x'],
    /says not what to do/,
  ],
];
for (const [what, args, said] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.throws(() => parse(...args), said);
  });
}
