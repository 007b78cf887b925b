// Differential fuzz of the HTTP/1 codec: whatever our parser takes, and what we would send on of it, Node's own parser must read as the same message.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { duplexPair, type Duplex } from 'node:stream';
import { Body } from '@weft/dataplane/http/h1-body';
import { writeRequestHead, writeTrailers } from '@weft/dataplane/http/h1-edit';
import { DEFAULT_HEAD_LIMITS } from '@weft/dataplane/http/h1-head';
import { Http1RequestHead } from '@weft/dataplane/http/h1-request';
import { type FuzzLength, fuzzLength } from '../support/fuzz-length.ts';
import { createRandom, type Random } from '../support/random.ts';

const pick = (random: Random, from: readonly string[]): string => from[random(from.length)] ?? '';

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH', 'M-SEARCH'];
const TARGETS = [
  '/',
  '/a?b=c',
  '/%2e%2e/',
  '//a',
  '*',
  '/a#b',
  '/a;b/..;/c',
  'a',
  'http://a/',
  '/"<>\\^`{|}',
];
const VERSIONS = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/2.0',
  'http/1.1',
];
const FIELDS = [
  'Host: a',
  'Content-Length: 0',
  'Content-Length: 5',
  'Content-Length: 05',
  'content-length:5',
  'Content-Length: 5, 5',
  'Content-Length: +5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: Chunked',
  'transfer-encoding:\tchunked ',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding : chunked',
  'Transfer_Encoding: chunked',
  'Connection: close',
  'Connection: keep-alive, x-a',
  'Connection: Upgrade',
  'Upgrade: h2c',
  'Expect: 100-continue',
  'X-A: b',
  'X-A:',
  'X-A: caf\xe9',
  'X-A:  b\tc  ',
  'TE: trailers',
  'Trailer: x-a',
  '__proto__: a',
  'X-Weft-Peer: a',
  ' folded',
];
const BODIES = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nx-a: b\r\n\r\n',
  '05;a=b\r\nhello\r\n00\r\n\r\n',
  '5;a="b;c"\r\nhello\r\n0;x\r\n\r\n',
  '5;\nhello\r\n0\r\n\r\n',
  '1\r\na\r\n1\r\nb\r\n0\r\nx: y\r\n z\r\n\r\n',
  '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
];
const NASTY = [
  '\r',
  '\n',
  '\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\x0b',
  '\x7f',
  '\xff',
  '0',
  '#',
  '\r\n\r\n',
  '\r\n ',
  'x',
];

function buildRequest(random: Random): string {
  let text = `${pick(random, METHODS)} ${pick(random, TARGETS)} ${pick(random, VERSIONS)}\r\n`;
  if (random(8) !== 0) text += 'Host: a\r\n';
  const framing = random(3);
  for (let count = random(4); count > 0; count--) text += `${pick(random, FIELDS)}\r\n`;
  if (framing === 1) text += 'Transfer-Encoding: chunked\r\n\r\n';
  else if (framing === 2) text += 'Content-Length: 5\r\n\r\n';
  else text += '\r\n';
  if (framing === 1) text += pick(random, BODIES.slice(2));
  else if (framing === 2) text += 'hello';
  else if (random(3) === 0) text += pick(random, BODIES);
  return text;
}

/** One or two requests, with a few bytes put in, taken out or doubled. */
function buildInput(random: Random): string {
  let text = buildRequest(random);
  if (random(2) === 0) text += buildRequest(random);
  for (let count = random(4); count > 0; count--) {
    const at = random(text.length + 1);
    const kind = random(3);
    if (kind === 0) text = text.slice(0, at) + pick(random, NASTY) + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + 1);
    else text = text.slice(0, at) + text.slice(at, at + random(12)) + text.slice(at);
  }
  return text;
}

interface Message {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

interface OurMessage extends Message {
  /** What would be sent on. */
  readonly forwarded: string;
  readonly forwardedFields: readonly string[];
}

const OPTIONS = { limits: DEFAULT_HEAD_LIMITS, allowAbsoluteForm: false };

/** Every whole request that we take of the input, up to the first that we refuse. */
function readByUs(input: string): OurMessage[] {
  const bytes = Buffer.from(input, 'latin1');
  const messages: OurMessage[] = [];
  let at = 0;
  for (;;) {
    const head = new Http1RequestHead();
    const end = at < bytes.length ? head.read(bytes, at, at, OPTIONS) : 0;
    if (end <= 0) return messages;
    const { block, facts } = head;
    const body = new Body();
    body.begin(facts.framing, facts.contentLength);
    body.unwrapChunks();
    const bodyEnd = body.isDone ? end : body.consume(bytes, end);
    if (!body.isDone) return messages;
    const isRemoved = (name: string): boolean => name.startsWith('x-weft-');
    const trailers = body.trailerText === '' ? '' : writeTrailers(body.trailerText, isRemoved);
    if (trailers === undefined) return messages;
    const edits = { target: head.path, isRemoved, added: ['x-added', '1'] };
    const forwarded = writeRequestHead(head, edits, '');
    const passEnd = body.isChunked ? body.passEnd : bodyEnd;
    messages.push({
      method: head.method,
      target: head.path,
      fields: fieldsOf(head),
      body: dataOf(body, bytes, end, bodyEnd),
      trailers: linesOf(body.trailerText),
      forwarded: forwarded + bytes.toString('latin1', end, passEnd) + trailers,
      forwardedFields: linesOf(forwarded.slice(forwarded.indexOf('\r\n') + 2)),
    });
    assert.ok(block.count <= DEFAULT_HEAD_LIMITS.fields);
    if (!head.isKeepAlive) return messages;
    at = bodyEnd;
  }
}

function fieldsOf(head: Http1RequestHead): string[] {
  const { block } = head;
  const fields: string[] = [];
  for (let index = 0; index < block.count; index++) {
    const line = block.text.slice(block.lineStart(index), block.lineEnd(index));
    fields.push(line.slice(0, line.indexOf(':')), block.value(index));
  }
  return fields;
}

function dataOf(body: Body, bytes: Buffer, start: number, end: number): string {
  const { ranges } = body;
  if (ranges === undefined) return bytes.toString('latin1', start, end);
  let data = '';
  for (let at = 0; at < ranges.length; at += 2) {
    data += bytes.toString('latin1', ranges[at], ranges[at + 1]);
  }
  return data;
}

function linesOf(section: string): string[] {
  const fields: string[] = [];
  for (const line of section.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon !== -1) fields.push(line.slice(0, colon), trimBlanks(line.slice(colon + 1)));
  }
  return fields;
}

