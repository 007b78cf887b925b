// The rules of the xDS protocol, each as a short conversation; what a response holds is written `KIND#NONCE +NAME@VERSION -NAME`.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeView, kindOf } from '../../../test/support/xds-fake-view.ts';
import {
  createSession,
  DEFAULT_SESSION_LIMITS,
  isInForce,
  nextResponse,
  type RequestOutcome,
  type Session,
  type SessionLimits,
  takeRequest,
} from './session.ts';
import type { Variant } from './subscription.ts';

/**
 * One side of a conversation and what must come back:
 * `ask KIND [nonce=N] [error=TEXT] NAME…` (state of the world: the whole list; delta: `+NAME`, `-NAME`, `NAME=VERSION`
 * for an initial version), `ack KIND N`, `nack KIND N`, `view RESOURCE…; RESOURCE…`.
 */
type Line = readonly [step: string, ...responses: string[]];

class Conversation {
  readonly session: Session;
  readonly view: FakeView;
  readonly #lists = new Map<string, readonly string[]>();
  outcome: RequestOutcome | undefined;

  constructor(variant: Variant, view: FakeView, limits: Partial<SessionLimits> = {}) {
    this.session = createSession(variant, { ...DEFAULT_SESSION_LIMITS, ...limits });
    this.view = view;
  }

  run(step: string): readonly string[] {
    const [verb, ...words] = step.split(' ');
    if (verb === 'view') this.view.put(...step.slice('view '.length).split('; '));
    else if (verb === 'ask') this.#request(words);
    else if (verb === 'ack') this.#request([words[0]!, `nonce=${words[1]}`], true);
    else if (verb === 'nack') this.#request([words[0]!, `nonce=${words[1]}`, 'error=bad'], true);
    else throw new RangeError(`Cannot run ${step}: no such verb`);
    const responses: string[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) responses.push(next);
    return responses;
  }

  #request(words: readonly string[], isAnswer = false): void {
    const kind = kindOf(words[0]);
    const option = (name: string): string | undefined =>
      words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const rest = words
      .slice(1)
      .filter((word) => !word.startsWith('nonce=') && !word.startsWith('error='));
    const nonce = option('nonce') ?? '';
    const error = option('error');
    if (this.session.variant === 'sotw') {
      const names = isAnswer ? (this.#lists.get(kind) ?? []) : rest;
      this.#lists.set(kind, names);
      const request = { kind, nonce, error, names: { kind: 'replace', names } } as const;
      this.outcome = takeRequest(this.session, request, 1_000);
      return;
    }
    const signed = (sign: string): string[] =>
      rest.flatMap((word) => (word.startsWith(sign) ? [word.slice(1)] : []));
    const initialVersions = new Map(
      rest.flatMap((word) => (word.includes('=') ? [word.split('=') as [string, string]] : [])),
    );
    const names = { subscribe: signed('+'), unsubscribe: signed('-'), initialVersions };
    const request = { kind, nonce, error, names: { kind: 'adjust', ...names } } as const;
    this.outcome = takeRequest(this.session, request, 1_000);
  }

  #next(): string | undefined {
    const response = nextResponse(this.session, this.view);
    if (response === undefined) return undefined;
    const made = response.resources.map(({ name, version }) => `+${name}@${version}`);
    const removed = response.removed.map((name) => `-${name}`);
    return [`${response.kind}#${response.nonce}`, ...made, ...removed].join(' ');
  }
}

interface Case {
  readonly claim: string;
  readonly view: readonly string[];
  readonly lines: readonly Line[];
}

function converse(variant: Variant, cases: readonly Case[]): void {
  for (const { claim, view, lines } of cases) {
    test(claim, () => {
      const conversation = new Conversation(variant, FakeView.of(...view));
      for (const [step, ...expected] of lines) {
        assert.deepEqual(conversation.run(step), expected, step);
      }
    });
  }
}

