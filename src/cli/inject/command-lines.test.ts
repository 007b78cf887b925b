// The command lines that injection writes into Pods are ones that `weft` takes.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { containersOf, listAt, objectAt } from '@weft/controlplane/inject/pod-shape';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { Command } from 'commander';
import { parseAllDocuments } from 'yaml';
import { addCaptureCommands } from '../commands/capture.ts';
import { addInspectCommands } from '../commands/inspect.ts';
import { loadSidecarCommand } from '../load-sidecar.ts';

const EXPECTED = fileURLToPath(new URL('../../../test/golden/inject/expected/', import.meta.url));

/** Runs nothing: says which command was understood, with its options. */
async function understood(argv: readonly string[]): Promise<readonly [string, PlainObject]> {
  let found: readonly [string, PlainObject] = ['', {}];
  const program = new Command('weft').exitOverride();
  (await loadSidecarCommand(argv))(program);
  addCaptureCommands(program);
  addInspectCommands(program);
  const replace = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    command.commands.forEach(replace);
    if (command.commands.length === 0) {
      command.action((options: PlainObject) => {
        found = [command.name(), options];
      });
    }
  };
  replace(program);
  await program.parseAsync(argv, { from: 'user' });
  return found;
}

/** Mappings with containers, however deep: Pods and templates. */
function* specsOf(value: unknown): Generator<PlainObject> {
  if (Array.isArray(value)) for (const entry of value) yield* specsOf(entry);
  if (!isPlainObject(value)) return;
  if (Array.isArray(value['containers'])) yield value;
  else for (const part of Object.values(value)) yield* specsOf(part);
}

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((entry) => typeof entry === 'string');

function* commandLines(): Generator<readonly [PlainObject, readonly string[]]> {
  for (const file of globSync('*.yaml', { cwd: EXPECTED })) {
    for (const document of parseAllDocuments(readFileSync(EXPECTED + file, 'utf8'))) {
      for (const spec of specsOf(document.toJS())) {
        for (const { container, name } of containersOf(spec)) {
          if (!name.startsWith('weft-')) continue;
          if (isTexts(container['args'])) yield [container, container['args']];
          const hook = objectAt(objectAt(container, 'lifecycle'), 'postStart');
          const { command } = objectAt(hook, 'exec');
          if (isTexts(command)) yield [container, command.slice(1)];
        }
      }
    }
  }
}

test('every command line of an injected container is one that weft takes', async () => {
  const counts = new Map<string, number>();
  for (const [container, args] of commandLines()) {
    const before = { ...process.env };
    process.env['WEFT_POD'] = 'web-0';
    process.env['WEFT_NAMESPACE'] = 'shop';
    process.env['WEFT_POD_IP'] = '10.0.0.7';
    for (const { name, value } of listAt(container, 'env')) {
      // As Kubernetes replaces them.
      if (typeof value === 'string') process.env[String(name)] = value.replaceAll('$$', () => '$');
    }
    try {
      const [command, options] = await understood(args);
      counts.set(command, (counts.get(command) ?? 0) + 1);
      if (command === 'sidecar') {
        assert.equal(options['pod'], 'web-0');
        const isProxy = options['proxy'] !== 'none';
        assert.equal(options['transparent'], isProxy ? true : undefined);
        if (!isProxy) assert.match(String(options['grpcBootstrap']), /^\/var\/run\/weft\/grpc\//);
        assert.equal(options['interceptionCheck'], true);
        const isTold = listAt(container, 'env').some(({ name }) => name === 'WEFT_APP_PROBES');
        assert.equal(options['appProbes'] !== undefined, isTold);
      }
    } finally {
      process.env = before;
    }
  }
  assert.deepEqual([...counts.keys()].toSorted(), ['apply', 'ready', 'sidecar']);
  assert.ok((counts.get('sidecar') ?? 0) >= 10);
});
