// Differential fuzz of HTTP/2's heads: whatever blocks our decoder and our rules take, nghttp2 must read as the same requests, and each says of the other's tables that they are in step.
import assert from 'node:assert/strict';
import { readHead } from '@weft/dataplane/http2/header-list';
import { HpackDecoder } from '@weft/dataplane/http2/hpack/decoder';
import { HpackEncoder } from '@weft/dataplane/http2/hpack/encoder';
import { contentLengthOf, requestFlaw } from '@weft/dataplane/http2/header-rules';
import { judgeBlocks } from '../support/nghttp2-judge.ts';
import { type FuzzLength, fuzzLength } from '../support/fuzz-length.ts';
import { createRandom, type Random } from '../support/random.ts';

const COMPRESSION_ERROR = 9;
/** Beyond these nghttp2 and Node have limits of their own, which are not what is compared. */
const LIMITS = { maxListBytes: 60_000, maxFields: 120 };

const PSEUDO = [
  [':method', 'GET'],
  [':method', 'POST'],
  [':method', 'CONNECT'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':path', '/'],
  [':path', '*'],
  [':path', ''],
  [':path', '/a b'],
  [':path', '/a?b=c#d'],
  [':authority', 'a'],
  [':authority', 'b@a'],
  [':status', '200'],
  [':protocol', 'websocket'],
] as const;
const FIELDS = [
  ['host', 'a'],
  ['content-length', '0'],
  ['content-length', '00'],
  ['content-length', '+0'],
  ['content-length', '0, 0'],
  ['te', 'trailers'],
  ['te', 'gzip'],
  ['connection', 'close'],
  ['transfer-encoding', 'chunked'],
  ['upgrade', 'h2c'],
  ['cookie', 'a=b'],
  ['cookie', 'a=b; c=d; e=0123456789'],
  ['authorization', 'secret'],
  ['x-a', ''],
  ['x-a', ' b'],
  ['x-a', 'b\t'],
  ['x-a', 'b\r\nc: d'],
  ['x-a', 'b\0'],
  ['x-a', 'caf\xe9'],
  ['X-A', 'b'],
  ['', 'b'],
  ['x a', 'b'],
  ['x:a', 'b'],
] as const;

const flip = (random: Random, one: number): boolean => random(one) === 0;

function buildList(random: Random): string[] {
  const raw = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'];
  if (flip(random, 3)) {
    const [name, value] = PSEUDO[random(PSEUDO.length)] ?? ['', ''];
    const same = raw.indexOf(name);
    if (same === -1 || flip(random, 4)) raw.push(name, value);
    else raw[same + 1] = value;
  }
  if (flip(random, 20)) raw.splice(2 * random(4), 2);
  for (let fields = random(8); fields > 0; fields--) {
    if (flip(random, 2)) raw.push(`x-${random(30)}`, 'v'.repeat(random(60)));
    else raw.push(...(FIELDS[random(flip(random, 3) ? FIELDS.length : 12)] ?? []));
  }
  return raw;
}

/** Bytes changed, put in, left out or cut off. */
function spoil(random: Random, block: Buffer): Buffer {
  const bytes = Array.from(block);
  for (let times = 1 + random(3); times > 0; times--) {
    const at = random(bytes.length + 1);
    const byte = flip(random, 3)
      ? [0x80, 0xff, 0x20, 0x3f, 0x40, 0x10, 0x7f][random(7)]
      : random(256);
    if (flip(random, 4)) bytes.splice(at);
    else bytes.splice(at, random(2), ...(flip(random, 3) ? [] : [byte ?? 0]));
  }
  return Buffer.from(bytes);
}

function buildBlocks(random: Random): Buffer[] {
  const encoder = new HpackEncoder({ maxTableBytes: [0, 100, 1_000, 4_096][random(4)] ?? 0 });
  const blocks: Buffer[] = [];
  for (let count = 1 + random(6); count > 0; count--) {
    const block = Buffer.from(encoder.encode(buildList(random), [random(12)]));
    blocks.push(flip(random, 3) ? spoil(random, block) : block);
  }
  return blocks;
}

/** What our decoder and our rules make of blocks. */
function readByUs(blocks: readonly Buffer[]): {
  readonly lists: readonly (readonly string[] | undefined)[];
  readonly reasonCode: string;
} {
  const decoder = new HpackDecoder(LIMITS);
  const lists: (readonly string[] | undefined)[] = [];
  for (const block of blocks) {
    const list = decoder.decode(block);
    if (!list.ok) return { lists, reasonCode: list.reasonCode };
    const isServed = !list.isTooLarge && requestFlaw(list) === undefined && readHead(list.raw).ok;
    /** There is no body: nghttp2 says so with the head, we when the request ends. */
    const isWhole = isServed && (contentLengthOf(list) ?? 0) === 0;
    lists.push(isWhole ? list.raw : undefined);
  }
  return { lists, reasonCode: '' };
}

export interface HeadsFuzzOutcome {
  readonly connections: number;
  /** Requests that both took. */
  readonly requests: number;
  /** Connections that both ended. */
  readonly ended: number;
}

/** @throws AssertionError, with seed and input in its message, when the two differ. */
export async function fuzzHttp2Heads(
  options: FuzzLength & { readonly seed: number },
): Promise<HeadsFuzzOutcome> {
  const random = createRandom(options.seed);
  const goesOn = fuzzLength(options);
  let connections = 0;
  let requests = 0;
  let ended = 0;
  while (goesOn()) {
    const blocks = buildBlocks(random);
    connections++;
    const ours = readByUs(blocks);
    const theirs = await judgeBlocks(blocks);
    const hex = blocks.map((block) => block.toString('hex')).join(' ');
    const where = `seed ${options.seed}, connection ${connections}: ${hex}`;
    const isEnded = ours.reasonCode !== '';
    if (isEnded) ended++;
    assert.equal(
      theirs.errorCode,
      isEnded ? COMPRESSION_ERROR : undefined,
      `${ours.reasonCode} ${where}`,
    );
    for (const [at, list] of ours.lists.entries()) {
      /** We may refuse what nghttp2 lets pass, never the other way round. */
      if (list === undefined) continue;
      requests++;
      assert.deepEqual(theirs.lists[at], list, where);
    }
  }
  return { connections, requests, ended };
}

if (import.meta.main) {
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 20);
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
  const { connections, requests, ended } = await fuzzHttp2Heads({ seconds, seed });
  process.stdout.write(
    `seed ${seed}: ${connections} connections, ${requests} requests, ${ended} ended\n`,
  );
}
