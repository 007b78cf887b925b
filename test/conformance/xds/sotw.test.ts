// State of the world, what is asked for and what is sent: the rules of Envoy's protocol document, held against the product's server by a raw client.
import { judge } from '../../support/raw-xds-conversation.ts';

judge('sotw', [
  {
    rule: 'an empty first list of clusters is a wildcard: all of them, at the version announced, and silence after the ACK',
    lines: [
      ['set 1 cluster A=1 B=1 C=1'],
      ['ask cluster', 'cluster@1 A=1 B=1 C=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'an empty first list of listeners is a wildcard as well',
    lines: [['set 1 listener A=1 B=1'], ['ask listener', 'listener@1 A=1 B=1'], ['ack listener']],
  },
  {
    rule: 'an empty first list of any other type asks for nothing',
    lines: [['set 1 endpoints A=1'], ['ask endpoints'], ['update 2 endpoints A=2']],
  },
  {
    rule: 'a wildcard is answered even when there is nothing',
    lines: [['ask listener', 'listener@e3b0c44298fc1c14'], ['ack listener']],
  },
  {
    rule: '* asks for all clusters in words',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster *', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['add 2 cluster C=1', 'cluster@2 A=1 B=1 C=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: '* asks for all of any other type too, and each change is sent by itself',
    lines: [
      ['set 1 route A=1 B=1'],
      ['ask route *', 'route@1 A=1 B=1'],
      ['ack route'],
      ['update 2 route B=2', 'route@2 B=2'],
      ['ack route'],
    ],
  },
  {
    rule: 'an update of one cluster sends the whole set in one response, with the new version',
    lines: [
      ['set 1 cluster A=1 B=1 C=1'],
      ['ask cluster', 'cluster@1 A=1 B=1 C=1'],
      ['ack cluster'],
      ['update 2 cluster A=2', 'cluster@2 A=2 B=1 C=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a listener that is gone is told by its absence',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener', 'listener@1 A=1 B=1'],
      ['ack listener'],
      ['remove 2 listener A', 'listener@2 B=1'],
      ['ack listener'],
      ['remove 3 listener B', 'listener@3'],
      ['ack listener'],
    ],
  },
  {
    rule: 'where clusters are all that is asked for, one response brings what is new and leaves out what is gone',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['set 2 cluster A=1 C=1', 'cluster@2 A=1 C=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'named listeners: these alone are sent, all of them whenever one changes, and no change of others',
    lines: [
      ['set 1 listener A=1 B=1 C=1'],
      ['ask listener A B', 'listener@1 A=1 B=1'],
      ['ack listener'],
      ['update 2 listener C=2'],
      ['update 3 listener B=2', 'listener@3 A=1 B=2'],
      ['ack listener'],
    ],
  },
  {
    rule: 'named endpoints: only the one that changed is sent',
    lines: [
      ['set 1 endpoints A=1 B=1 C=1'],
      ['ask endpoints A B', 'endpoints@1 A=1 B=1'],
      ['ack endpoints'],
      ['update 2 endpoints C=2'],
      ['update 3 endpoints B=2', 'endpoints@3 B=2'],
      ['ack endpoints'],
    ],
  },
  {
    rule: 'a cluster that does not exist is left out of the set, and sent with it when it appears',
    lines: [
      ['set 1 cluster A=1'],
      ['ask cluster A Z', 'cluster@1 A=1'],
      ['ack cluster'],
      ['add 2 cluster Z=1', 'cluster@2 A=1 Z=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a cluster asked for by name that does not exist is answered with an empty set: LDS and CDS must say so',
    lines: [['set 1 cluster A=1'], ['ask cluster Z', 'cluster@1'], ['ack cluster']],
  },
  {
    rule: 'a route that does not exist is met with silence, and sent when it appears',
    lines: [
      ['set 1 route A=1'],
      ['ask route A Z', 'route@1 A=1'],
      ['ack route'],
      ['add 2 route Z=1', 'route@2 Z=1'],
      ['ack route'],
    ],
  },
  {
    rule: 'a secret that is gone is not told, and sent when it is back',
    lines: [
      ['set 1 secret A=1 B=1'],
      ['ask secret A B', 'secret@1 A=1 B=1'],
      ['ack secret'],
      ['remove 2 secret A'],
      ['update 3 secret B=2', 'secret@3 B=2'],
      ['ack secret'],
      ['add 4 secret A=1', 'secret@4 A=1'],
      ['ack secret'],
    ],
  },
  {
    rule: 'a name added to the list is sent; of types that are sent whole, with the others',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster A', 'cluster@1 A=1'],
      ['ask cluster nonce=last A B', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'a name added to the list is sent; of other types, alone',
    lines: [
      ['set 1 route A=1 B=1'],
      ['ask route A', 'route@1 A=1'],
      ['ask route nonce=last A B', 'route@1 B=1'],
      ['ack route'],
    ],
  },
  {
    rule: 'a name left out of the list is not sent any more, and its going needs no response',
    lines: [
      ['set 1 endpoints A=1 B=1'],
      ['ask endpoints A B', 'endpoints@1 A=1 B=1'],
      ['ask endpoints nonce=last A'],
      ['update 2 endpoints B=2'],
      ['update 3 endpoints A=2', 'endpoints@3 A=2'],
      ['ack endpoints'],
    ],
  },
  {
    rule: 'a name asked for again after it was left out is sent again though it is the same',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener A B', 'listener@1 A=1 B=1'],
      ['ask listener nonce=last A'],
      ['ask listener nonce=last A B', 'listener@1 A=1 B=1'],
      ['ack listener'],
    ],
  },
  {
    rule: 'a list that becomes empty after names asks for nothing; it is no wildcard',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster A', 'cluster@1 A=1'],
      ['ask cluster nonce=last'],
      ['update 2 cluster A=2'],
      ['update 3 cluster B=2'],
    ],
  },
  {
    rule: 'a list of the empty name alone asks for nothing, and ends no stream',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener A B', 'listener@1 A=1 B=1'],
      ["ask listener nonce=last ''"],
      ['update 2 listener A=2'],
      ['ask listener nonce=last B', 'listener@2 B=1'],
      ['ack listener'],
    ],
  },
  {
    rule: 'a list that becomes the empty name alone drops all names, of any type',
    lines: [
      ['set 1 route A=1 B=1'],
      ['ask route A B', 'route@1 A=1 B=1'],
      ['ack route'],
      ["ask route nonce=last ''"],
      ['update 2 route B=2'],
    ],
  },
  {
    rule: 'a first list of the empty name alone is no wildcard: nothing is there of what it asks for',
    lines: [
      ['set 1 cluster A=1'],
      ["ask cluster ''", 'cluster@1'],
      ['ack cluster'],
      ['update 2 cluster A=2'],
    ],
  },
  {
    rule: 'a wildcard beside names keeps covering all; without it the names alone are left',
    lines: [
      ['set 1 cluster A=1 B=1'],
      ['ask cluster * A', 'cluster@1 A=1 B=1'],
      ['ack cluster'],
      ['update 2 cluster B=2', 'cluster@2 A=1 B=2'],
      ['ask cluster nonce=last A'],
      ['update 3 cluster B=3'],
      ['update 4 cluster A=2', 'cluster@4 A=2'],
      ['ack cluster'],
    ],
  },
  {
    rule: 'the old wildcard ends when names are given',
    lines: [
      ['set 1 listener A=1 B=1'],
      ['ask listener', 'listener@1 A=1 B=1'],
      ['ask listener nonce=last A', 'listener@1 A=1'],
      ['ack listener'],
      ['update 2 listener B=2'],
      ['update 3 listener A=2', 'listener@3 A=2'],
      ['ack listener'],
    ],
  },
]);