describe('state of the world', () => {
  converse('sotw', [
    {
      claim:
        'an empty first list for clusters asks for all of them, and a change sends the whole set',
      view: ['cluster a 1', 'cluster b 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1 +b@1'],
        ['ack cluster 1'],
        ['view cluster b 2', 'cluster#2 +a@1 +b@2'],
        ['ack cluster 2'],
        ['view cluster a -', 'cluster#3 +b@2'],
      ],
    },
    {
      claim: 'a wildcard of clusters is answered even when there are none',
      view: [],
      lines: [['ask cluster', 'cluster#1'], ['ack cluster 1']],
    },
    {
      claim: 'an explicit * asks for all and keeps doing so beside names',
      view: ['listener a 1', 'listener b 1'],
      lines: [
        ['ask listener *', 'listener#1 +a@1 +b@1'],
        ['ask listener nonce=1 * a', 'listener#2 +a@1 +b@1'],
        ['ask listener nonce=2 a'],
        ['view listener b 2'],
        ['view listener a 2', 'listener#3 +a@2'],
      ],
    },
    {
      claim: 'an empty list after names were given asks for nothing',
      view: ['cluster a 1', 'cluster b 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1 +b@1'],
        ['ask cluster nonce=1 a', 'cluster#2 +a@1'],
        ['ask cluster nonce=2'],
        ['view cluster a 2; cluster b 2'],
      ],
    },
    {
      claim: 'an empty first list for endpoints asks for nothing',
      view: ['endpoints a 1'],
      lines: [['ask endpoints'], ['ask endpoints a', 'endpoints#1 +a@1']],
    },
    {
      claim: 'named endpoints are sent one by one as they change, never the whole set',
      view: ['endpoints a 1', 'endpoints b 1', 'endpoints c 1'],
      lines: [
        ['ask endpoints a b', 'endpoints#1 +a@1 +b@1'],
        ['ack endpoints 1'],
        ['view endpoints b 2; endpoints c 2', 'endpoints#2 +b@2'],
        ['ask endpoints nonce=2 a b c', 'endpoints#3 +c@2'],
      ],
    },
    {
      claim: 'routes that do not exist are answered with silence, and sent when they appear',
      view: [],
      lines: [['ask route r'], ['view route x 1'], ['view route r 1', 'route#1 +r@1']],
    },
    {
      claim: 'named listeners that do not exist are answered with a set that lacks them',
      view: ['listener a 1'],
      lines: [
        ['ask listener a none', 'listener#1 +a@1'],
        ['ack listener 1'],
        ['view listener none 1', 'listener#2 +a@1 +none@1'],
      ],
    },
    {
      claim: 'endpoints that disappear are not told, and are sent when they come back unchanged',
      view: ['endpoints a 1'],
      lines: [
        ['ask endpoints a', 'endpoints#1 +a@1'],
        ['ack endpoints 1'],
        ['view endpoints a -'],
        ['view endpoints a 1', 'endpoints#2 +a@1'],
      ],
    },
    {
      claim: 'a stale nonce is ignored together with its names',
      view: ['endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask endpoints a', 'endpoints#1 +a@1'],
        ['ack endpoints 1'],
        ['view endpoints a 2', 'endpoints#2 +a@2'],
        ['ask endpoints nonce=1 a b'],
        ['ask endpoints nonce=2 a b', 'endpoints#3 +b@1'],
      ],
    },
    {
      claim: 'the first request of a stream may carry the nonce of an earlier stream',
      view: ['endpoints a 1'],
      lines: [['ask endpoints nonce=77 a', 'endpoints#1 +a@1']],
    },
    {
      claim: 'a repeated list asks anew (Envoy warming a cluster waits for its endpoints)',
      view: ['endpoints a 1'],
      lines: [
        ['ask endpoints a', 'endpoints#1 +a@1'],
        ['ack endpoints 1'],
        ['ask endpoints nonce=1 a', 'endpoints#2 +a@1'],
        ['ack endpoints 2'],
      ],
    },
    {
      claim: 'a name that was dropped is sent again when it is asked for again',
      view: ['endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask endpoints a b', 'endpoints#1 +a@1 +b@1'],
        ['ask endpoints nonce=1 a'],
        ['ask endpoints nonce=1 a b', 'endpoints#2 +b@1'],
      ],
    },
    {
      claim: 'a refused set is not sent again until something in it changes',
      view: ['listener a 1'],
      lines: [
        ['ask listener', 'listener#1 +a@1'],
        ['nack listener 1'],
        ['nack listener 1'],
        ['view cluster x 1'],
        ['view listener a 2', 'listener#2 +a@2'],
      ],
    },
    {
      claim:
        'make before break: a cluster that is gone stays in the set until routes and listeners were sent',
      view: ['cluster old 1', 'endpoints old 1', 'listener l 1', 'route r old'],
      lines: [
        ['ask cluster', 'cluster#1 +old@1'],
        ['ack cluster 1'],
        ['ask endpoints old', 'endpoints#2 +old@1'],
        ['ack endpoints 2'],
        ['ask listener', 'listener#3 +l@1'],
        ['ack listener 3'],
        ['ask route r', 'route#4 +r@old'],
        ['ack route 4'],
        [
          'view cluster old -; endpoints old -; cluster new 1; listener l 2; route r new',
          'cluster#5 +old@1 +new@1',
          'listener#6 +l@2',
          'route#7 +r@new',
        ],
        ['ack cluster 5', 'cluster#8 +new@1'],
      ],
    },
  ]);
});