function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  const isBlank = (at: number): boolean => text[at] === ' ' || text[at] === '\t';
  while (start < end && isBlank(start)) start++;
  while (end > start && isBlank(end - 1)) end--;
  return text.slice(start, end);
}

/** Node's server as the second opinion; its parser is strict. */
function createOracle(): (input: string) => Promise<Message[]> {
  let messages: Message[] = [];
  const server = http.createServer({ maxHeaderSize: 131_072 }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (chunk: Buffer) => parts.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', rawHeaders, rawTrailers } = request;
      const hash = url.indexOf('#');
      const target = hash === -1 ? url : url.slice(0, hash);
      const body = Buffer.concat(parts).toString('latin1');
      messages.push({ method, target, fields: rawHeaders, body, trailers: rawTrailers });
      response.end();
    });
    request.on('error', () => undefined);
  });
  server.on('clientError', (_error, socket: Duplex) => setImmediate(() => socket.destroy()));
  return async (input) => {
    messages = [];
    const [client, peer] = duplexPair();
    peer.on('error', () => undefined);
    client.on('error', () => undefined);
    client.resume();
    server.emit('connection', peer);
    const closed = once(peer, 'close');
    client.end(Buffer.from(input, 'latin1'));
    await closed;
    client.destroy();
    return messages;
  };
}

export interface FuzzOutcome {
  readonly inputs: number;
  /** Requests that we took and that were compared. */
  readonly compared: number;
}

/** @throws AssertionError, with seed and input in its message, when the two parsers differ. */
export async function fuzzHttp1Requests(
  options: FuzzLength & { readonly seed: number },
): Promise<FuzzOutcome> {
  const random = createRandom(options.seed);
  const readByNode = createOracle();
  const goesOn = fuzzLength(options);
  let inputs = 0;
  let compared = 0;
  while (goesOn()) {
    const input = buildInput(random);
    inputs++;
    const ours = readByUs(input);
    if (ours.length === 0) continue;
    const where = `seed ${options.seed}, input ${inputs}: ${JSON.stringify(input)}`;
    const theirs = await readByNode(input);
    for (const [index, message] of ours.entries()) {
      /** The one thing that we take and Node does not: methods that it does not know. */
      if (!http.METHODS.includes(message.method)) break;
      compared++;
      const { method, target, fields, body, trailers } = message;
      assert.deepEqual(theirs[index], { method, target, fields, body, trailers }, where);
      await compareForwarded(readByNode, message, where);
      /** Behind a request to upgrade Node stops reading, whether it upgrades or not; we do not send it on as one. */
      if (message.fields.some((field) => field.toLowerCase() === 'upgrade')) break;
    }
  }
  return { inputs, compared };
}

/** What is sent on must be one message, the same, whatever was behind it. */
async function compareForwarded(
  readByNode: (input: string) => Promise<Message[]>,
  message: OurMessage,
  where: string,
): Promise<void> {
  const next = 'GET /next HTTP/1.1\r\nHost: next\r\n\r\n';
  const forwarded = await readByNode(message.forwarded + next);
  const { method, target, body, forwardedFields } = message;
  const why = `sent on as ${JSON.stringify(message.forwarded)}; ${where}`;
  assert.equal(forwarded.length, 2, why);
  assert.equal(forwarded[1]?.target, '/next', why);
  assert.deepEqual(
    { method: forwarded[0]?.method, target: forwarded[0]?.target, body: forwarded[0]?.body },
    { method, target, body },
    why,
  );
  assert.deepEqual(forwarded[0]?.fields, forwardedFields, why);
  for (const name of forwarded[0]?.trailers ?? [])
    assert.notEqual(name.toLowerCase(), 'x-weft-peer');
}

if (import.meta.main) {
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 20);
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
  const outcome = await fuzzHttp1Requests({ seconds, seed });
  process.stdout.write(`seed ${seed}: ${outcome.inputs} inputs, ${outcome.compared} requests\n`);
}
