// Keys of token issuers over time: fetched once, refreshed, kept while an issuer is away, forgotten when nobody asks.
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import type { RequestAuthentication } from '@weft/model/policy/token-rules';
import { createTestKey, jwksOf, tokenRule } from '../../../test/support/tokens.ts';
import type { Fetched } from './fetch-document.ts';
import { KeySets, MAX_SOURCES } from './key-sets.ts';

const one = jwksOf(createTestKey('ES256', 'one'));
const two = jwksOf(createTestKey('ES256', 'two'));
const AWAY: Fetched = { ok: false, reason: 'the answer is 503' };
const found = (body: string): Fetched => ({ ok: true, body });

const policyOf = (...uris: readonly string[]): RequestAuthentication => {
  const { jwks: _jwks, ...terms } = tokenRule();
  return {
    namespace: 'shop',
    name: 'jwt',
    createdAtMs: 0,
    selector: undefined,
    targetRefs: [],
    rules: uris.map((uri) => {
      const kind = uri.endsWith('configuration') ? 'discovery' : 'jwks';
      return { ...terms, source: { kind, uri, timeoutMs: 5_000 } };
    }),
  };
};

/** A clock that tests turn, and a web that tests write. */
class Bench implements Disposable {
  readonly web = new Map<string, Fetched>();
  readonly asked: string[] = [];
  readonly sets: KeySets;
  changes = 0;
  busy = 0;
  busiest = 0;
  #now = 0;
  #due: { readonly at: number; readonly run: () => void }[] = [];

