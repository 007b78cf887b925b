// What is in force on a stream, and how much one stream may ask for.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Conversation } from '../../../test/support/xds-conversation.ts';
import { FakeView } from '../../../test/support/xds-fake-view.ts';
import { isInForce } from './session.ts';
import type { Variant } from './subscription.ts';

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
