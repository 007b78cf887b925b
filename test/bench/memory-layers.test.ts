import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layersText } from './memory-layers.ts';
import { summarize } from './statistics.ts';

test('layersText() says of each layer how much more it has than the one it stands on', () => {
  const text = layersText({
    reads: 3,
    layers: [
      { name: 'bare', on: undefined, dirtyMb: summarize([8, 9, 10]) },
      { name: 'one', on: 'bare', dirtyMb: summarize([12, 12, 12.5]) },
      { name: 'other', on: 'bare', dirtyMb: summarize([11, 11, 11]) },
    ],
  });
  assert.match(text, /^one +12.* 3\.0 +than bare$/m);
  assert.match(text, /^other +11.* 2\.0 +than bare$/m);
});
