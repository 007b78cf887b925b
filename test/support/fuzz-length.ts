// How long a fuzz goes on: for a time, or, among unit tests, for a number of inputs that is the same on every machine.

export type FuzzLength = { readonly seconds: number } | { readonly inputs: number };

/** Asked before each input. */
export function fuzzLength(length: FuzzLength): () => boolean {
  if ('inputs' in length) {
    let left = length.inputs;
    return () => left-- > 0;
  }
  const endMs = performance.now() + length.seconds * 1_000;
  return () => performance.now() < endMs;
}
