// docs/version-skew.md begins with an example that anybody can run from a checkout: it is run here as it stands, on an address and in a folder of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exampleOf } from '../support/doc-examples.ts';
import { runMeshExample } from '../support/doc-mesh.ts';
import { runSources } from '../support/weft-main.ts';

// The wire files of a bundle are in it.
runSources();

const SKEW = fileURLToPath(new URL('../skew/', import.meta.url));

test('the example of docs/version-skew.md prints who refused what, and which field', async () => {
  const example = exampleOf('docs/version-skew.md', 'previous-wire.ts');
  const said = await runMeshExample(example.replace('./test/skew/', SKEW));
  const line = said.split('\n').find((text) => text.includes('shop/calm')) ?? '';
  assert.match(
    line,
    /web-0\.shop \(refused: inbound: .*http_filters\[\d\]: has field number 6, which is not known/,
    said,
  );
});
