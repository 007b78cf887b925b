// The rules of the state-of-the-world protocol, each as a short conversation; what a response holds is written `KIND#NONCE +NAME@VERSION -NAME`.
import { describe } from 'node:test';
import { converse } from '../../../test/support/xds-conversation.ts';

describe('state of the world', () => {
  converse('sotw', [
    {
      claim:
        'a changed cluster has its endpoints sent again: Envoy drops those of clusters that are gone in the same breath',
      view: ['cluster a 1', 'cluster b 1', 'endpoints a 1', 'endpoints b 1'],
      lines: [
        ['ask cluster', 'cluster#1 +a@1 +b@1'],
        ['ask endpoints a b', 'endpoints#2 +a@1 +b@1'],
        ['ask endpoints nonce=2 a b'],
        ['ack cluster 1'],
        ['view cluster a 2; cluster b -', 'cluster#3 +a@2 +b@1', 'endpoints#4 +a@1'],
        ['ask endpoints nonce=4 a'],
        ['ack cluster 3', 'cluster#5 +a@2'],
      ],
    },
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
