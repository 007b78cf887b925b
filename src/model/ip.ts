// IP addresses and ranges as numbers: parsed once, compared without text.
import type { CidrRange } from './policy/rbac.ts';

/** IPv4 as one number; IPv6 as four 32-bit words. IPv4-mapped IPv6 is IPv4. */
export type IpAddress =
  | { readonly family: 4; readonly word: number }
  | { readonly family: 6; readonly words: readonly [number, number, number, number] };

/** Dotted decimal without leading zeros. @returns `undefined` for anything else. */
function parseIpv4(text: string): number | undefined {
  let word = 0;
  let octet = -1;
  let octets = 0;
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? 0x2e : text.charCodeAt(at);
    if (code === 0x2e) {
      if (octet === -1 || ++octets > 4) return undefined;
      word = word * 256 + octet;
      octet = -1;
    } else {
      const digit = code - 0x30;
      if (digit < 0 || digit > 9 || octet === 0) return undefined;
      octet = (octet === -1 ? 0 : octet * 10) + digit;
      if (octet > 255) return undefined;
    }
  }
  return octets === 4 ? word : undefined;
}

function parseGroups(text: string): number[] | undefined {
  if (text.length === 0) return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1 && part.includes('.')) {
      const word = parseIpv4(part);
      if (word === undefined) return undefined;
      groups.push(Math.floor(word / 65_536), word % 65_536);
    } else {
      if (part.length === 0 || part.length > 4) return undefined;
      const group = Number.parseInt(part, 16);
      if (!isHex(part)) return undefined;
      groups.push(group);
    }
  }
  return groups;
}

function isHex(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at) | 0x20;
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false;
  }
  return true;
}

function parseIpv6(text: string): IpAddress | undefined {
  if (text.length > 45) return undefined;
  const gap = text.indexOf('::');
  let groups: number[] | undefined;
  if (gap === -1) {
    groups = parseGroups(text);
  } else {
    const head = parseGroups(text.slice(0, gap));
    const tail = parseGroups(text.slice(gap + 2));
    if (head === undefined || tail === undefined || head.length + tail.length > 7) return undefined;
    groups = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  }
  if (groups?.length !== 8) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups;
  if (a + b + c + d + e === 0 && f === 0xffff) return { family: 4, word: g * 65_536 + h };
  return {
    family: 6,
    words: [a * 65_536 + b, c * 65_536 + d, e * 65_536 + f, g * 65_536 + h],
  };
}

/** Parses either family, without a zone. @returns `undefined` for anything else. */
export function parseIp(text: string): IpAddress | undefined {
  if (text.includes(':')) return parseIpv6(text);
  const word = parseIpv4(text);
  return word === undefined ? undefined : { family: 4, word };
}

/** Canonical text: dotted decimal, or RFC 5952 for IPv6. */
export function formatIp(ip: IpAddress): string {
  if (ip.family === 4) {
    const { word } = ip;
    return [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
  }
  const groups = ip.words.flatMap((word) => [Math.floor(word / 65_536), word % 65_536]);
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start === -1) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}

/** Parses an address or CIDR into canonical form; bits beyond the prefix are dropped. */
export function parseCidr(text: string): CidrRange | undefined {
  const slash = text.indexOf('/');
  const ip = parseIp(slash === -1 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const bits = ip.family === 4 ? 32 : 128;
  let prefixLength = bits;
  if (slash !== -1) {
    const length = text.slice(slash + 1);
    if (length.length === 0 || length.length > 3 || (length.length > 1 && length.startsWith('0'))) {
      return undefined;
    }
    for (const char of length) if (char < '0' || char > '9') return undefined;
    prefixLength = Number(length);
    if (prefixLength > bits) return undefined;
  }
  return { address: formatIp(maskIp(ip, prefixLength)), prefixLength };
}

/** The mask of one 32-bit word, `bits` of it set from the top. */
const maskOf = (bits: number): number =>
  bits <= 0 ? 0 : bits >= 32 ? 0xffff_ffff : (0xffff_ffff << (32 - bits)) >>> 0;

const maskWord = (word: number, bits: number): number => (word & maskOf(bits)) >>> 0;

function maskIp(ip: IpAddress, prefixLength: number): IpAddress {
  if (ip.family === 4) return { family: 4, word: maskWord(ip.word, prefixLength) };
  const [a, b, c, d] = ip.words;
  return {
    family: 6,
    words: [
      maskWord(a, prefixLength),
      maskWord(b, prefixLength - 32),
      maskWord(c, prefixLength - 64),
      maskWord(d, prefixLength - 96),
    ],
  };
}

/**
 * Compiles a range into a test. Addresses of the other family never match, `::/0` included.
 * @throws RangeError when the range's address is none (it comes from a codec that has checked it).
 */
export function compileCidr(range: CidrRange): (ip: IpAddress) => boolean {
  const base = parseIp(range.address);
  if (base === undefined) throw new RangeError(`Cannot match addresses: ${range.address} is none`);
  const { prefixLength } = range;
  if (base.family === 4) {
    const mask = maskOf(prefixLength);
    const wanted = (base.word & mask) >>> 0;
    return (ip) => ip.family === 4 && (ip.word & mask) >>> 0 === wanted;
  }
  const masks = [0, 32, 64, 96].map((offset) => maskOf(prefixLength - offset));
  const wanted = base.words.map((word, index) => (word & (masks[index] ?? 0)) >>> 0);
  return (ip) =>
    ip.family === 6 &&
    ip.words.every((word, index) => (word & (masks[index] ?? 0)) >>> 0 === wanted[index]);
}
