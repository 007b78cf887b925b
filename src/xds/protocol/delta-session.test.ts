// The rules of the delta protocol, each as a short conversation; what a response holds is written `KIND#NONCE +NAME@VERSION -NAME`.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { converse, Conversation } from '../../../test/support/xds-conversation.ts';
import { FakeView } from '../../../test/support/xds-fake-view.ts';

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
      claim:
        'who asks for everything in place of a name hears that what it had by that name is gone',
      view: ['listener b 1'],
      lines: [
        ['ask listener +b', 'listener#1 +b@1'],
        ['view listener b -'],
        ['ask listener +* -b'],
        ['ack listener 1', 'listener#2 -b'],
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
