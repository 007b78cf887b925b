import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTlsTermination } from './parse-tls-termination.ts';

const manifest = (spec: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'TlsTermination',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    ports: [8443],
    certificates: [{ secret: 'web-tls' }],
    ...spec,
  },
  ...more,
});

test('parseTlsTermination() has sane defaults: TLS 1.2 and 1.3, forward secrecy, no plaintext, nobody asked for a certificate', () => {
  const parsed = parseTlsTermination(manifest({}));
  assert.ok(parsed.ok);
  const { minVersion, maxVersion, plaintext, alpn, clientCertificates, cipherSuites } =
    parsed.value;
  assert.deepEqual([minVersion, maxVersion], ['TLSv1.2', 'TLSv1.3']);
  assert.deepEqual(plaintext, { kind: 'refuse' });
  assert.equal(alpn, undefined);
  assert.equal(clientCertificates, undefined);
  assert.ok(cipherSuites.every((suite) => suite.startsWith('ECDHE-')));
});

const client = (more: Record<string, unknown>): Record<string, unknown> => ({
  clientCertificates: { mode: 'REQUIRED', trust: { secret: 'ca' }, ...more },
});

test('parseTlsTermination() reads constraints into what is compared', () => {
  const pin = Buffer.alloc(32, 7);
  const parsed = parseTlsTermination(
    manifest(
      client({
        crl: { required: true, maxAgeHours: 24 },
        constraints: {
          issuers: ['CN=Clients\\, A,O=Example'],
          subjects: ['CN=*,O=Example'],
          subjectAltNames: [
            { type: 'DNS', value: '*.Clients.example' },
            { type: 'URI', value: 'urn:client:*' },
          ],
          extendedKeyUsages: ['smartcardLogon'],
          keys: [
            { type: 'RSA', minBits: 3072 },
            { type: 'EC', curves: ['P-256'] },
            { type: 'Ed25519' },
          ],
          serials: ['00:AB:01'],
          spkiPins: [pin.toString('base64'), pin.toString('hex')],
        },
      }),
    ),
  );
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const { constraints, crl } = parsed.value.clientCertificates ?? {};
  assert.equal(crl, 'required');
  assert.deepEqual(constraints?.issuers[0]?.attributes, [
    { type: '2.5.4.3', value: 'Clients, A' },
    { type: '2.5.4.10', value: 'Example' },
  ]);
  assert.equal(constraints.subjects[0]?.attributes[0]?.value, undefined);
  assert.deepEqual(constraints.subjectAltNames, [
    { type: 'DNS', match: 'suffix', value: '.clients.example' },
    { type: 'URI', match: 'prefix', value: 'urn:client:' },
  ]);
  assert.deepEqual(constraints.serials, ['ab01']);
  assert.deepEqual(constraints.spkiPins, [pin.toString('hex'), pin.toString('hex')]);
  assert.deepEqual(constraints.keys, [
    { kind: 'RSA', minBits: 3072 },
    { kind: 'EC', curves: ['prime256v1'] },
    { kind: 'Ed25519' },
  ]);
  assert.equal(constraints.crlMaxAgeMs, 86_400_000);
});

const BAD: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ['no certificate', { certificates: [] }, 'spec.certificates'],
  ['no port', { ports: [] }, 'spec.ports'],
  ['a misspelt field', { clientCertificate: {} }, 'spec.clientCertificate'],
  ['TLS 1.0', { minVersion: '1.0' }, 'spec.minVersion'],
  ['versions that cross', { minVersion: '1.3', maxVersion: '1.2' }, 'spec.minVersion'],
  ['a weak cipher', { cipherSuites: ['RC4-SHA'] }, 'spec.cipherSuites'],
  ['no cipher', { cipherSuites: [] }, 'spec.cipherSuites'],
  ['a name with a star inside', { serverNames: ['a.*.example'] }, 'spec.serverNames[0]'],
  ['a wildcard for a whole top domain', { serverNames: ['*.com'] }, 'spec.serverNames[0]'],
  ['a redirect to nothing', { plaintext: { mode: 'REDIRECT', port: 0 } }, 'spec.plaintext.port'],
  ['a redirect by 302', { plaintext: { mode: 'REDIRECT', status: 302 } }, 'spec.plaintext.status'],
  ['preloading for a day', { hsts: { maxAgeSeconds: 86_400, preload: true } }, 'spec.hsts.preload'],
  [
    'a relative path',
    { certificates: [{ file: { certificate: 'a', key: '/b' } }] },
    'spec.certificates[0].file.certificate',
  ],
  [
    'Secret and file',
    { certificates: [{ secret: 'a', file: { certificate: '/a', key: '/b' } }] },
    'spec.certificates[0]',
  ],
  [
    'certificates of nobody',
    { clientCertificates: { mode: 'REQUIRED' } },
    'spec.clientCertificates.trust',
  ],
  ['a misspelt mode', client({ mode: 'Require' }), 'spec.clientCertificates.mode'],
  [
    'an empty constraint',
    client({ constraints: { serials: [] } }),
    'spec.clientCertificates.constraints.serials',
  ],
  [
    'a star for every name',
    client({ constraints: { subjectAltNames: [{ type: 'DNS', value: '*' }] } }),
    'spec.clientCertificates.constraints.subjectAltNames[0].value',
  ],
  [
    'a name without values',
    client({ constraints: { subjects: ['CN=,O=a'] } }),
    'spec.clientCertificates.constraints.subjects[0]',
  ],
  [
    'a short pin',
    client({ constraints: { spkiPins: ['AAAA'] } }),
    'spec.clientCertificates.constraints.spkiPins[0]',
  ],
  [
    'RSA of 1024 bits',
    client({ constraints: { keys: [{ type: 'RSA', minBits: 1024 }] } }),
    'spec.clientCertificates.constraints.keys[0].minBits',
  ],
];

for (const [what, spec, field] of BAD) {
  test(`parseTlsTermination() refuses ${what}, and names ${field}`, () => {
    const parsed = parseTlsTermination(manifest(spec));
    assert.ok(!parsed.ok);
    const problem = parsed.problems.find((one) => one.field?.startsWith(field));
    assert.ok(problem, JSON.stringify(parsed.problems));
  });
}

test('parseTlsTermination() takes no version of another project', () => {
  const parsed = parseTlsTermination(manifest({}, { apiVersion: 'security.istio.io/v1' }));
  assert.ok(!parsed.ok);
});