describe('delta', () => {
  converse('delta', [
    {
      claim:
        'a changed cluster has its endpoints sent again, for Envoy waits for them and asks for nothing',
      view: ['cluster a 1', 'cluster b 1', 'endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask cluster +*', 'cluster#1 +a@1 +b@1'],
        ['ask endpoints +a +b', 'endpoints#2 +a@1 +b@1'],
        ['ack endpoints 2'],
        ['ack cluster 1'],
        ['view cluster a 2', 'cluster#3 +a@2', 'endpoints#4 +a@1'],
      ],
    },
    {
      claim: 'endpoints that a changed cluster waits for pass clusters that have changed once more',
      view: ['cluster a 1', 'endpoints a 1', 'listener l 1'],
      lines: [
        ['ask cluster +*', 'cluster#1 +a@1'],
        ['ack cluster 1'],
        ['ask listener +*', 'listener#2 +l@1'],
        ['ack listener 2'],
        ['ask endpoints +a', 'endpoints#3 +a@1'],
        ['view cluster a 2', 'cluster#4 +a@2'],
        ['view cluster a 3; listener l 2'],
        ['ack endpoints 3', 'endpoints#5 +a@1'],
        ['ack endpoints 5'],
        ['ack cluster 4', 'cluster#6 +a@3', 'endpoints#7 +a@1', 'listener#8 +l@2'],
      ],
    },
    {
      claim: 'an empty first request for clusters asks for all, and a change sends the difference',
      view: ['cluster a 1', 'cluster b 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1 +b@1'],
        ['ack cluster 1'],
        ['view cluster b 2; cluster c 1', 'cluster#2 +b@2 +c@1'],
        ['ack cluster 2'],
        ['view cluster a -', 'cluster#3 -a'],
        ['ack cluster 3'],
        ['view cluster a 1', 'cluster#4 +a@1'],
      ],
    },
    {
      claim: 'a wildcard is answered even when there is nothing',
      view: [],
      lines: [['ask listener', 'listener#1'], ['ack listener 1']],
    },
    {
      claim: 'an empty first request for endpoints asks for nothing',
      view: ['endpoints a 1'],
      lines: [['ask endpoints'], ['ask endpoints +a', 'endpoints#1 +a@1']],
    },
    {
      claim: 'a name that does not exist is answered as removed, and sent when it appears',
      view: [],
      lines: [
        ['ask route +r', 'route#1 -r'],
        ['ack route 1'],
        ['view route x 1'],
        ['view route r 1', 'route#2 +r@1'],
        ['ack route 2'],
        ['view route r -', 'route#3 -r'],
      ],
    },
    {
      claim: 'asking again for a name that is subscribed already sends it again',
      view: ['endpoints a 1'],
      lines: [
        ['ask endpoints +a', 'endpoints#1 +a@1'],
        ['ack endpoints 1'],
        ['ask endpoints +a', 'endpoints#2 +a@1'],
      ],
    },
    {
      claim: 'an unsubscribed name is not sent, and sent again when it is subscribed anew',
      view: ['endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask endpoints +a +b', 'endpoints#1 +a@1 +b@1'],
        ['ack endpoints 1'],
        ['ask endpoints -a'],
        ['view endpoints a 2'],
        ['ask endpoints +a', 'endpoints#2 +a@2'],
      ],
    },
    {
      claim:
        'a name dropped while the wildcard covers it is sent again; one that it does not cover is removed',
      view: ['cluster a 1'],
      lines: [
        ['ask cluster +* +a +none', 'cluster#1 +a@1 -none'],
        ['ack cluster 1'],
        ['ask cluster -a -none', 'cluster#2 +a@1 -none'],
        ['ack cluster 2'],
      ],
    },
    {
      claim:
        'names asked for after an empty first request leave the wildcard in place, until * is dropped',
      view: ['cluster a 1', 'cluster b 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1 +b@1'],
        ['ack cluster 1'],
        ['ask cluster +a', 'cluster#2 +a@1'],
        ['ack cluster 2'],
        ['view cluster b 2', 'cluster#3 +b@2'],
        ['ack cluster 3'],
        ['ask cluster -*'],
        ['view cluster b 3'],
        ['view cluster a 3', 'cluster#4 +a@3'],
      ],
    },
    {
      claim: 'after a reconnect only differences are sent, and removals for what is gone',
      view: ['cluster same 1', 'cluster changed 2', 'cluster new 1'],
      lines: [
        ['ask cluster same=1 changed=1 gone=1', 'cluster#1 +changed@2 +new@1'],
        ['ack cluster 1', 'cluster#2 -gone'],
      ],
    },
    {
      claim: 'after a reconnect with named resources only differences are sent',
      view: ['endpoints same 1', 'endpoints changed 2', 'endpoints other 1'],
      lines: [
        [
          'ask endpoints +same +changed +gone +never same=1 changed=1 gone=1 stranger=1',
          'endpoints#1 +changed@2 -never',
        ],
        ['ack endpoints 1', 'endpoints#2 -gone'],
        ['ack endpoints 2'],
      ],
    },
    {
      claim: 'a reconnect without differences is answered with silence',
      view: ['cluster a 1'],
      lines: [['ask cluster a=1'], ['view cluster a 2', 'cluster#1 +a@2']],
    },
    {
      claim: 'initial versions count in the first request of a kind only',
      view: ['endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask endpoints +a', 'endpoints#1 +a@1'],
        ['ask endpoints nonce=1 +b b=1', 'endpoints#2 +b@1'],
      ],
    },
    {
      claim: 'a stale nonce acknowledges nothing, but its names count',
      view: ['endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask endpoints +a', 'endpoints#1 +a@1'],
        ['ack endpoints 99'],
        ['view endpoints a 2'],
        ['ask endpoints nonce=99 +b'],
        ['ack endpoints 1', 'endpoints#2 +a@2 +b@1'],
      ],
    },
    {
      claim: 'changes while a response is unanswered become one response',
      view: ['cluster a 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1'],
        ['view cluster a 2'],
        ['view cluster a 3; cluster b 1'],
        ['view cluster b -'],
        ['ack cluster 1', 'cluster#2 +a@3'],
      ],
    },
    {
      claim: 'a refused resource is not sent again until it changes or is asked for anew',
      view: ['listener a bad', 'listener b 1'],
      lines: [
        ['ask listener +a +b', 'listener#1 +a@bad +b@1'],
        ['nack listener 1'],
        ['view listener b 2', 'listener#2 +b@2'],
        ['ack listener 2'],
        ['ask listener +a', 'listener#3 +a@bad'],
        ['nack listener 3'],
        ['view listener a good', 'listener#4 +a@good'],
      ],
    },
    {
      claim: 'a resource deleted while it stands refused is removed',
      view: ['listener a bad'],
      lines: [
        ['ask listener +a', 'listener#1 +a@bad'],
        ['nack listener 1'],
        ['view listener a -', 'listener#2 -a'],
        ['ack listener 2'],
      ],
    },
    {
      claim: 'a refusal of one kind does not hold back another',
      view: ['cluster a 1', 'listener l 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1'],
        ['ask listener', 'listener#2 +l@1'],
        ['nack cluster 1'],
        ['ack listener 2'],
        ['view listener l 2', 'listener#3 +l@2'],
      ],
    },
    {
      claim:
        'make before break: new things go out in the order of reference, gone ones in the reverse',
      view: ['cluster c 1', 'endpoints e 1', 'listener l 1', 'route r 1', 'secret s 1'],
      lines: [
        ['ask route +r +r2', 'route#1 +r@1 -r2'],
        ['ask listener', 'listener#2 +l@1'],
        ['ask endpoints +e +e2', 'endpoints#3 +e@1 -e2'],
        ['ask cluster', 'cluster#4 +c@1'],
        ['ask secret +s', 'secret#5 +s@1'],
        ['ack route 1'],
        ['ack listener 2'],
        ['ack endpoints 3'],
        ['ack cluster 4'],
        ['ack secret 5'],
        [
          'view route r2 1; listener l2 1; cluster c2 1; endpoints e2 1; secret s 2',
          'secret#6 +s@2',
          'cluster#7 +c2@1',
          'endpoints#8 +e2@1',
          'listener#9 +l2@1',
          'route#10 +r2@1',
        ],
        ['ack secret 6'],
        ['ack cluster 7'],
        ['ack endpoints 8'],
        ['ack listener 9'],
        ['ack route 10'],
        [
          'view cluster c2 -; listener l2 -; route r2 -; endpoints e2 -',
          'route#11 -r2',
          'listener#12 -l2',
          'endpoints#13 -e2',
          'cluster#14 -c2',
        ],
      ],
    },
    {
      claim:
        'a listener waits for the answer that a change of clusters waits for; a secret does not',
      view: ['cluster c 1', 'listener l 1', 'secret s 1'],
      lines: [
        ['ask cluster', 'cluster#1 +c@1'],
        ['ask listener', 'listener#2 +l@1'],
        ['ask secret +s', 'secret#3 +s@1'],
        ['ack listener 2'],
        ['ack secret 3'],
        ['view cluster c 2; listener l 2; secret s 2', 'secret#4 +s@2'],
        ['ack cluster 1', 'cluster#5 +c@2', 'listener#6 +l@2'],
      ],
    },
    {
      claim: 'a resource that came and went between two responses is never mentioned',
      view: ['cluster a 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1'],
        ['view cluster b 1'],
        ['view cluster b -'],
        ['ack cluster 1'],
      ],
    },
  ]);

  test('nextResponse() splits what exceeds a response, and goes on after each answer', () => {
    const view = FakeView.of('endpoints a 1', 'endpoints b 1', 'endpoints c 1');
    const conversation = new Conversation('delta', view, { maxResponseBytes: 4 });
    assert.deepEqual(conversation.run('ask endpoints +a +b +c'), ['endpoints#1 +a@1 +b@1']);
    assert.deepEqual(conversation.run('ack endpoints 1'), ['endpoints#2 +c@1']);
    assert.deepEqual(conversation.run('ack endpoints 2'), []);
  });
});

