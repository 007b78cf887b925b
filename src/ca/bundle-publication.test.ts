// The number of what is published only grows: over changes of roots, over restarts, and over a state that was brought back.
import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseTrustDomain } from '@weft/model/identity';
import { openAuthority } from './authority.ts';
import { openFileStore } from './store/file.ts';
import { createMemoryStore } from './store/memory.ts';
import { decodeState, encodeState } from './store/state-codec.ts';
import { createTurnableClock } from './testing/turnable-clock.ts';

const trustDomain = parseTrustDomain('mesh.test');
assert.ok(trustDomain !== undefined);

test('publish() numbers the keys once, grows with every change of them, and keeps the number over a restart', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'weft-publication-'));
  const clock = createTurnableClock();
  const open = async () => {
    const stack = new AsyncDisposableStack();
    const store = stack.use(await openFileStore({ stateDir: directory.path }));
    const authority = stack.use(await openAuthority({ store, trustDomain, clock }));
    return { authority, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  };
  const numbers: number[] = [];
  {
    await using opened = await open();
    const { publication } = opened.authority;
    assert.equal(publication.current(), undefined, 'nothing is published by itself');
    const first = await publication.publish();
    assert.ok(first !== undefined && first.tokenKeys.length === 1);
    assert.deepEqual(await publication.publish(), first);
    numbers.push(first.sequence);
    await opened.authority.startRotation();
    assert.equal(publication.current(), undefined, 'the keys of now have no number yet');
    const second = await publication.publish();
    assert.equal(second?.rootsDer.length, 2);
    numbers.push(second?.sequence ?? 0);
  }
  await using again = await open();
  numbers.push((await again.authority.publication.publish())?.sequence ?? 0);
  await again.authority.rollback();
  numbers.push((await again.authority.publication.publish())?.sequence ?? 0);
  const [first = 0, second = 0, restarted = 0, back = 0] = numbers;
  assert.ok(first < second && restarted === second && second < back, numbers.join());
});

test('a state that was brought back from before the last change gets a number beyond that one', async () => {
  const clock = createTurnableClock();
  const store = createMemoryStore();
  await using authority = await openAuthority({ store, trustDomain, clock });
  const old = await store.load();
  assert.ok(old !== undefined);
  const before = await authority.publication.publish();
  clock.turn(2_000);
  const other = createMemoryStore();
  await other.save(old, undefined);
  await using restored = await openAuthority({ store: other, trustDomain, clock });
  const after = await restored.publication.publish();
  assert.ok((after?.sequence ?? 0) > (before?.sequence ?? 0));
});

test('decodeState() gives the publication back, and refuses one that is damaged', async () => {
  const store = createMemoryStore();
  await using authority = await openAuthority({ store, trustDomain });
  await authority.publication.publish();
  const state = await store.load();
  assert.ok(state?.publication !== undefined);
  const read = decodeState(encodeState(state));
  assert.deepEqual(read.ok && read.state.publication, state.publication);
  const damaged = { ...state, publication: { ...state.publication, sequence: 1.5 } };
  assert.equal(decodeState(encodeState(damaged)).ok, false);
});
