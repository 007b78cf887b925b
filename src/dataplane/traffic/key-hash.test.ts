// Two texts have one hash by chance alone, whatever they are made of.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { textOfAny } from '../../../test/support/text-arbitraries.ts';
import { KeyHash } from './key-hash.ts';

const PRIME = 67_108_859n;

/** As the definition says, in whole numbers of any size. */
function plainHash(texts: readonly string[], points: readonly [number, number]): string {
  const lane = (point: number): bigint => {
    let value = 1n;
    const add = (code: number): void => {
      value = (value * BigInt(point) + BigInt(code)) % PRIME;
    };
    for (const text of texts) {
      let at = 0;
      for (; at + 1 < text.length; at += 2) {
        const [one, other] = [text.charCodeAt(at), text.charCodeAt(at + 1)];
        if (one > 0xff || other > 0xff) break;
        add(65_538 + one * 256 + other);
      }
      for (; at < text.length; at++) add(text.charCodeAt(at) + 2);
      add(1);
    }
    return value;
  };
  return `${lane(points[0])}/${lane(points[1])}`;
}

test('the hash is the polynomial that it is said to be, without rounding', () => {
  const points = fc.tuple(
    fc.integer({ min: 1_000, max: 67_107_000 }),
    fc.integer({ min: 1_000, max: 67_107_000 }),
  );
  const texts = fc.array(fc.oneof(fc.string(), textOfAny()), { maxLength: 4 });
  fc.assert(
    fc.property(points, texts, (at, parts) => {
      const hash = new KeyHash(at);
      hash.begin();
      for (const part of parts) hash.addText(part);
      assert.equal(`${hash.high}/${hash.low}`, plainHash(parts, at));
    }),
    { numRuns: 500 },
  );
});
