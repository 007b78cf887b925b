import { mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Manifest,
  type SourcePlace,
  testSource,
} from '../../../../test/support/source-suite.ts';
import { openFileSource } from './file-source.ts';

async function openFolder(): Promise<SourcePlace> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-suite-'));
  const fileOf = ({ kind, metadata }: Manifest): string =>
    join(directory, `${kind}-${metadata.name}.json`);
  return {
    namespace: 'shop',
    async apply(manifest) {
      const hidden = join(directory, '.new');
      await writeFile(hidden, JSON.stringify(manifest));
      await rename(hidden, fileOf(manifest));
    },
    remove: (manifest) => unlink(fileOf(manifest)),
    open: () => openFileSource({ directory }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

testSource({ name: 'a folder as a source', openPlace: openFolder });