  constructor() {
    this.sets = new KeySets({
      random: () => 0,
      clock: {
        now: () => this.#now,
        setTimeout: (run, delayMs) => {
          const entry = { at: this.#now + delayMs, run };
          this.#due.push(entry);
          return {
            [Symbol.dispose]: () => (this.#due = this.#due.filter((each) => each !== entry)),
          };
        },
      },
      fetch: async (uri, { isAllowed }) => {
        this.asked.push(uri);
        this.busy++;
        this.busiest = Math.max(this.busiest, this.busy);
        await setImmediate();
        this.busy--;
        if (uri.includes('private') && !isAllowed('10.0.0.1')) {
          return { ok: false, reason: 'leads to 10.0.0.1, which is not public' };
        }
        return this.web.get(uri) ?? AWAY;
      },
    });
    this.sets.subscribe(() => this.changes++);
  }

  want(...uris: readonly string[]): void {
    this.sets.want([policyOf(...uris)], []);
  }

  async settle(): Promise<void> {
    do await setImmediate();
    while (this.busy > 0);
    await setImmediate();
  }

  async elapse(ms: number): Promise<void> {
    this.#now += ms;
    const due = this.#due.filter(({ at }) => at <= this.#now);
    this.#due = this.#due.filter((entry) => !due.includes(entry));
    for (const { run } of due) run();
    await this.settle();
  }

  /** Key ids by address. */
  get kids(): Readonly<Record<string, readonly unknown[]>> {
    return Object.fromEntries(
      [...this.sets.keys].map(([key, keys]) => [key.split(' ')[1], keys.map(({ kid }) => kid)]),
    );
  }

  get codes(): readonly string[] {
    return this.sets.problems().map(({ code }) => code);
  }

  [Symbol.dispose](): void {
    this.sets[Symbol.dispose]();
  }
}

const URI = 'https://a.test/keys';

test('keys are fetched when a policy asks for them, once for all who ask, and forgotten with the last', async () => {
  using bench = new Bench();
  bench.web.set(URI, found(one));
  bench.want(URI, URI);
  assert.deepEqual(bench.kids, {}, 'none until they are there (CVE-2026-31837)');
  await bench.settle();
  assert.deepEqual([bench.kids, bench.asked.length, bench.changes], [{ [URI]: ['one'] }, 1, 1]);
  const before = bench.sets.keys;
  bench.want(URI);
  await bench.settle();
  assert.equal(bench.sets.keys, before);
  assert.equal(bench.asked.length, 1);
  bench.sets.want([], []);
  assert.deepEqual(bench.kids, {});
  await bench.elapse(86_400_000);
  assert.equal(bench.asked.length, 1);
});

test('keys are refreshed every 20 minutes, and only a change is told', async () => {
  using bench = new Bench();
  bench.web.set(URI, found(one));
  bench.want(URI);
  await bench.settle();
  await bench.elapse(1_199_999);
  assert.equal(bench.asked.length, 1);
  await bench.elapse(1);
  assert.deepEqual([bench.asked.length, bench.changes], [2, 1]);
  bench.web.set(URI, found(two));
  await bench.elapse(1_200_000);
  assert.deepEqual([bench.kids, bench.changes], [{ [URI]: ['two'] }, 2]);
});

test('an issuer that is away keeps its last good keys, with a warning; one that never was there has none', async () => {
  using bench = new Bench();
  const other = 'https://b.test/keys';
  bench.web.set(URI, found(one));
  bench.want(URI, other);
  await bench.settle();
  assert.deepEqual([bench.kids, bench.codes], [{ [URI]: ['one'] }, ['keys-missing']]);
  const object = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt' };
  assert.deepEqual(bench.sets.problems()[0]?.object, object);
  bench.web.set(URI, found('<html>'));
  await bench.elapse(1_200_000);
  assert.deepEqual(bench.kids, { [URI]: ['one'] });
  assert.deepEqual(bench.codes, ['keys-stale', 'keys-missing']);
  bench.web.set(URI, found(two));
  await bench.elapse(1_000);
  assert.deepEqual([bench.kids, bench.codes], [{ [URI]: ['two'] }, ['keys-missing']]);
});

test('after a failure it is asked again in 1 s, then twice as late each time, at most every 5 min', async () => {
  using bench = new Bench();
  bench.want(URI);
  await bench.settle();
  const waits: number[] = [];
  for (let waited = 0; waits.length < 11; ) {
    const { length } = bench.asked;
    await bench.elapse(1_000);
    waited += 1;
    if (bench.asked.length > length) {
      waits.push(waited);
      waited = 0;
    }
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
});

test('an issuer that publishes no key has taken all back', async () => {
  using bench = new Bench();
  bench.web.set(URI, found(one));
  bench.want(URI);
  await bench.settle();
  bench.web.set(URI, found('{"keys":[]}'));
  await bench.elapse(1_200_000);
  assert.deepEqual([bench.kids, bench.codes], [{ [URI]: [] }, ['keys-missing']]);
});

test('discovery: the keys are where the issuer’s configuration says, and https is not left', async () => {
  using bench = new Bench();
  const configuration = 'https://a.test/.well-known/openid-configuration';
  bench.web.set(configuration, found(JSON.stringify({ jwks_uri: 'https://keys.test/a' })));
  bench.web.set('https://keys.test/a', found(one));
  bench.want(configuration);
  await bench.settle();
  await bench.settle();
  assert.deepEqual(bench.kids, { [configuration]: ['one'] });
  for (const body of ['{}', 'x', '{"jwks_uri":7}', '{"jwks_uri":"http://keys.test/a"}']) {
    bench.web.set(configuration, found(body));
    await bench.elapse(1_200_000);
    assert.deepEqual(
      [bench.kids, bench.codes],
      [{ [configuration]: ['one'] }, ['keys-stale']],
      body,
    );
  }
});

test('a network that is listed later is called at once', async () => {
  using bench = new Bench();
  const uri = 'https://private.test/keys';
  bench.web.set(uri, found(one));
  bench.want(uri);
  await bench.settle();
  assert.match(bench.sets.problems()[0]?.message ?? '', /not public/);
  bench.sets.want([policyOf(uri)], ['10.0.0.0/8']);
  await bench.elapse(0);
  assert.deepEqual(bench.kids, { [uri]: ['one'] });
});

test('many issuers are asked a few at a time, and more than a thousand not at all', async () => {
  using bench = new Bench();
  bench.want(...Array.from({ length: MAX_SOURCES + 5 }, (_, at) => `https://a.test/${at}`));
  while (bench.asked.length < MAX_SOURCES) await bench.settle();
  await bench.settle();
  assert.equal(bench.asked.length, MAX_SOURCES);
  assert.equal(bench.busiest, 8);
  assert.ok(bench.codes.includes('too-many-key-sets'));
});

test('what was asked when it ended is told to nobody', async () => {
  const bench = new Bench();
  bench.web.set(URI, found(one));
  bench.want(URI);
  bench[Symbol.dispose]();
  await bench.settle();
  assert.deepEqual([bench.changes, bench.kids], [0, {}]);
});
