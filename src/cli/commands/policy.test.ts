import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { addPolicyCommands } from './policy.ts';
import { isNamed } from './policy-status.ts';

test('every weft policy command says what it does, and shows an example', () => {
  const program = new Command('weft');
  addPolicyCommands(program);
  const commands = program.commands.flatMap((command) => command.commands);
  assert.ok(commands.length >= 9);
  for (const command of commands) {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    assert.ok(command.description() !== '', command.name());
    assert.match(help, new RegExp(`Examples?:\\n +weft policy ${command.name()}`), command.name());
  }
});

test('a policy is named by its name, with its namespace, and with its kind', () => {
  const policy = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  for (const name of ['p', 'shop/p', 'AuthorizationPolicy/shop/p'])
    assert.ok(isNamed(policy, name));
  for (const name of [
    'q',
    'x/p',
    'PeerAuthentication/shop/p',
    'x/AuthorizationPolicy/shop/p',
    '',
  ]) {
    assert.ok(!isNamed(policy, name), name);
  }
});
