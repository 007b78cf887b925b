// Text of any characters, for properties: all that UTF-8 can carry, without the second that fast-check takes to list it for each process.
import fc from 'fast-check';

/** Plain ones often, for they are what parsers look at; no halves of pairs. */
const codePoint = fc.oneof(
  fc.integer({ min: 0, max: 0x7f }),
  fc.integer({ min: 0, max: 0xd7ff }),
  fc.integer({ min: 0xe000, max: 0x10_ffff }),
);

export interface TextBounds {
  readonly minLength?: number;
  readonly maxLength?: number;
}

/** Bounds count characters. Names that objects have of themselves are among it. */
export const textOfAny = (bounds: TextBounds = {}): fc.Arbitrary<string> =>
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.array(codePoint, bounds).map((all) => String.fromCodePoint(...all)),
    },
    { weight: 1, arbitrary: fc.string(bounds) },
  );