describe('in force', () => {
  const inForce = (conversation: Conversation, version: string): boolean =>
    isInForce(conversation.session, { kind: 'listener', name: 'a', version });

  for (const variant of ['sotw', 'delta'] as const) {
    const first = variant === 'sotw' ? 'ask listener a' : 'ask listener +a';

    test(`${variant}: a version is in force from its ACK on, and stays so while a later one is refused`, () => {
      const conversation = new Conversation(variant, FakeView.of('listener a 1'));
      conversation.run(first);
      assert.equal(inForce(conversation, '1'), false);
      conversation.run('ack listener 1');
      assert.equal(inForce(conversation, '1'), true);
      conversation.run('view listener a 2');
      conversation.run('nack listener 2');
      assert.equal(inForce(conversation, '1'), true);
      assert.equal(inForce(conversation, '2'), false);
      const refusal = conversation.session.subscriptions.get('listener')?.refusal;
      assert.deepEqual(refusal, {
        nonce: '2',
        message: 'bad',
        atMs: 1_000,
        count: 1,
        names: ['a'],
      });
      conversation.run('view listener a 3');
      conversation.run('ack listener 3');
      assert.equal(inForce(conversation, '1'), false);
      assert.equal(inForce(conversation, '3'), true);
    });

    test(`${variant}: a removal that was acknowledged leaves nothing in force`, () => {
      const conversation = new Conversation(variant, FakeView.of('listener a 1'));
      conversation.run(first);
      conversation.run('ack listener 1');
      conversation.run('view listener a -');
      assert.equal(inForce(conversation, '1'), true);
      conversation.run('ack listener 2');
      assert.equal(inForce(conversation, '1'), false);
    });
  }

  test('delta: a version brought by the client counts as in force', () => {
    const conversation = new Conversation('delta', FakeView.of('listener a 1'));
    conversation.run('ask listener +a a=1');
    assert.equal(inForce(conversation, '1'), true);
  });

  test('delta: an ACK for a name dropped and asked for again meanwhile proves nothing', () => {
    const conversation = new Conversation('delta', FakeView.of('listener a 1'));
    conversation.run('ask listener +a');
    conversation.run('ask listener -a');
    conversation.run('ask listener +a');
    assert.deepEqual(conversation.run('ack listener 1'), ['listener#2 +a@1']);
    assert.equal(inForce(conversation, '1'), false);
    conversation.run('ack listener 2');
    assert.equal(inForce(conversation, '1'), true);
  });
});

