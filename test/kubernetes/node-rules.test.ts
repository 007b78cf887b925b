// The pure parts of the node for tests: which rules lead to which Pods, what variables expand to, what names answer.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { answerName } from '../node/cluster-names.ts';
import { readQuestion, TYPE, writeAnswer } from '../node/dns-message.ts';
import { findImage } from '../node/images.ts';
import { expand } from '../node/projection.ts';
import { serviceRules, type Slice } from '../node/service-rules.ts';

const service = (spec: object) => ({ metadata: { namespace: 'shop', name: 'web' }, spec });
const endpoint = (address: string, conditions: object = { ready: true }) => ({
  addresses: [address],
  conditions,
});
const slice = (...endpoints: readonly object[]): Slice => ({
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints,
});
const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];

suite('serviceRules()', () => {
  const rulesFor = (slices: readonly Slice[], spec: object = { clusterIP: '10.96.0.9', ports }) =>
    serviceRules([service(spec)], new Map([['shop/web', slices]]))
      .split('\n')
      .filter((line) => line.startsWith('-A'));
  const to = 'WEFT-NODE-SERVICES -d 10.96.0.9/32 -p tcp -m tcp --dport 80';

  test('shares calls evenly among ready Pods, and knows the Pod that calls itself', () => {
    assert.deepEqual(rulesFor([slice(endpoint('10.0.0.1')), slice(endpoint('10.0.0.2'))]), [
      `-A ${to} -m statistic --mode random --probability 0.5000000000 -j DNAT --to-destination 10.0.0.1:8080`,
      `-A ${to} -j DNAT --to-destination 10.0.0.2:8080`,
      '-A WEFT-NODE-HAIRPIN -s 10.0.0.1 -d 10.0.0.1 -j MASQUERADE',
      '-A WEFT-NODE-HAIRPIN -s 10.0.0.2 -d 10.0.0.2 -j MASQUERADE',
    ]);
  });

  test('leads to Pods that end only when no other is ready, and refuses when there are none', () => {
    const ending = endpoint('10.0.0.1', { ready: false, serving: true, terminating: true });
    const unready = endpoint('10.0.0.2', { ready: false, serving: false });
    assert.match(rulesFor([slice(ending, unready)])[0] ?? '', /10\.0\.0\.1:8080$/);
    assert.match(rulesFor([slice(ending, endpoint('10.0.0.3'))])[0] ?? '', /10\.0\.0\.3:8080$/);
    const refusal = '-A WEFT-NODE-NO-ENDPOINTS -d 10.96.0.9/32 -p tcp -m tcp --dport 80 -j REJECT';
    assert.deepEqual(rulesFor([slice(unready)]), [refusal]);
    assert.deepEqual(rulesFor([]), [refusal]);
  });

  test('has nothing for a headless Service', () => {
    assert.deepEqual(rulesFor([slice(endpoint('10.0.0.1'))], { clusterIP: 'None', ports }), []);
  });
});

test('expand() puts in variables that are there, and leaves others and doubled dollars as Kubernetes does', () => {
  const env = { A: '1', B: '$(A)' };
  for (const [text, expected] of [
    ['x$(A)y', 'x1y'],
    ['$(B)', '$(A)'],
    ['$(NONE)', '$(NONE)'],
    ['$$(A)', '$(A)'],
    ['$A $', '$A $'],
    ['$(toString)', '$(toString)'],
    ['$(A', '$(A'],
  ] as const) {
    assert.equal(expand(text, env), expected, text);
  }
});

test('findImage() looks past registry tag and digest, and not past a port', () => {
  const images = { 'weft/sidecar': {}, 'host:5000/app': { uid: 1 } };
  assert.ok(findImage(images, 'weft/sidecar:1.2@sha256:ab') === images['weft/sidecar']);
  assert.ok(findImage(images, 'host:5000/app') === images['host:5000/app']);
  assert.equal(findImage(images, 'weft/other:1'), undefined);
});

suite('names of the cluster', () => {
  const names = {
    service: (namespace: string, name: string) =>
      namespace === 'shop' && name === 'web' ? service({ clusterIP: '10.96.0.9' }) : undefined,
    slices: () => [],
  };

  test('a question and its answer are those of RFC 1035', () => {
    const question = Buffer.concat([
      Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
      Buffer.from('\x03Web\x04shop\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01', 'latin1'),
    ]);
    const read = readQuestion(question);
    assert.ok(read !== undefined);
    assert.equal(read.name, 'web.shop.svc.cluster.local');
    const answer = writeAnswer(read, answerName(names, read.name, read.type));
    assert.equal(answer.readUInt16BE(0), 0x1234);
    assert.equal(answer.readUInt16BE(6), 1);
    assert.deepEqual([...answer.subarray(-4)], [10, 96, 0, 9]);
    for (const length of [0, 11, 20, question.length - 1]) {
      assert.equal(readQuestion(question.subarray(0, length)), undefined);
    }
  });

  test('a name that is there without such records is not the same as one that is not there', () => {
    const name = 'web.shop.svc.cluster.local';
    assert.deepEqual(answerName(names, name, TYPE.AAAA), { isFound: true, records: [] });
    assert.equal(answerName(names, 'no.shop.svc.cluster.local', TYPE.A).isFound, false);
    assert.equal(answerName(names, 'example.test', TYPE.A).isFound, false);
  });
});
