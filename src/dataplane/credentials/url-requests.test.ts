// Whatever is asked is a question or a refusal, and a question names nothing that could lead elsewhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CredentialStore } from './credential-store.ts';
import { credentialOf, grant } from './testing/rig.ts';
import { answerOne, readQuestion } from './url-requests.ts';

const pieces = fc.array(
  fc.oneof(
    fc.constantFrom('/v1/credentials', '/', 'db', 'raw', 'password', '..', '%2e%2e', '__proto__'),
    fc.constantFrom('?after=1', '&wait=5', '?wait=-1', '&wait=1e9', '#', '\0', '//', 'constructor'),
    fc.string({ maxLength: 12 }),
  ),
  { maxLength: 8 },
);

test('readQuestion() throws at nothing, and answerOne() gives a value for its own name and key alone', () => {
  const store = new CredentialStore();
  grant(store, credentialOf({ values: { password: 's3cret' } }));
  fc.assert(
    fc.property(fc.constantFrom('GET', 'POST', ''), pieces, (method, parts) => {
      const question = readQuestion(method, parts.join(''));
      if ('status' in question || question.kind === 'list') return;
      assert.ok(question.waitMs >= 0 && question.waitMs <= 60_000);
      const { status, body } = answerOne(store, question);
      const isHis = question.name === 'db' && (question.key ?? 'password') === 'password';
      assert.equal(status === 200, isHis);
      assert.equal(body.toString().includes('s3cret'), isHis);
    }),
    { numRuns: 5_000 },
  );
});

const QUESTIONS: readonly (readonly [string, object])[] = [
  ['/v1/credentials', { kind: 'list' }],
  ['/v1/credentials/db', { kind: 'one', name: 'db', key: undefined, after: undefined }],
  ['/v1/credentials/db/raw/password', { kind: 'one', name: 'db', key: 'password' }],
  ['/v1/credentials/db?after=v1&wait=5', { after: 'v1', waitMs: 5_000 }],
  ['/v1/credentials/db?after=v1', { after: 'v1', waitMs: 30_000 }],
  ['/v1/credentials/db?after=v1&wait=9999', { waitMs: 60_000 }],
];
for (const [target, expected] of QUESTIONS) {
  test(`readQuestion() understands ${target}`, () => {
    assert.partialDeepStrictEqual(readQuestion('GET', target), expected);
  });
}
