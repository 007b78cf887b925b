// docs/grpc.md begins with an example that anybody can run: it is run here as it stands, on an address and in a folder of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleOf } from '../support/doc-examples.ts';
import { runMeshExample } from '../support/doc-mesh.ts';
import { pyGrpc } from '../support/grpc-programs.ts';

test('the example of docs/grpc.md calls a server that knows its caller, and is refused by policy', async (t) => {
  const python = await pyGrpc();
  if ('missing' in python) return t.skip(python.missing);
  const example = exampleOf('docs/grpc.md', 'pip install -q grpcio')
    .split('\n')
    .filter((line) => !line.includes('pip install'))
    .join('\n')
    .replaceAll('weft-grpc/python/bin/python3', python.argv[0] ?? '');
  const said = await runMeshExample(example);
  assert.match(said, /^Get 29, for spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m, said);
  assert.match(said, /^Set PERMISSION_DENIED$/m, said);
});
