// What a CredentialBinding may say, and that anything doubtful grants nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PlainObject } from '../policy/reader.ts';
import { parseCredentialBinding } from './parse-credential-binding.ts';

const credential = (changes: PlainObject = {}): PlainObject => ({
  name: 'db',
  source: { secret: { name: 'shop-db' } },
  ways: ['url'],
  ...changes,
});
const binding = (spec: PlainObject): PlainObject => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'CredentialBinding',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { serviceAccounts: ['web'], credentials: [credential()], ...spec },
});
const one = (changes: PlainObject): PlainObject => binding({ credentials: [credential(changes)] });

test('a binding says who may have what, from where and by which ways', () => {
  const parsed = parseCredentialBinding(
    binding({
      selector: { matchLabels: { app: 'web' } },
      credentials: [
        credential({ keys: ['username', 'password'], ways: ['files', 'url'] }),
        credential({
          name: 'pay',
          source: { from: 'vault', path: 'shop/pay' },
          ways: ['inject'],
          inject: [
            { hosts: ['API.example.com:8443'], header: { name: 'X-Api-Key', key: 'token' } },
            { hosts: ['*.example.org'], bearer: { key: 'token' }, allowPlaintext: true },
          ],
        }),
      ],
    }),
  );
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.serviceAccounts, ['web']);
  assert.deepEqual(parsed.value.credentials, [
    {
      name: 'db',
      source: { kind: 'secret', name: 'shop-db' },
      keys: ['username', 'password'],
      ways: ['url', 'files'],
      injections: [],
    },
    {
      name: 'pay',
      source: { kind: 'named', source: 'vault', path: 'shop/pay' },
      keys: undefined,
      ways: ['inject'],
      injections: [
        {
          hosts: ['api.example.com:8443'],
          scheme: { kind: 'header', name: 'x-api-key', key: 'token', prefix: '' },
          allowPlaintext: false,
        },
        {
          hosts: ['*.example.org'],
          scheme: { kind: 'bearer', key: 'token' },
          allowPlaintext: true,
        },
      ],
    },
  ]);
});

const inject = (changes: PlainObject): PlainObject =>
  one({ ways: ['inject'], inject: [{ hosts: ['a.example'], bearer: { key: 'k' }, ...changes }] });

