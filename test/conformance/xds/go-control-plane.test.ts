// go-control-plane's own client takes what is set by hand: everything of one type in state of the world on aggregated streams, which is all that it asks for.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { before, test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { noXdsMetrics } from '@weft/controlplane/serve/metrics';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { type BuiltProgram, buildGoProgram } from '../../bench/peers/go-program.ts';
import { type HandSetServer, openHandSetServer } from './hand-set-server.ts';
import type { HandSet, Outcome } from './hand-set-views.ts';
import { readAny } from './proto-json.ts';

const SOURCES = fileURLToPath(new URL('go-client', import.meta.url));
const NODE = 'stranger';
const URLS = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
} as const;
type Kind = keyof typeof URLS;

let program: BuiltProgram = { missing: 'it was not built' };
before(async () => {
  const progress = (what: string): void => void process.stderr.write(`… ${what}\n`);
  program = await buildGoProgram({ name: 'xds-client', sources: SOURCES, progress });
});

/** What a client without words of its own can say. */
type Command =
  | { readonly do: 'open'; readonly type: string; readonly node: string }
  | { readonly do: 'fetch' | 'ack' }
  | { readonly do: 'nack'; readonly message: string };

/** The program with its streams, beside the server. */
class Stranger implements AsyncDisposable {
  readonly server: HandSetServer;
  readonly #child: ReturnType<typeof start>;
  readonly #counts: Counts;
  #fetched = 0;

  constructor(path: string, server: HandSetServer, counts: Counts) {
    this.server = server;
    this.#counts = counts;
    this.#child = start(path, server.xds);
  }

  async #tell(stream: string, command: Command): Promise<PlainObject> {
    this.#child.stdin.write(`${JSON.stringify({ stream, ...command })}\n`);
    const { value: line } = await this.#child.lines.next();
    const said: unknown = JSON.parse(String(line));
    assert.ok(isPlainObject(said), `it said ${String(line)}`);
    return said;
  }

  /** Whatever it asks or answers has come to the server when this returns. */
  async #send(stream: string, command: Command): Promise<void> {
    const arrival = this.#counts.nextArrival();
    assert.equal((await this.#tell(stream, command))['error'], undefined);
    await arrival;
    await nextTurn();
  }

  open(stream: string, kind: Kind, node = NODE): Promise<void> {
    return this.#send(stream, { do: 'open', type: URLS[kind], node });
  }
  ack = (stream: string): Promise<void> => this.#send(stream, { do: 'ack' });
  nack = (stream: string, message: string): Promise<void> =>
    this.#send(stream, { do: 'nack', message });

  /** The next response, by names and what tells versions apart; sorted. */
  async takes(stream: string, expected: string): Promise<void> {
    const said = await this.#tell(stream, { do: 'fetch' });
    this.#fetched++;
    const resources: readonly unknown[] = Array.isArray(said['resources']) ? said['resources'] : [];
    assert.equal(said['error'], undefined);
    assert.equal(resources.map(contentOf).sort().join(' '), expected);
  }

  /** The server has sent no more than was fetched. */
  silence(after: string): void {
    assert.equal(this.#counts.sent(), this.#fetched, `sent after ${after}`);
  }

  async fails(stream: string): Promise<PlainObject> {
    const said = await this.#tell(stream, { do: 'fetch' });
    assert.ok(typeof said['error'] === 'string', JSON.stringify(said));
    return said;
  }

  async change(outcome: Outcome): Promise<void> {
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.reason);
    await nextTurn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    await this.#child.ended;
    await this.server[Symbol.asyncDispose]();
  }
}

function start(path: string, xds: string) {
  const child = spawn(path, [xds], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return { stdin: child.stdin, lines, ended: once(child, 'exit') };
}

interface Counts {
  readonly nextArrival: () => Promise<void>;
  readonly sent: () => number;
}

/** @returns `undefined` when there is no such program; the test is skipped then. */
async function stranger(t: TestContext): Promise<Stranger | undefined> {
  if ('missing' in program) {
    t.skip(program.missing);
    return undefined;
  }
  let sent = 0;
  let waiting: (() => void) | undefined;
  const arrived = (): void => waiting?.();
  const metrics = {
    ...noXdsMetrics,
    requestReceived: arrived,
    unknownTypeRequested: arrived,
    responseSent: () => sent++,
  };
  const counts: Counts = {
    nextArrival: () => new Promise((resolve) => (waiting = resolve)),
    sent: () => sent,
  };
  return new Stranger(program.path, await openHandSetServer({ metrics }), counts);
}

const resource = (kind: Kind, fields: object): HandSet => {
  const { typeUrl, bytes, name = '' } = readAny({ '@type': URLS[kind], ...fields });
  return { typeUrl, bytes, name };
};
const cluster = (name: string, seconds: number): HandSet =>
  resource('cluster', { name, connect_timeout: `${seconds}s` });
const listener = (name: string, stat_prefix: string): HandSet =>
  resource('listener', { name, stat_prefix });
const route = (name: string): HandSet => resource('route', { name });

/** Go's JSON of a resource, as its own types read it. */
function contentOf(value: unknown): string {
  assert.ok(isPlainObject(value));
  const words = ['connectTimeout', 'statPrefix'].map((key) => value[key] ?? '');
  return `${String(value['name'])}=${words.map(String).join('')}`;
}

test('everything of a type is taken, acknowledged at its version, and changed, added and removed as a whole set', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views, ads } = client.server;
  await client.change(views.set(NODE, '1', [cluster('A', 1), cluster('B', 1)]));
  await client.open('cds', 'cluster');
  await client.takes('cds', 'A=1s B=1s');
  await client.ack('cds');
  client.silence('the ACK');
  const [stream] = ads.sessions();
  assert.deepEqual(Object.keys(stream?.kinds[0]?.acked ?? {}), ['A', 'B']);
  await client.change(views.update(NODE, '2', cluster('B', 2)));
  await client.takes('cds', 'A=1s B=2s');
  await client.ack('cds');
  await client.change(views.add(NODE, '3', cluster('C', 1)));
  await client.takes('cds', 'A=1s B=2s C=1s');
  await client.ack('cds');
  await client.change(views.remove(NODE, '4', cluster('A', 1)));
  await client.takes('cds', 'B=2s C=1s');
  await client.ack('cds');
  client.silence('the last ACK');
});

