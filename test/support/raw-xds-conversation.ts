// Holds conversations of a raw client with a server around resources set by hand, each written as short steps and what must come back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { noXdsMetrics, type XdsMetrics } from '@weft/controlplane/serve/metrics';
import { textOf, textsOf, messageOf, messagesOf, bytesOf } from '@weft/xds/protocol/fields';
import type { Variant } from '@weft/xds/protocol/subscription';
import type { PlainMessage } from '@weft/xds/registry';
import { type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import { type HandSetServer, openHandSetServer } from '../conformance/xds/hand-set-server.ts';
import type { HandSet, Outcome } from '../conformance/xds/hand-set-views.ts';
import { RawXdsStream, type ServiceName } from './raw-xds-client.ts';

/** A type that the server cannot read stands for all such. */
const URLS: Readonly<Record<string, string>> = {
  ...TYPE_URLS,
  other: 'type.googleapis.com/conformance.Other',
};
const KIND_OF = new Map(Object.entries(URLS).map(([kind, url]) => [url, kind]));
const NODE = { id: 'judge', user_agent_name: 'raw' };

/**
 * What happens, and what must come back for it.
 *
 * At the server: `set VERSION KIND NAME=CONTENT… [/ KIND NAME=CONTENT…]`, `add|update VERSION KIND NAME=CONTENT`,
 * `remove VERSION KIND NAME`, `clear`.
 * By the client: `ask KIND WORD…`, whose words are names (state of the world: the whole list; delta: `+NAME`, `-NAME`,
 * `NAME@held` or `NAME@VERSION` for a version brought along) and `nonce=last|NONCE`; `ack KIND`, `nack KIND` of the
 * newest response, `ack KIND#N` of the Nth of the stream; `reconnect`.
 * A response: `KIND@VERSION NAME=CONTENT… -NAME…`, sorted.
 */
export type Line = readonly [step: string, ...responses: string[]];

export interface Rule {
  readonly rule: string;
  readonly lines: readonly Line[];
  /** Default: on the aggregated stream, and on that of its type where there is but one. */
  readonly on?: readonly ServiceName[];
  /** The client names its node in every request; default: in a stream's first. */
  readonly namesNodeAlways?: boolean;
}

interface Received {
  readonly kind: string;
  readonly nonce: string;
  readonly version: string;
}

class Conversation implements Disposable {
  readonly #server: HandSetServer;
  readonly #options: {
    readonly service: ServiceName;
    readonly variant: Variant;
    readonly rule: Rule;
  };
  readonly #traffic: Traffic;
  #stream: RawXdsStream;
  #isFirst = true;
  readonly #received: Received[] = [];
  readonly #lists = new Map<string, readonly string[]>();
  readonly #accepted = new Map<string, string>();
  /** Of single resources, by name. */
  readonly #held = new Map<string, string>();

  constructor(
    server: HandSetServer,
    traffic: Traffic,
    options: { readonly service: ServiceName; readonly variant: Variant; readonly rule: Rule },
  ) {
    this.#server = server;
    this.#traffic = traffic;
    this.#options = options;
    this.#stream = this.#open();
  }

  #open(): RawXdsStream {
    const { service, variant } = this.#options;
    return new RawXdsStream(this.#server.xds, { service, variant });
  }

  async run([step, ...expected]: Line): Promise<void> {
    const [verb = '', ...words] = step.split(' ');
    if (verb === 'reconnect') await this.#reconnect();
    else if (verb === 'ask') await this.#ask(words);
    else if (verb === 'ack' || verb === 'nack') await this.#answer(words[0] ?? '', verb === 'nack');
    else await this.#change(verb, words);
    for (const response of expected) assert.equal(await this.#receive(), response, step);
    // Neither later nor earlier: the server had sent no more by then.
    assert.equal(this.#traffic.sent(), this.#received.length, `sent after ${step}`);
  }

  /** Nothing else may have come. */
  async finish(): Promise<void> {
    const rest = await this.#stream.finish();
    assert.deepEqual(
      rest.map((message) => this.#read(message)),
      [],
      'more than was expected',
    );
  }

  async #reconnect(): Promise<void> {
    await this.finish();
    this.#stream[Symbol.dispose]();
    this.#stream = this.#open();
    this.#isFirst = true;
  }

  async #change(verb: string, words: readonly string[]): Promise<void> {
    const { views } = this.#server;
    const [version = '', ...rest] = words;
    const given = resourcesOf(rest);
    const [first] = given;
    let outcome: Outcome;
    if (verb === 'set') outcome = views.set(NODE.id, version, given);
    else if (verb === 'clear') outcome = views.clear(NODE.id, undefined);
    else if (first === undefined) throw new RangeError(`Cannot run ${verb}: nothing is named`);
    else if (verb === 'add') outcome = views.add(NODE.id, version, first);
    else if (verb === 'update') outcome = views.update(NODE.id, version, first);
    else if (verb === 'remove') outcome = views.remove(NODE.id, version, first);
    else throw new RangeError(`Cannot run ${verb}: no such verb`);
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.reason);
    // Streams are told of a change in a turn of their own.
    await nextTurn();
  }

  async #ask(words: readonly string[]): Promise<void> {
    const [kind = '', ...rest] = words;
    const given = rest.find((word) => word.startsWith('nonce='))?.slice('nonce='.length);
    const nonce = given === 'last' ? this.#lastOf(kind)?.nonce : given;
    const names = rest.filter((word) => !word.startsWith('nonce='));
    this.#lists.set(kind, names);
    const isSotw = this.#options.variant === 'sotw';
    await this.#send(kind, {
      response_nonce: nonce ?? '',
      ...(isSotw ? { resource_names: names.map(unquoted) } : this.#differences(names)),
    });
  }

  #differences(names: readonly string[]): PlainMessage {
    const signed = (sign: string): string[] =>
      names.filter((name) => name.startsWith(sign)).map((name) => unquoted(name.slice(1)));
    const brought = names.filter((name) => name.includes('@')).map((name) => name.split('@'));
    return {
      resource_names_subscribe: signed('+'),
      resource_names_unsubscribe: signed('-'),
      initial_resource_versions: Object.fromEntries(
        brought.map(([name = '', version]) => [
          name,
          version === 'held' ? this.#held.get(name) : version,
        ]),
      ),
    };
  }

  async #answer(which: string, isRefused: boolean): Promise<void> {
    const [kind = '', number] = which.split('#');
    const response = number === undefined ? this.#lastOf(kind) : this.#received[Number(number) - 1];
    assert.ok(response !== undefined, `nothing to answer of ${which}`);
    if (!isRefused) this.#accepted.set(kind, response.version);
    const isSotw = this.#options.variant === 'sotw';
    await this.#send(kind, {
      response_nonce: response.nonce,
      ...(isSotw && {
        version_info: this.#accepted.get(kind) ?? '',
        resource_names: (this.#lists.get(kind) ?? []).map(unquoted),
      }),
      ...(isRefused && { error_detail: { code: 3, message: 'no' } }),
    });
  }

  #lastOf(kind: string): Received | undefined {
    return this.#received.findLast((response) => response.kind === kind);
  }

  async #send(kind: string, content: PlainMessage): Promise<void> {
    const arrival = this.#traffic.nextArrival();
    const namesNode = this.#isFirst || this.#options.rule.namesNodeAlways === true;
    this.#isFirst = false;
    // A stream of one type need not name it.
    const type_url = this.#options.service === 'ads' ? URLS[kind] : '';
    this.#stream.send({ type_url, ...(namesNode && { node: NODE }), ...content });
    await arrival;
  }

  async #receive(): Promise<string> {
    const message = await this.#stream.next();
    assert.ok(message !== undefined, 'the server has ended the stream');
    return this.#read(message);
  }

  #read(message: PlainMessage): string {
    const typeUrl = textOf(message, 'type_url');
    const kind = KIND_OF.get(typeUrl) ?? typeUrl;
    const nonce = textOf(message, 'nonce');
    assert.notEqual(nonce, '', 'every response has a nonce');
    const isSotw = this.#options.variant === 'sotw';
    const version = textOf(message, isSotw ? 'version_info' : 'system_version_info');
    this.#received.push({ kind, nonce, version });
    const resources = messagesOf(message, 'resources').map((one) =>
      isSotw ? contentOf(one, typeUrl) : this.#keep(one, typeUrl),
    );
    const removed = textsOf(message, 'removed_resources').map((name) => `-${name}`);
    return [`${kind}@${version}`, ...resources.sort(), ...removed.toSorted()].join(' ');
  }

  #keep(resource: PlainMessage, typeUrl: string): string {
    const content = contentOf(messageOf(resource, 'resource'), typeUrl);
    const name = textOf(resource, 'name');
    assert.equal(content.split('=')[0], name, 'a resource goes by its own name');
    assert.notEqual(textOf(resource, 'version'), '', 'every resource has a version');
    this.#held.set(name, textOf(resource, 'version'));
    return content;
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
  }
}

