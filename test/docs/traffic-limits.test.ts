// docs/traffic-limits.md begins with an example that anybody can run: it is run here as it stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answersOf, exampleOf } from '../support/doc-examples.ts';

test('the example of docs/traffic-limits.md throttles and limits', async () => {
  const answers = await answersOf(exampleOf('docs/traffic-limits.md', 'throttling'));
  assert.deepEqual(answers, [
    'HTTP/1.1 200 OK',
    'HTTP/1.1 200 OK',
    'HTTP/1.1 200 OK',
    'HTTP/1.1 429 Too Many Requests',
    'HTTP/1.1 405 Method Not Allowed',
    'HTTP/1.1 415 Unsupported Media Type',
  ]);
});
