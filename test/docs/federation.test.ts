// docs/federation.md begins with an example that anybody can run, and its table has every field of the kind.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { federatedTrustDomainSpec } from '@weft/controlplane/schema/federation-schema';
import { exampleOf, pageOf } from '../support/doc-examples.ts';
import { runMeshExample } from '../support/doc-mesh.ts';
import { weftScript } from '../support/weft-main.ts';

test('the example of docs/federation.md ends with two meshes that believe each other', async () => {
  const example = exampleOf('docs/federation.md', 'weft trust bundle');
  const said = await runMeshExample(example, () => undefined, weftScript());
  const rows = said.split('\n').filter((line) => /^\w+\.example +yes +1 /.test(line));
  assert.deepEqual(
    rows.map((row) => row.split(' ')[0]),
    ['west.example', 'east.example'],
    said,
  );
});

test('docs/federation.md has a row for every field of FederatedTrustDomain', () => {
  const page = pageOf('docs/federation.md');
  const { bundleEndpoint, ...fields } = federatedTrustDomainSpec.properties ?? {};
  const inside = Object.keys(bundleEndpoint?.properties ?? {});
  for (const field of [...Object.keys(fields), ...inside.map((key) => `bundleEndpoint.${key}`)]) {
    assert.ok(page.includes(`| \`${field}\` |`), field);
  }
});
