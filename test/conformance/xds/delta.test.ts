// Delta, what is asked for and what is sent: the rules of Envoy's protocol document, held against the product's server by a raw client.
import { judge } from '../../support/raw-xds-conversation.ts';

judge('delta', [
  {
    rule: 'names are answered with what there is, and silence after the ACK',
    lines: [
      ['set 1 listener A=1 B=1 C=1'],
      ['ask listener +A +B', 'listener@1 A=1 B=1'],
      ['ack listener'],
    ],
  },
  {
    rule: 'names asked for one after the other are sent one after the other',
    lines: [
      ['set 1 cluster A=1 B=1 C=1'],
      ['ask cluster +A', 'cluster@1 A=1'],
      ['ack cluster'],
      ['ask cluster +B', 'cluster@1 B=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'an ACK may ask for more',
    lines: [
      ['set 1 route A=1 B=1'],
      ['ask route +A', 'route@1 A=1'],
      ['ask route nonce=last +B', 'route@1 B=1'],
      ['ack route'],
    ],
  },
  {
    rule: 'only what changed is sent, with the new version, whatever the type',
    lines: [
      ['set 1 cluster A=1 B=1 C=1'],
      ['ask cluster +A +B +C', 'cluster@1 A=1 B=1 C=1'],
      ['ack cluster'],
      ['update 2 cluster A=2', 'cluster@2 A=2'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a first request that names nothing is a wildcard of clusters',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['add 2 cluster C=1', 'cluster@2 C=1'],
      ['ack cluster'],
      ['remove 3 cluster A', 'cluster@3 -A'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a first request that names nothing is a wildcard of listeners, and is answered even when there is nothing',
    lines: [
      ['clear'],
      ['ask listener', 'listener@'],
      ['ack listener'],
      ['add 1 listener A=1', 'listener@1 A=1'],
      ['ack listener'],
    ],
  },
  {
    rule: 'a first request of any other type that names nothing asks for nothing',
    lines: [['set 1 endpoints A=1'], ['ask endpoints'], ['update 2 endpoints A=2']],
  },
  {
    rule: 'a first request of the empty name alone is no wildcard, and ends no stream',
    lines: [
      ['set 1 cluster A=1'],
      ["ask cluster +''"],
      ['update 2 cluster A=2'],
      ['ask cluster +A', 'cluster@2 A=2'],
      ['ack cluster'],
    ],
  },
  {
    rule: '* asks for everything, of any type',
    lines: [
      ['set 1 route A=1 B=1'],
      ['ask route +*', 'route@1 A=1 B=1'],
      ['ack route'],
      ['add 2 route C=1', 'route@2 C=1'],
      ['ack route'],
    ],
  },
  {
    rule: '* dropped ends the wildcard, old or new; names given beside it are kept',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster +* +A', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['ask cluster -*'],
      ['update 2 cluster B=2'],
      ['update 3 cluster A=2', 'cluster@3 A=2'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'the old wildcard stays when names are given, until * is dropped',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener', 'listener@1 A=1 B=1'],
      ['ack listener'],
      ['ask listener +A', 'listener@1 A=1'],
      ['ack listener'],
      ['update 2 listener B=2', 'listener@2 B=2'],
      ['ack listener'],
      ['ask listener -*'],
      ['update 3 listener B=3'],
      ['update 4 listener A=2', 'listener@4 A=2'],
      ['ack listener'],
    ],
  },
  {
    rule: '* dropped and asked for again sends everything again',
    lines: [
      ['set 1 cluster A=1'],
      ['ask cluster +*', 'cluster@1 A=1'],
      ['ack cluster'],
      ['ask cluster -*'],
      ['ask cluster +*', 'cluster@1 A=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a name dropped under a wildcard that covers it is sent again, for the client may have forgotten it',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster +* +A', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['ask cluster -A', 'cluster@1 A=1'],
      ['ack cluster'],
      ['update 2 cluster A=2', 'cluster@2 A=2'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a name dropped under a wildcard that does not cover it is told to be removed',
    lines: [
      ['set 1 cluster A=1'],
      ['ask cluster +* +Z', 'cluster@1 A=1 -Z'],
      ['ack cluster'],
      ['ask cluster -Z', 'cluster@1 -Z'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a dropped name is not sent any more, and its going needs no response',
    lines: [
      ['set 1 endpoints A=1 B=1'],
      ['ask endpoints +A +B', 'endpoints@1 A=1 B=1'],
      ['ack endpoints'],
      ['ask endpoints -B'],
      ['update 2 endpoints B=2'],
      ['ask endpoints -A'],
      ['update 3 endpoints A=2'],
      ['remove 4 endpoints A'],
    ],
  },
  {
    rule: 'a name dropped and asked for again is sent again though it is the same',
    lines: [
      ['set 1 route A=1'],
      ['ask route +A', 'route@1 A=1'],
      ['ack route'],
      ['ask route -A'],
      ['ask route +A', 'route@1 A=1'],
      ['ack route'],
    ],
  },
  {
    rule: 'a name asked for that is asked for already is sent again',
    lines: [
      ['set 1 secret A=1 B=1'],
      ['ask secret +A +B', 'secret@1 A=1 B=1'],
      ['ack secret'],
      ['ask secret +A', 'secret@1 A=1'],
      ['ack secret'],
    ],
  },
  {
    rule: 'dropping what was never asked for changes nothing',
    lines: [
      ['set 1 route A=1'],
      ['ask route +A', 'route@1 A=1'],
      ['ack route'],
      ['ask route -Z'],
      ['update 2 route A=2', 'route@2 A=2'],
      ['ack route'],
    ],
  },
  {
    rule: 'a name that does not exist is told to be removed, in the same response as what exists, and sent when it appears',
    lines: [
      ['set 1 endpoints A=1'],
      ['ask endpoints +A +Z', 'endpoints@1 A=1 -Z'],
      ['ack endpoints'],
      ['add 1 endpoints Z=1', 'endpoints@1 Z=1'],
      ['ack endpoints'],
    ],
  },
  {
    rule: 'what is gone is told once, and sent when it is back, the same as before or not',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener +A +B', 'listener@1 A=1 B=1'],
      ['ack listener'],
      ['remove 2 listener B', 'listener@2 -B'],
      ['ack listener'],
      ['update 3 listener A=2', 'listener@3 A=2'],
      ['ack listener'],
      ['add 1 listener B=1', 'listener@1 B=1'],
      ['ack listener'],
    ],
  },
  {
    rule: 'what comes and goes while a response is unanswered is not mentioned',
    lines: [
      ['set 1 cluster A=1'],
      ['ask cluster +*', 'cluster@1 A=1'],
      ['add 2 cluster B=1'],
      ['remove 3 cluster B'],
      ['ack cluster'],
    ],
  },
]);
