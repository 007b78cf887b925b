// docs/spiffe.md begins with an example that anybody can run: it is run here as it stands, on an address and in a folder of its own.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exampleOf } from '../support/doc-examples.ts';
import { runMeshExample } from '../support/doc-mesh.ts';
import { pySpiffe } from '../support/spiffe-programs.ts';

test('the example of docs/spiffe.md prints the identity, from a certificate and from a token', async (t) => {
  const python = await pySpiffe();
  if ('missing' in python) return t.skip(python.missing);
  const lines = exampleOf('docs/spiffe.md', 'pip install -q spiffe').split('\n');
  const example = lines
    .filter((line) => !line.includes('pip install'))
    .join('\n')
    .replace('weft-spiffe/python/bin/python3', python.argv[0] ?? '');
  const said = await runMeshExample(example, (folder) => {
    const socket = join(folder, 'weft-spiffe', 'api.sock');
    assert.equal(existsSync(socket), false, 'it has ended');
  });
  assert.match(said, /^I am spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m, said);
  assert.match(said, /^and so says spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m);
});
