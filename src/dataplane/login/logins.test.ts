// Who is let in by a list of users, how long a refusal takes, and what many guesses at once get: with the real thread.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { parseHtpasswd } from '@weft/model/login/htpasswd';
import { Logins } from './logins.ts';

const COST = 8;

function usersOf(...pairs: readonly (readonly [string, string])[]) {
  const text = pairs.map(([name, password]) => `${name}:${hashSync(password, COST)}`).join('\n');
  return new Map(parseHtpasswd(text).users.map((user) => [user.name, user]));
}

const attempt = (
  users: ReturnType<typeof usersOf>,
  [user, password]: readonly [string, string],
  address = '10.0.0.1',
) => ({ credentials: { user, password }, users, address });

test('a right password is let in and remembered; a wrong one, an unknown name and a changed list are not', async () => {
  using logins = new Logins();
  const users = usersOf(['ann', 'secret']);
  const right = attempt(users, ['ann', 'secret']);
  assert.equal(logins.isKnown(right), false);
  assert.deepEqual(await logins.tryLogin(right), { kind: 'right' });
  assert.equal(logins.isKnown(right), true);
  assert.deepEqual(await logins.tryLogin(attempt(users, ['ann', 'wrong'])), { kind: 'wrong' });
  assert.deepEqual(await logins.tryLogin(attempt(users, ['eve', 'secret'])), { kind: 'wrong' });
  const others = usersOf(['ann', 'other']);
  assert.equal(logins.isKnown(attempt(others, ['ann', 'secret'])), false);
  assert.deepEqual(await logins.tryLogin(attempt(others, ['ann', 'secret'])), { kind: 'wrong' });
  assert.deepEqual(await logins.tryLogin(attempt(new Map(), ['ann', 'secret'])), { kind: 'wrong' });
});

test('what bcrypt cuts off does not let in: a password longer than 72 bytes is wrong', async () => {
  using logins = new Logins();
  const password = 'x'.repeat(72);
  const users = usersOf(['ann', password]);
  assert.equal((await logins.tryLogin(attempt(users, ['ann', `${password}more`]))).kind, 'wrong');
  assert.equal((await logins.tryLogin(attempt(users, ['ann', password]))).kind, 'right');
});

test('an unknown name takes bcrypt as long as a known one', async () => {
  let nowMs = 0;
  using logins = new Logins({ now: () => (nowMs += 1_000_000) });
  const users = usersOf(['ann', 'secret'], ['bob', 'secret']);
  await logins.tryLogin(attempt(users, ['ann', 'first']));
  const time = async (name: string): Promise<number> => {
    const times: number[] = [];
    for (let round = 0; round < 9; round++) {
      const startMs = performance.now();
      const result = await logins.tryLogin(attempt(users, [name, `guess ${round}`]));
      assert.equal(result.kind, 'wrong');
      times.push(performance.now() - startMs);
    }
    return times.sort((a, b) => a - b)[4] ?? 0;
  };
  const known = await time('ann');
  const unknown = await time('nobody');
  assert.ok(known > 4, `bcrypt was asked: ${known} ms`);
  assert.ok(unknown > known / 3 && unknown < known * 3, `${known} ms and ${unknown} ms`);
});

test('guesses are throttled by name from many addresses, by address at many names, and known credentials never', async () => {
  using logins = new Logins();
  const users = usersOf(['ann', 'secret'], ['bob', 'secret']);
  const kinds = async (make: (count: number) => ReturnType<typeof attempt>) => {
    const found: string[] = [];
    for (let count = 0; count < 12; count++) found.push((await logins.tryLogin(make(count))).kind);
    return found;
  };
  await logins.tryLogin(attempt(users, ['ann', 'secret']));
  const byName = await kinds((n) => attempt(users, ['ann', `guess ${n}`], `10.0.1.${n}`));
  assert.deepEqual(byName.slice(9), ['wrong', 'wait', 'wait']);
  const byAddress = await kinds((n) => attempt(users, [`name ${n}`, 'secret'], '10.0.2.1'));
  assert.deepEqual(byAddress.slice(9), ['wrong', 'wait', 'wait']);
  assert.equal(
    (await logins.tryLogin(attempt(users, ['ann', 'secret'], '10.0.2.1'))).kind,
    'right',
  );
  assert.equal(
    (await logins.tryLogin(attempt(users, ['bob', 'secret'], '10.0.3.1'))).kind,
    'right',
  );
});

test('equal credentials that come at once are compared once; of an address only some wait, and of all only so many', async () => {
  using logins = new Logins();
  const users = usersOf(['ann', 'secret']);
  const same = Array.from({ length: 200 }, () =>
    logins.tryLogin(attempt(users, ['ann', 'secret'])),
  );
  assert.ok((await Promise.all(same)).every(({ kind }) => kind === 'right'));
  const flood = Array.from({ length: 100 }, (_, n) =>
    logins.tryLogin(attempt(users, [`name ${n}`, 'x'], '10.0.0.9')),
  );
  const counts = new Map<string, number>();
  for (const { kind } of await Promise.all(flood)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  assert.equal(counts.get('wrong'), 8);
  assert.equal(counts.get('busy'), 92);
  const wide = Array.from({ length: 100 }, (_, n) =>
    logins.tryLogin(attempt(users, [`other ${n}`, 'x'], `10.1.0.${n}`)),
  );
  const busy = (await Promise.all(wide)).filter(({ kind }) => kind === 'busy');
  assert.equal(busy.length, 100 - 32);
});
