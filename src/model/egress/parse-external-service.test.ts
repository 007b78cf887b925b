// What an ExternalService may say, what is refused with a cure, and what an unreadable one closes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainObject } from '../policy/reader.ts';
import { closedExternalService, parseExternalService } from './parse-external-service.ts';

const manifest = (spec: PlainObject): PlainObject => ({
  apiVersion: 'mesh.weft.dev/v1',
  kind: 'ExternalService',
  metadata: { name: 'payments', namespace: 'shop' },
  spec: { hosts: ['api.pay.example'], ports: [{ number: 80, protocol: 'HTTP' }], ...spec },
});

test('parseExternalService() reads a host that is called in plain text and reached by mutual TLS', () => {
  const parsed = parseExternalService(
    manifest({
      hosts: ['API.pay.example.'],
      ports: [{ number: 80, protocol: 'HTTP', targetPort: 443 }],
      tls: {
        mode: 'MUTUAL',
        ca: { configMap: { name: 'pay-ca' } },
        clientCertificate: { secret: { name: 'pay-client' } },
        minVersion: 'TLSv1_3',
      },
      allowedCallers: { principals: ['cluster.local/ns/shop/sa/web'] },
    }),
  );
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  const { hosts, ports, tls, resolution, allowedCallers } = parsed.value;
  assert.deepEqual(hosts, ['api.pay.example']);
  assert.deepEqual(ports, [{ port: 80, protocol: 'http1', targetPort: 443 }]);
  assert.deepEqual(resolution, { kind: 'dns', minTtlSeconds: 5, maxTtlSeconds: 300 });
  assert.deepEqual(tls?.ca, { kind: 'configMap', name: 'pay-ca', key: 'ca.crt' });
  assert.deepEqual(tls?.client, { kind: 'secret', name: 'pay-client' });
  assert.equal(tls?.minVersion, 'TLSv1.3');
  assert.deepEqual(allowedCallers?.namespaces, []);
});

const refused: readonly (readonly [string, PlainObject, string, string])[] = [
  ['no host', { hosts: [] }, 'spec.hosts', 'missing'],
  ['an address as a host', { hosts: ['10.0.0.1'] }, 'spec.hosts[0]', 'bad-host'],
  ['one label', { hosts: ['localhost'] }, 'spec.hosts[0]', 'bad-host'],
  ['a star over everything', { hosts: ['*'] }, 'spec.hosts[0]', 'bad-host'],
  ['a star over a top level', { hosts: ['*.com'] }, 'spec.hosts[0]', 'bad-host'],
  ['a star without TLS', { hosts: ['*.pay.example'] }, 'spec.hosts[0]', 'wildcard-without-tls'],
  ['an unknown field', { tsl: {} }, 'spec.tsl', 'unknown-field'],
  [
    'an unknown protocol',
    { ports: [{ number: 80, protocol: 'UDP' }] },
    'spec.ports[0].protocol',
    'unknown-protocol',
  ],
  ['no addresses', { resolution: 'STATIC' }, 'spec.addresses', 'missing'],
  ['addresses that nobody uses', { addresses: ['10.0.0.1'] }, 'spec.addresses', 'not-used'],
  [
    'MUTUAL without certificate',
    { tls: { mode: 'MUTUAL' } },
    'spec.tls.clientCertificate',
    'missing',
  ],
  [
    'two sources of roots',
    { tls: { ca: { file: '/a', system: true } } },
    'spec.tls.ca',
    'one-source',
  ],
  [
    'a path that is not absolute',
    { tls: { ca: { file: '../ca' } } },
    'spec.tls.ca.file',
    'bad-path',
  ],
  ['no name to expect', { tls: { subjectAltNames: [] } }, 'spec.tls.subjectAltNames', 'empty-list'],
  [
    'a star among names',
    { tls: { subjectAltNames: ['*.a.b'] } },
    'spec.tls.subjectAltNames[0]',
    'bad-name',
  ],
  ['TLS in TLS', { ports: [{ number: 443, protocol: 'TLS' }], tls: {} }, 'spec.tls', 'tls-in-tls'],
  [
    'a star inside a principal',
    { allowedCallers: { principals: ['a/*/b'] } },
    'spec.allowedCallers.principals[0]',
    'bad-wildcard',
  ],
];
for (const [what, spec, field, code] of refused) {
  test(`parseExternalService() refuses ${what}`, () => {
    const parsed = parseExternalService(manifest(spec));
    assert.equal(parsed.ok, false);
    const found = parsed.problems.find((one) => one.field === field);
    assert.equal(found?.code, code, JSON.stringify(parsed.problems));
  });
}

test('closedExternalService() closes the hosts that can be read, for everybody who might see them', () => {
  const closed = closedExternalService(
    manifest({ hosts: ['api.pay.example', 7, '10.0.0.1'], ports: 'all', allowedCallers: 3 }),
  );
  assert.equal(closed.isClosed, true);
  assert.deepEqual(closed.hosts, ['api.pay.example']);
  assert.deepEqual(
    closed.ports.map(({ port }) => port),
    [80, 443],
  );
  assert.deepEqual(closed.allowedCallers, { principals: [], namespaces: [] });
});