const REFUSED: readonly (readonly [string, PlainObject, string, string])[] = [
  ['nobody', binding({ serviceAccounts: [] }), 'spec.serviceAccounts', 'no-identity'],
  ['labels alone', binding({ serviceAccounts: undefined }), 'spec.serviceAccounts', 'no-identity'],
  ['everybody', binding({ serviceAccounts: ['*'] }), 'spec.serviceAccounts[0]', 'bad-name'],
  [
    'an account of another namespace',
    binding({ serviceAccounts: ['pay/web'] }),
    'spec.serviceAccounts[0]',
    'bad-name',
  ],
  ['nothing', binding({ credentials: [] }), 'spec.credentials', 'no-credentials'],
  [
    'one name twice',
    binding({ credentials: [credential(), credential()] }),
    'spec.credentials[1].name',
    'duplicate-name',
  ],
  ['a name that is a way up', one({ name: '..' }), 'spec.credentials[0].name', 'bad-name'],
  ['no source', one({ source: {} }), 'spec.credentials[0].source', 'no-source'],
  [
    'two sources',
    one({ source: { secret: { name: 'a' }, from: 'b', path: 'c' } }),
    'spec.credentials[0].source',
    'no-source',
  ],
  [
    'a Secret of another namespace',
    one({ source: { secret: { name: 'pay/db' } } }),
    'spec.credentials[0].source.secret.name',
    'bad-name',
  ],
  [
    'a namespace beside the Secret',
    one({ source: { secret: { name: 'db', namespace: 'pay' } } }),
    'spec.credentials[0].source.secret.namespace',
    'unknown-field',
  ],
  ...['../pay/db', '/etc/shadow', 'a//b', 'a/./b', '.hidden', 'a b', 'a%2fb', ''].map(
    (path) =>
      [
        `the path ${JSON.stringify(path)}`,
        one({ source: { from: 'vault', path } }),
        'spec.credentials[0].source.path',
        'bad-path',
      ] as const,
  ),
  ['a hidden key', one({ keys: ['.x'] }), 'spec.credentials[0].keys[0]', 'bad-key'],
  ['no way', one({ ways: [] }), 'spec.credentials[0].ways', 'no-ways'],
  ['a way that is none', one({ ways: ['env'] }), 'spec.credentials[0].ways[0]', 'unknown-way'],
  ['a way without where', one({ ways: ['inject'] }), 'spec.credentials[0].inject', 'ways-disagree'],
  [
    'where without its way',
    one({ inject: [{ hosts: ['a.example'], bearer: { key: 'k' } }] }),
    'spec.credentials[0].inject',
    'ways-disagree',
  ],
  ['every host', inject({ hosts: ['*'] }), 'spec.credentials[0].inject[0].hosts[0]', 'bad-host'],
  [
    'a whole top-level domain',
    inject({ hosts: ['*.com'] }),
    'spec.credentials[0].inject[0].hosts[0]',
    'bad-host',
  ],
  [
    'two schemes',
    inject({ basic: { userKey: 'u', passwordKey: 'p' } }),
    'spec.credentials[0].inject[0]',
    'no-scheme',
  ],
  [
    'a header that frames the message',
    inject({ bearer: undefined, header: { name: 'Content-Length', key: 'k' } }),
    'spec.credentials[0].inject[0].header.name',
    'reserved-header',
  ],
  [
    "a header of the mesh's own",
    inject({ bearer: undefined, header: { name: 'X-Forwarded-Client-Cert', key: 'k' } }),
    'spec.credentials[0].inject[0].header.name',
    'reserved-header',
  ],
  [
    'a header that the sidecar sets no credential in',
    inject({ bearer: undefined, header: { name: 'X-Request-Id', key: 'k' } }),
    'spec.credentials[0].inject[0].header.name',
    'reserved-header',
  ],
  [
    'a header whose name is of ASCII only in lower case',
    inject({ bearer: undefined, header: { name: 'x-\u212aey', key: 'k' } }),
    'spec.credentials[0].inject[0].header.name',
    'bad-header',
  ],
  [
    'a prefix that ends the header',
    inject({ bearer: undefined, header: { name: 'x-key', key: 'k', prefix: 'a\r\nb: ' } }),
    'spec.credentials[0].inject[0].header.prefix',
    'bad-prefix',
  ],
  [
    'a key that is not handed over',
    one({
      ways: ['inject'],
      keys: ['a'],
      inject: [{ hosts: ['a.example'], bearer: { key: 'b' } }],
    }),
    'spec.credentials[0].inject[0]',
    'unknown-key',
  ],
  [
    "another project's version",
    { ...binding({}), apiVersion: 'security.istio.io/v1' },
    'apiVersion',
    'unknown-api-version',
  ],
];

for (const [what, object, field, code] of REFUSED) {
  test(`a binding is refused that names ${what}`, () => {
    const parsed = parseCredentialBinding(object);
    assert.equal(parsed.ok, false);
    const found = parsed.problems.map((problem) => `${problem.field} ${problem.code}`);
    assert.ok(found.includes(`${field} ${code}`), found.join('; '));
    for (const { severity } of parsed.problems) assert.equal(severity, 'error');
  });
}

test('parseCredentialBinding() refuses whatever stands there, and never throws', () => {
  const part = fc.oneof(fc.anything(), fc.constant([credential()]), fc.constant(['web']));
  const spec = fc.record({ serviceAccounts: part, selector: part, credentials: part });
  const entry = fc.record({ name: part, source: part, keys: part, ways: part, inject: part });
  fc.assert(
    fc.property(spec, entry, (made, only) => {
      parseCredentialBinding(binding(made));
      parseCredentialBinding(binding({ credentials: [only] }));
    }),
  );
});