describe('bounds', () => {
  const limits = { maxNames: 2, maxNameLength: 8 };
  const refused: readonly [string, Variant, readonly string[], string][] = [
    ['too many names at once', 'sotw', ['ask route a b c'], 'too-many-names'],
    ['too many names over kinds', 'sotw', ['ask route a b', 'ask endpoints c'], 'too-many-names'],
    [
      'too many names bit by bit',
      'delta',
      ['ask route +a', 'ask route +b', 'ask route +c'],
      'too-many-names',
    ],
    ['too many initial versions', 'delta', ['ask cluster a=1 b=1 c=1'], 'too-many-names'],
    ['a long name', 'delta', ['ask route +123456789'], 'bad-name'],
    ['a long name to drop', 'delta', ['ask route -123456789'], 'bad-name'],
  ];
  for (const [claim, variant, steps, code] of refused) {
    test(`takeRequest() refuses ${claim}`, () => {
      const conversation = new Conversation(variant, new FakeView(), limits);
      for (const step of steps) conversation.run(step);
      assert.ok(conversation.outcome !== undefined && !conversation.outcome.ok);
      assert.equal(conversation.outcome.code, code);
    });
  }

  test('takeRequest() counts a name once: asked for again, or brought and asked for', () => {
    const conversation = new Conversation('delta', new FakeView(), limits);
    for (const step of [
      'ask route +a +b a=1 b=1',
      'ask route +a +b',
      'ask route -a',
      'ask route +c',
    ]) {
      conversation.run(step);
      assert.equal(conversation.outcome?.ok, true, step);
    }
  });
});
