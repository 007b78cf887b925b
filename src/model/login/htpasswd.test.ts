// Which lines of a list of users are taken, and what is said of those that are not.
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import fc from 'fast-check';
import { textOfAny } from '../../../test/support/text-arbitraries.ts';
import { MAX_LIST_LENGTH, parseHtpasswd } from './htpasswd.ts';

const TAIL = 'abcdefghijklmnopqrstuuVRZU0c9TbLU.stULl4UFfNeqU1c7wNm';

test('parseHtpasswd() takes bcrypt of every version that is sound, comments and blank lines aside', () => {
  const text = `# users\n\nbob:$2y$10$${TAIL}\r\nann:$2a$08$${TAIL}\n  eve:$2b$15$${TAIL}  \n`;
  const { users, problems } = parseHtpasswd(text);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    users.map(({ name, hash }) => [name, hash.reveal()]),
    [
      ['ann', `$2a$08$${TAIL}`],
      ['bob', `$2b$10$${TAIL}`],
      ['eve', `$2b$15$${TAIL}`],
    ],
  );
});

const refused: readonly (readonly [string, string, RegExp])[] = [
  ['a:$apr1$abcdefgh$0123456789012345678901', 'weak-hash', /MD5 \(apr1\)/],
  ['a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', 'weak-hash', /SHA-1 without salt/],
  ['a:$5$salt$hash', 'weak-hash', /SHA-256/],
  ['a:$6$salt$hash', 'weak-hash', /SHA-512/],
  ['a:rl0vVg3zqVs3k', 'weak-hash', /DES crypt/],
  ['a:secret', 'weak-hash', /may be a password/],
  [`a:$2x$10$${TAIL}`, 'weak-hash', /known fault/],
  [`a:$2b$07$${TAIL}`, 'bad-cost', /cost of 7/],
  [`a:$2b$16$${TAIL}`, 'bad-cost', /cost of 16/],
  [`a:$2b$1x$${TAIL}`, 'bad-hash', /cut off/],
  [`a:$2b$10$${TAIL.slice(1)}`, 'bad-hash', /cut off/],
  [`a:$2b$10$${TAIL.slice(1)}!`, 'bad-hash', /altered/],
  ['no-colon', 'bad-line', /no user and hash/],
  [':$2b$10$', 'bad-line', /no user and hash/],
  [`a\u0007b:$2b$10$${TAIL}`, 'bad-user', /cannot be one/],
];
for (const [line, code, message] of refused) {
  test(`parseHtpasswd() refuses ${JSON.stringify(line.slice(0, 24))} (${code}), with the line and a cure, and lets nobody in by it`, () => {
    const { users, problems } = parseHtpasswd(`good:$2b$10$${TAIL}\n${line}\n`);
    assert.deepEqual(
      users.map(({ name }) => name),
      ['good'],
    );
    assert.equal(problems.length, 1);
    assert.equal(problems[0]?.code, code);
    assert.match(problems[0]?.message ?? '', message);
    assert.match(problems[0]?.message ?? '', /^line 2 /);
    assert.ok(problems[0]?.cure !== undefined);
    const hash = line.slice(line.indexOf(':') + 1);
    assert.ok(hash.length < 10 || !JSON.stringify(problems).includes(hash), 'no hash in a message');
  });
}

test('parseHtpasswd() takes the first of two lines of one user and says so', () => {
  const other = TAIL.replace('a', 'b');
  const { users, problems } = parseHtpasswd(`a:$2b$10$${TAIL}\na:$2b$10$${other}\n`);
  assert.equal(users[0]?.hash.reveal(), `$2b$10$${TAIL}`);
  assert.equal(problems[0]?.code, 'duplicate-user');
});

test('parseHtpasswd() says that an empty list lets nobody in, and reads no list without bound', () => {
  assert.equal(parseHtpasswd('# nobody\n').problems[0]?.code, 'no-users');
  const { users, problems } = parseHtpasswd(`a:$2b$10$${TAIL}\n`.repeat(MAX_LIST_LENGTH / 60));
  assert.deepEqual([users, problems[0]?.code], [[], 'too-many-users']);
});

test('a hash shows itself in no dump, log or error', () => {
  const { users } = parseHtpasswd(`a:$2b$10$${TAIL}\n`);
  assert.ok(!`${JSON.stringify(users)}${inspect(users, { depth: 9 })}`.includes(TAIL.slice(0, 20)));
});

test('parseHtpasswd() throws for no text, and takes no user without a bcrypt hash', () => {
  fc.assert(
    fc.property(textOfAny({ maxLength: 300 }), (text) => {
      for (const { hash } of parseHtpasswd(text).users) assert.ok(hash.reveal().startsWith('$2'));
    }),
  );
});
