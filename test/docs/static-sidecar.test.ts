// docs/static-sidecar.md begins with an example that anybody can run, and README.md has its five lines: both are run here as they stand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECTIONS } from '../../src/cli/static/sections.ts';
import { PORT_KEYS } from '../../src/cli/static/read-ports.ts';
import { answersOf, exampleOf, pageOf } from '../support/doc-examples.ts';

const PAGE = 'docs/static-sidecar.md';

test('the example of docs/static-sidecar.md asks for a login, lets in whom it knows and nobody else', async () => {
  const answers = await answersOf(exampleOf(PAGE, 'basicAuthentication'));
  assert.deepEqual(answers, [
    'HTTP/1.1 401 Unauthorized',
    'HTTP/1.1 200 OK',
    'hello',
    'HTTP/1.1 401 Unauthorized',
  ]);
});

test('the example of the README shows 401 and 200', async () => {
  const answers = await answersOf(exampleOf('README.md', 'basicAuthentication'));
  assert.deepEqual(answers, ['HTTP/1.1 401 Unauthorized', 'HTTP/1.1 200 OK', 'hello']);
});

test('every field that the file may have is in the table of docs/static-sidecar.md', () => {
  const rows = pageOf(PAGE)
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  for (const key of [...PORT_KEYS, ...SECTIONS.map((section) => section.key)]) {
    assert.ok(
      rows.some((row) => row.split('|')[1]?.includes(`\`${key}\``)),
      `${key} has no row`,
    );
  }
});
