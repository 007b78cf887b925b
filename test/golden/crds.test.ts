// deploy/crds holds what the schemas in the source say; `npm run gen` writes it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { crdFiles } from '@weft/controlplane/schema/crd-files';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../deploy/crds');

test('deploy/crds is what `npm run gen` writes', () => {
  const found = new Map(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );
  assert.deepEqual(found, new Map([...crdFiles()].toSorted(([a], [b]) => (a < b ? -1 : 1))));
});