/** `''` is the empty name. */
const unquoted = (name: string): string => (name === "''" ? '' : name);

function contentOf(any: PlainMessage | undefined, typeUrl: string): string {
  assert.equal(textOf(any, 'type_url'), typeUrl, "an Any names the response's type");
  return Buffer.from(bytesOf(any, 'value')).toString('utf8');
}

function resourcesOf(words: readonly string[]): readonly HandSet[] {
  let kind: string | undefined;
  const resources: HandSet[] = [];
  for (const word of words) {
    if (word === '/') kind = undefined;
    else if (kind === undefined) kind = word;
    else {
      const typeUrl = URLS[kind] ?? kind;
      resources.push({ typeUrl, name: word.split('=')[0] ?? '', bytes: Buffer.from(word) });
    }
  }
  return resources;
}

interface Traffic {
  /** The server has taken one more request, whatever its type. */
  readonly nextArrival: () => Promise<void>;
  /** Responses so far. */
  readonly sent: () => number;
}

function observe(): Traffic & { readonly metrics: XdsMetrics } {
  let waiting: (() => void) | undefined;
  let sent = 0;
  const arrived = (): void => waiting?.();
  return {
    metrics: {
      ...noXdsMetrics,
      requestReceived: arrived,
      unknownTypeRequested: arrived,
      responseSent: () => sent++,
    },
    nextArrival: () => new Promise((resolve) => (waiting = resolve)),
    sent: () => sent,
  };
}

const isService = (kind: string): kind is ResourceKind => Object.hasOwn(TYPE_URLS, kind);

/** The aggregated stream, and that of its type where a rule speaks of but one. */
function servicesOf({ lines, on }: Rule): readonly ServiceName[] {
  if (on !== undefined) return on;
  const client = lines.map(([step]) => step.split(' ')).filter(([verb]) => verb === 'ask');
  const kinds = new Set(client.map(([, kind = '']) => kind));
  const [only = ''] = kinds;
  return kinds.size === 1 && isService(only) ? ['ads', only] : ['ads'];
}

/** One test for each rule and service. */
export function judge(variant: Variant, rules: readonly Rule[]): void {
  for (const rule of rules) {
    for (const service of servicesOf(rule)) {
      test(`${variant}, ${service}: ${rule.rule}`, async () => {
        const traffic = observe();
        await using server = await openHandSetServer({ metrics: traffic.metrics });
        using conversation = new Conversation(server, traffic, {
          service,
          variant,
          rule,
        });
        for (const line of rule.lines) await conversation.run(line);
        await conversation.finish();
      });
    }
  }
}
