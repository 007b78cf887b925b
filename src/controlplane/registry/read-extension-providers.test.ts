// External authorizers as Istio's operators write them: read whole, or refused with the field that is wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reader } from '@weft/model/policy/reader';
import { readExtensionProviders } from './read-extension-providers.ts';

function read(...entries: readonly object[]) {
  const reader = new Reader();
  const providers = readExtensionProviders(reader, entries);
  return { providers, problems: reader.problems.map(({ field, code }) => `${field} ${code}`) };
}

const AT = { service: 'authz.shop.svc.cluster.local', port: 9000 };
const grpc = (more: object = {}, name = 'a') => ({ name, envoyExtAuthzGrpc: { ...AT, ...more } });
const http = (more: object = {}, name = 'a') => ({ name, envoyExtAuthzHttp: { ...AT, ...more } });

test('readExtensionProviders() closes by default, and waits no longer than 10 s', () => {
  assert.deepEqual(read(grpc()), {
    providers: [
      {
        name: 'a',
        protocol: 'grpc',
        host: 'authz.shop.svc.cluster.local',
        port: 9000,
        timeoutMs: 10_000,
        failOpen: false,
        statusOnError: 403,
        http: undefined,
      },
    ],
    problems: [],
  });
});

test('readExtensionProviders() reads every field of an authorizer over HTTP', () => {
  const { providers, problems } = read(
    http({
      service: 'shop/authz.shop.svc.cluster.local',
      timeout: '1.5s',
      failOpen: true,
      statusOnError: '503',
      pathPrefix: '/check',
      includeRequestHeadersInCheck: ['X-Token', 'x-user-*', '*-id'],
      includeAdditionalHeadersInCheck: { 'X-From': 'weft' },
      headersToUpstreamOnAllow: ['x-user'],
      headersToDownstreamOnDeny: ['set-cookie'],
    }),
  );
  assert.deepEqual(problems, []);
  const name = (kind: 'exact' | 'prefix' | 'suffix', value: string) => ({
    kind,
    value,
    ignoreCase: true,
  });
  assert.partialDeepStrictEqual(providers[0], {
    host: 'authz.shop.svc.cluster.local',
    timeoutMs: 1_500,
    failOpen: true,
    statusOnError: 503,
    http: {
      pathPrefix: '/check',
      requestHeaders: [name('exact', 'x-token'), name('prefix', 'x-user-'), name('suffix', '-id')],
      additionalHeaders: [['x-from', 'weft']],
      toUpstreamOnAllow: [name('exact', 'x-user')],
      toDownstreamOnDeny: [name('exact', 'set-cookie')],
    },
  });
});

const P = 'spec.extensionProviders[0]';
const GRPC = `${P}.envoyExtAuthzGrpc`;
const HTTP = `${P}.envoyExtAuthzHttp`;
const refused: readonly (readonly [string, object, string])[] = [
  ['a name that is none', grpc({}, 'a b'), `${P}.name bad-name`],
  ['no kind', { name: 'a' }, `${P} unknown-provider`],
  ['two kinds', { ...grpc(), ...http() }, `${P} unknown-provider`],
  ['an unknown kind', { ...grpc(), zipkin: {} }, `${P}.zipkin unknown-field`],
  ['an unknown field', grpc({ pathPrefix: '/x' }), `${GRPC}.pathPrefix unknown-field`],
  ['no service', grpc({ service: undefined }), `${GRPC}.service bad-host`],
  ['an address with a port', grpc({ service: 'a:80' }), `${GRPC}.service bad-host`],
  ['no port', grpc({ port: 0 }), `${GRPC}.port bad-number`],
  ['a timeout without unit', grpc({ timeout: '10' }), `${GRPC}.timeout bad-duration`],
  ['a timeout of hours', grpc({ timeout: '601s' }), `${GRPC}.timeout bad-duration`],
  ['a timeout of nothing', grpc({ timeout: '0s' }), `${GRPC}.timeout bad-duration`],
  [
    'a status that lets through',
    grpc({ statusOnError: '200' }),
    `${GRPC}.statusOnError bad-number`,
  ],
  ['a wish that is no word', grpc({ failOpen: 'yes' }), `${GRPC}.failOpen wrong-type`],
  ['a prefix with a query', http({ pathPrefix: '/a?b' }), `${HTTP}.pathPrefix bad-path`],
  [
    'a header with a line end',
    http({ includeAdditionalHeadersInCheck: { 'x-a': 'b\r\nc: d' } }),
    `${HTTP}.includeAdditionalHeadersInCheck.x-a bad-header`,
  ],
  [
    'a star in the midst of a name',
    http({ headersToUpstreamOnAllow: ['x-*-y'] }),
    `${HTTP}.headersToUpstreamOnAllow[0] bad-header`,
  ],
  [
    'bodies, which are not told',
    http({ includeRequestBodyInCheck: { maxRequestBytes: 10 } }),
    `${HTTP}.includeRequestBodyInCheck not-supported`,
  ],
];

for (const [what, entry, problem] of refused) {
  test(`readExtensionProviders() refuses ${what}`, () => {
    assert.deepEqual(read(entry).problems, [problem]);
  });
}

test('readExtensionProviders() refuses a name that is there twice', () => {
  const { problems } = read(grpc(), http());
  assert.deepEqual(problems, ['spec.extensionProviders[1].name duplicate-name']);
});