test('that there is nothing is told, and what is gone by its absence', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views } = client.server;
  await client.open('lds', 'listener');
  await client.takes('lds', '');
  await client.ack('lds');
  await client.change(views.set(NODE, '1', [listener('front', 'one')]));
  await client.takes('lds', 'front=one');
  await client.ack('lds');
  await client.change(views.clear(NODE, '2'));
  await client.takes('lds', '');
  await client.ack('lds');
  client.silence('the end');
});

test('a NACK without a code is one: it is not answered with the same again, what changes next is sent, and its words are kept', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views, ads } = client.server;
  await client.change(views.set(NODE, '1', [cluster('A', 1)]));
  await client.open('cds', 'cluster');
  await client.takes('cds', 'A=1s');
  await client.ack('cds');
  await client.change(views.update(NODE, '2', cluster('A', 2)));
  await client.takes('cds', 'A=2s');
  await client.nack('cds', 'two is too many');
  client.silence('the NACK');
  const [kind] = ads.sessions()[0]?.kinds ?? [];
  assert.equal(kind?.lastNack?.message, 'two is too many');
  assert.deepEqual(kind.refused, ['A']);
  await client.change(views.update(NODE, '3', cluster('A', 3)));
  await client.takes('cds', 'A=3s');
  await client.ack('cds');
  assert.deepEqual(ads.sessions()[0]?.kinds[0]?.refused, []);
});

test('a NACK of the first response waits for a change as well', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views } = client.server;
  await client.change(views.set(NODE, '1', [cluster('A', 1)]));
  await client.open('cds', 'cluster');
  await client.takes('cds', 'A=1s');
  await client.nack('cds', 'no');
  client.silence('the NACK');
  await client.change(views.update(NODE, '2', cluster('A', 2)));
  await client.takes('cds', 'A=2s');
});

test('while it does not answer one response is on its way at most, and the next one brings all that changed', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views } = client.server;
  await client.change(views.set(NODE, '1', [cluster('A', 1)]));
  await client.open('cds', 'cluster');
  await client.takes('cds', 'A=1s');
  for (const seconds of [2, 3, 4])
    await client.change(views.update(NODE, `${seconds}`, cluster('A', seconds)));
  client.silence('changes without an answer');
  await client.ack('cds');
  await client.takes('cds', 'A=4s');
  await client.ack('cds');
  await client.ack('cds');
  client.silence('an ACK that was said twice');
});

test('an empty list of any other type asks for nothing', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views } = client.server;
  await client.change(views.set(NODE, '1', [route('A')]));
  await client.open('rds', 'route');
  client.silence('the request');
  await client.change(views.add(NODE, '2', route('B')));
  client.silence('the change');
});

test('several streams of one node and of others are each answered for themselves, and a new stream starts anew', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  const { views } = client.server;
  await client.change(views.set(NODE, '1', [cluster('A', 1), listener('front', 'one')]));
  await client.change(views.set('another', '1', [cluster('Z', 9)]));
  await client.open('cds', 'cluster');
  await client.open('lds', 'listener');
  await client.open('other', 'cluster', 'another');
  await client.takes('other', 'Z=9s');
  await client.takes('lds', 'front=one');
  await client.takes('cds', 'A=1s');
  for (const stream of ['other', 'lds', 'cds']) await client.ack(stream);
  await client.change(views.update(NODE, '2', cluster('A', 2)));
  await client.takes('cds', 'A=2s');
  client.silence('a change of one type of one node');
  await client.open('again', 'cluster');
  await client.takes('again', 'A=2s');
});

test('a server that ends tells the client to connect anew', async (t) => {
  await using client = await stranger(t);
  if (client === undefined) return;
  await client.open('cds', 'cluster');
  await client.takes('cds', '');
  client.server.ads[Symbol.dispose]();
  const said = await client.fails('cds');
  assert.equal(said['isConnection'], true, JSON.stringify(said));
});
