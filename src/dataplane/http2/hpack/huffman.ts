// Decodes the Huffman code of HPACK (RFC 7541 §5.2 and appendix B), strictly: no EOS, and no padding but its first bits.

/**
 * How many bits each byte's code has; the last is EOS. The code is canonical: codes of one length count up in the
 * order of their symbols, so the lengths say all of it.
 */
export const CODE_BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
  6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6,
  7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
  23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22,
  22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22,
  23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27,
  27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25,
  24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS = 256;
const MAX_BITS = 30;
/** Codes of up to 8 bits are looked up at once: those are the characters that headers are made of. */
const STEP_BITS = 8;

/** By length: the first code, how many there are, and where their symbols begin in `symbols`. */
const firstCodes = new Uint32Array(MAX_BITS + 1);
const counts = new Uint16Array(MAX_BITS + 1);
const offsets = new Uint16Array(MAX_BITS + 1);
const symbols = new Uint16Array(EOS + 1);
/** By the next 8 bits: length × 256 + symbol, or 0 where the code is longer. */
const steps = new Uint16Array(1 << STEP_BITS);

for (let bits = 1, code = 0, at = 0; bits <= MAX_BITS; bits++, code *= 2) {
  firstCodes[bits] = code;
  offsets[bits] = at;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    if (CODE_BITS[symbol] !== bits) continue;
    symbols[at++] = symbol;
    if (bits <= STEP_BITS) {
      const shift = STEP_BITS - bits;
      steps.fill((bits << 8) | symbol, code << shift, (code + 1) << shift);
    }
    code++;
  }
  counts[bits] = at - (offsets[bits] ?? 0);
}

/**
 * Decodes `bytes[from, to)` into `out`, which holds 8/5 of its length.
 * @returns how many bytes there are, or -1 when it is no Huffman code.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
): number {
  let held = 0;
  let bits = 0;
  let at = from;
  let length = 0;
  for (;;) {
    while (bits <= 16 && at < to) {
      held = ((held << 8) | (bytes[at++] ?? 0)) & 0xff_ff_ff;
      bits += 8;
    }
    if (bits < STEP_BITS) break;
    const step = steps[(held >>> (bits - STEP_BITS)) & 0xff] ?? 0;
    if (step !== 0) {
      out[length++] = step & 0xff;
      bits -= step >>> 8;
      continue;
    }
    const start = (at - from) * 8 - bits;
    const symbol = longSymbol(bytes, from, to, start);
    if (symbol === -1) return -1;
    out[length++] = symbol;
    const next = start + (CODE_BITS[symbol] ?? 0);
    at = from + ((next + 7) >>> 3);
    bits = (at - from) * 8 - next;
    held = bits === 0 ? 0 : (bytes[at - 1] ?? 0);
  }
  return decodeRest(held, bits, out, length);
}

/** Fewer than 8 bits: whole codes, then padding of ones. */
function decodeRest(held: number, bits: number, out: Uint8Array, at: number): number {
  let length = at;
  let left = bits;
  while (left > 0) {
    const rest = held & ((1 << left) - 1);
    const step = steps[(((rest << STEP_BITS) | 0xff) >>> left) & 0xff] ?? 0;
    if (step === 0 || step >>> 8 > left) return rest === (1 << left) - 1 ? length : -1;
    out[length++] = step & 0xff;
    left -= step >>> 8;
  }
  return length;
}

/** The symbol of a code longer than 8 bits that begins at bit `start` of `bytes[from, to)`, or -1 for EOS or an end. */
function longSymbol(bytes: Uint8Array, from: number, to: number, start: number): number {
  const end = (to - from) * 8;
  let code = 0;
  for (let bits = 1; bits <= MAX_BITS; bits++) {
    const position = start + bits - 1;
    /** What is left is 8 bits or more, too many to be padding. */
    if (position >= end) return -1;
    code = (code << 1) | (((bytes[from + (position >>> 3)] ?? 0) >>> (7 - (position & 7))) & 1);
    const index = code - (firstCodes[bits] ?? 0);
    if (index < (counts[bits] ?? 0)) {
      const symbol = symbols[(offsets[bits] ?? 0) + index] ?? EOS;
      return symbol === EOS ? -1 : symbol;
    }
  }
  return -1;
}
