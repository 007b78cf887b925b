// Whatever happened before, a client that answers ends up with exactly what the view holds of what it asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { FakeView } from '../../../test/support/xds-fake-view.ts';
import { createSession, nextResponse, type StreamResponse, takeRequest } from './session.ts';
import type { Variant } from './subscription.ts';

const KINDS = ['cluster', 'endpoints', 'listener', 'route'] as const;
type Kind = (typeof KINDS)[number];
const NAMES = ['a', 'b', 'c'] as const;

type Step =
  | { readonly kind: 'view'; readonly of: Kind; readonly name: string; readonly version: string }
  | { readonly kind: 'names'; readonly of: Kind; readonly names: readonly string[] }
  | { readonly kind: 'answer'; readonly of: Kind }
  | { readonly kind: 'refuse'; readonly of: Kind }
  | { readonly kind: 'stale'; readonly of: Kind };

const of = fc.constantFrom(...KINDS);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('view' as const),
    of,
    name: fc.constantFrom(...NAMES),
    version: fc.constantFrom('1', '2', '3', '-'),
  }),
  fc.record({
    kind: fc.constant('names' as const),
    of,
    names: fc.uniqueArray(fc.constantFrom(...NAMES, '*')),
  }),
  fc.record({ kind: fc.constantFrom('answer' as const, 'refuse' as const, 'stale' as const), of }),
);

/** As a client keeps it: what it has, what it asked for, and which response it has not answered. */
class Client {
  readonly session;
  readonly view = new FakeView();
  readonly #variant: Variant;
  readonly has = new Map<Kind, Map<string, string>>();
  readonly asked = new Map<Kind, Set<string>>();
  readonly #unanswered = new Map<Kind, StreamResponse>();
  readonly #nonces = new Map<Kind, string>();

  constructor(variant: Variant) {
    this.#variant = variant;
    this.session = createSession(variant);
  }

  run(step: Step): void {
    if (step.kind === 'view') this.view.put(`${step.of} ${step.name} ${step.version}`);
    else if (step.kind === 'names') this.#ask(step.of, step.names);
    else if (step.kind === 'stale') this.#request(step.of, { nonce: 'stale', isError: false });
    else this.#answer(step.of, step.kind === 'refuse');
    this.#receive();
  }

  settle(): void {
    this.#receive();
    for (let round = 0; this.#unanswered.size > 0; round++) {
      assert.ok(round < 100, 'the conversation never ends');
      for (const kind of this.#unanswered.keys()) this.#answer(kind, false);
      this.#receive();
    }
  }

  #ask(kind: Kind, names: readonly string[]): void {
    const before = this.asked.get(kind) ?? new Set();
    const isFirst = !this.asked.has(kind);
    // An empty first list of clusters or listeners would mean everything; that has its own tests.
    if (isFirst && names.length === 0) return;
    const now = new Set(names);
    this.asked.set(kind, now);
    const has = this.has.get(kind) ?? new Map<string, string>();
    this.has.set(kind, has);
    for (const name of has.keys()) if (!now.has('*') && !now.has(name)) has.delete(name);
    const request = { nonce: this.#nonces.get(kind) ?? '', isError: false };
    this.#unanswered.delete(kind);
    this.#request(kind, {
      ...request,
      subscribe: [...now].filter((name) => !before.has(name)),
      unsubscribe: [...before].filter((name) => !now.has(name)),
    });
  }

  #answer(kind: Kind, isError: boolean): void {
    const response = this.#unanswered.get(kind);
    if (response === undefined) return;
    this.#unanswered.delete(kind);
    this.#request(kind, { nonce: response.nonce, isError });
  }

  #request(
    kind: Kind,
    request: {
      readonly nonce: string;
      readonly isError: boolean;
      readonly subscribe?: readonly string[];
      readonly unsubscribe?: readonly string[];
    },
  ): void {
    const { nonce, isError, subscribe = [], unsubscribe = [] } = request;
    const asked = this.asked.get(kind);
    if (asked === undefined) return;
    const names =
      this.#variant === 'sotw'
        ? ({ kind: 'replace', names: [...asked] } as const)
        : ({ kind: 'adjust', subscribe, unsubscribe, initialVersions: new Map() } as const);
    const error = isError ? 'refused' : undefined;
    const outcome = takeRequest(this.session, { kind, nonce, error, names }, 0);
    assert.equal(outcome.ok, true);
  }

  /** A refusing client would keep the old; this one takes all, so that "refused" only tests that nothing gets stuck. */
  #receive(): void {
    for (;;) {
      const response = nextResponse(this.session, this.view);
      if (response === undefined) return;
      const kind = KINDS.find((known) => known === response.kind);
      assert.ok(kind);
      assert.ok(!this.#unanswered.has(kind), 'two responses of one kind are in flight');
      this.#unanswered.set(kind, response);
      this.#nonces.set(kind, response.nonce);
      const has = this.has.get(kind) ?? new Map<string, string>();
      this.has.set(kind, has);
      if (this.#variant === 'sotw' && (kind === 'cluster' || kind === 'listener')) has.clear();
      for (const { name, version } of response.resources) has.set(name, version);
      for (const name of response.removed) has.delete(name);
    }
  }

  wanted(kind: Kind): Map<string, string> {
    const asked = this.asked.get(kind) ?? new Set();
    const all = [...this.view.list(kind)].filter(({ name }) => asked.has('*') || asked.has(name));
    return new Map(all.map(({ name, version }) => [name, version]));
  }
}

const sorted = (map: ReadonlyMap<string, string> | undefined): unknown =>
  [...(map ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));

for (const variant of ['sotw', 'delta'] as const) {
  test(`${variant}: every conversation converges to what was asked for, one response of a kind at a time`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const client = new Client(variant);
        for (const step of steps) client.run(step);
        client.settle();
        for (const kind of KINDS) {
          const wanted = client.wanted(kind);
          const has = new Map(client.has.get(kind));
          // State of the world cannot say that endpoints or routes are gone: a client keeps them.
          if (variant === 'sotw' && (kind === 'endpoints' || kind === 'route')) {
            for (const name of has.keys()) if (!wanted.has(name)) has.delete(name);
          }
          assert.deepEqual(sorted(has), sorted(wanted), kind);
          for (const [name, version] of wanted) {
            const entry = client.session.subscriptions.get(kind)?.entries.get(name);
            const judged = [entry?.acked, entry?.rejected];
            assert.ok(judged.includes(version), `${kind} ${name}@${version} was never answered`);
          }
        }
      }),
      { numRuns: runs(600) },
    );
  });
}
