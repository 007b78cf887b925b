// Which requests are given a credential, and that it goes nowhere else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Injection } from '@weft/model/credentials/types';
import type { HeadEdits } from '../filters/head-edits.ts';
import type { Forward } from '../filters/http-filters.ts';
import { Injections } from './injection.ts';
import { type CredentialOf, createCredentialsRig, credentialOf, grant } from './testing/rig.ts';

const bearerTo = (...hosts: readonly string[]): Injection => ({
  hosts,
  scheme: { kind: 'bearer', key: 'token' },
  allowPlaintext: false,
});
const header = (name: string, host: string, prefix = ''): Injection => ({
  hosts: [host],
  scheme: { kind: 'header', name, key: 'token', prefix },
  allowPlaintext: false,
});

function rigOf(...credentials: readonly CredentialOf[]) {
  const rig = createCredentialsRig();
  const injections = new Injections(rig);
  grant(rig.store, ...credentials.map(credentialOf));
  return { ...rig, injections };
}

const API = 'outbound|443||api.example.com';
const secured = { isNamed: () => true, isSecured: () => true };
const inTheClear = { isNamed: () => true, isSecured: () => false };

const HOSTS: readonly (readonly [string, string, boolean])[] = [
  ['api.example.com', API, true],
  ['api.example.com:443', API, true],
  ['api.example.com:8443', API, false],
  ['*.example.com', API, true],
  ['*.example.com:443', API, true],
  ['*.example.com', 'outbound|443||example.com', false],
  ['*.example.com', 'outbound|443||evilexample.com', false],
  ['*.example.com', 'outbound|443||api.example.com.evil.net', false],
  ['example.com', API, false],
  ['api.example.com', 'outbound|443||API.Example.Com', true],
  ['api.example.com', 'passthrough', false],
  ['api.example.com', 'inbound|443||', false],
  ['api.example.com', 'outbound|443|v1|api.example.com', false],
  ['api.example.com', 'endpoint|443||api.example.com', false],
];
for (const [host, cluster, isInjected] of HOSTS) {
  test(`of() gives a credential for ${host} ${isInjected ? '' : 'not '}to ${cluster}`, () => {
    const { injections } = rigOf({ values: { token: 't0k' }, injections: [bearerTo(host)] });
    const outcome = injections.of({ cluster, ...secured });
    assert.equal(outcome?.kind, isInjected ? 'inject' : undefined);
  });
}

test('of() writes header, basic and bearer, without the end of line that files have', () => {
  const { injections } = rigOf({
    values: { token: 't0k\n', user: 'weft', password: 'pä:ss\r\n' },
    injections: [
      bearerTo('bearer.example'),
      header('x-api-key', 'header.example', 'Key '),
      {
        hosts: ['basic.example'],
        scheme: { kind: 'basic', userKey: 'user', passwordKey: 'password' },
        allowPlaintext: false,
      },
    ],
  });
  const linesTo = (host: string): unknown => {
    const outcome = injections.of({ cluster: `outbound|443||${host}`, ...secured });
    return outcome?.kind === 'inject' ? outcome.lines : outcome;
  };
  assert.deepEqual(linesTo('bearer.example'), [{ name: 'authorization', value: 'Bearer t0k' }]);
  assert.deepEqual(linesTo('header.example'), [{ name: 'x-api-key', value: 'Key t0k' }]);
  const basic = Buffer.from('weft:pä:ss').toString('base64');
  assert.deepEqual(linesTo('basic.example'), [{ name: 'authorization', value: `Basic ${basic}` }]);
});

for (const [what, value] of [
  ['a line end within', 'a\r\nx-admin: 1'],
  ['two line ends', 'a\n\n'],
  ['a zero byte', 'a\0b'],
  ['nothing', ''],
] as const) {
  test(`of() refuses a request whose credential has ${what}: it would write another header`, () => {
    const { injections, exposed } = rigOf({
      values: { token: value },
      injections: [bearerTo('api.example.com')],
    });
    const outcome = injections.of({ cluster: API, ...secured });
    assert.deepEqual(outcome, { kind: 'refuse', reasonCode: 'credential-unusable' });
    assert.match(exposed(), /weft_credentials_refused_total\{reason="unusable"\} 1/);
  });
}

test('of() refuses to send a credential in the clear, unless its binding allows it', () => {
  const values = { token: 't0k' };
  const clear = { cluster: API, ...inTheClear };
  const strict = rigOf({ values, injections: [bearerTo('api.example.com')] });
  assert.deepEqual(strict.injections.of(clear), {
    kind: 'refuse',
    reasonCode: 'credential-needs-tls',
  });
  const open = rigOf({
    values,
    injections: [{ ...bearerTo('api.example.com'), allowPlaintext: true }],
  });
  assert.equal(open.injections.of(clear)?.kind, 'inject');
});

test('of() refuses an address that the application has chosen, whatever its binding allows', () => {
  const { injections } = rigOf({
    values: { token: 't0k' },
    injections: [{ ...bearerTo('api.example.com'), allowPlaintext: true }],
  });
  const chosen = { cluster: API, isNamed: () => false, isSecured: () => true };
  assert.deepEqual(injections.of(chosen), { kind: 'refuse', reasonCode: 'credential-needs-tls' });
});

test('of() gives nothing of a credential that may not go this way', () => {
  const { injections } = rigOf({
    values: { token: 't0k' },
    ways: ['url', 'files'],
    injections: [bearerTo('api.example.com')],
  });
  assert.equal(injections.of({ cluster: API, ...secured }), undefined);
});

test('a rotated credential is in the next request, a withdrawn one in none', () => {
  const { injections, store } = rigOf({
    values: { token: 'old' },
    injections: [bearerTo('api.example.com')],
  });
  const value = (): string | undefined => {
    const outcome = injections.of({ cluster: API, ...secured });
    return outcome?.kind === 'inject' ? outcome.lines[0]?.value : undefined;
  };
  assert.equal(value(), 'Bearer old');
  const fresh = { version: '2', values: { token: 'new' } };
  grant(store, credentialOf({ ...fresh, injections: [bearerTo('api.example.com')] }));
  assert.equal(value(), 'Bearer new');
  grant(store);
  assert.equal(value(), undefined);
});

test('of several for one header the most specific host wins, then the first name', () => {
  const { injections } = rigOf(
    { name: 'b', values: { token: 'wide' }, injections: [bearerTo('*.example.com')] },
    { name: 'z', values: { token: 'exact' }, injections: [bearerTo('api.example.com')] },
    { name: 'a', values: { token: 'wide-a' }, injections: [bearerTo('*.example.com')] },
  );
  const values = ['api', 'www'].map((host) => {
    const cluster = `outbound|443||${host}.example.com`;
    const outcome = injections.of({ cluster, ...secured });
    return outcome?.kind === 'inject' ? outcome.lines.map(({ value }) => value) : outcome;
  });
  assert.deepEqual(values, [['Bearer exact'], ['Bearer wide-a']]);
});

function forwardTo(cluster: string, edits?: HeadEdits): Forward {
  return {
    kind: 'forward',
    route: { cluster } as Forward['route'],
    target: '/',
    added: ['x-request-id', 'r1', 'x-api-key', 'a-filter-said'],
    edits,
    runtime: {} as Forward['runtime'],
    atMs: 0,
    requestId: 'r1',
    verdict: undefined,
    marks: undefined,
  };
}

test("applyTo() takes out the application's own value and any that a filter added", () => {
  const { injections } = rigOf({
    values: { token: 't0k' },
    injections: [header('x-api-key', 'api.example.com')],
  });
  const decision = injections.applyTo(forwardTo(API), secured);
  assert.ok(decision.kind === 'forward');
  assert.equal(decision.edits?.isRemoved('x-api-key'), true);
  assert.deepEqual(decision.added, ['x-request-id', 'r1', 'x-api-key', 't0k']);
  const other = forwardTo('outbound|443||other.example');
  assert.equal(
    injections.applyTo(other, secured),
    other,
    'nothing is made where nothing is injected',
  );
});

test('a request with a credential is copied to nobody', () => {
  const { injections, exposed } = rigOf({
    values: { token: 't0k' },
    injections: [bearerTo('api.example.com')],
  });
  const mirrors = ['outbound|80||copy.shop.svc.cluster.local'];
  const { kind, route, target } = forwardTo(API);
  const ruled = { kind, route, target, authority: undefined, answerHeaders: [], mirrors };
  const decision = injections.applyTo({ ...forwardTo(API), ruled }, secured);
  assert.ok(decision.kind === 'forward');
  assert.deepEqual(decision.ruled?.mirrors, []);
  assert.match(exposed(), /refused_total\{reason="mirrored"\} 1/);
  const other = { ...forwardTo('outbound|443||other.example'), ruled };
  const passed = injections.applyTo(other, secured);
  assert.ok(passed.kind === 'forward');
  assert.deepEqual(passed.ruled?.mirrors, mirrors);
});

test('applyTo() answers 503 with a reason, and without the value', () => {
  const { injections, logged } = rigOf({
    values: { token: 't0k-s3cret' },
    injections: [header('x-api-key', 'api.example.com')],
  });
  const decision = injections.applyTo(forwardTo(API), inTheClear);
  assert.ok(decision.kind === 'respond');
  assert.deepEqual([decision.status, decision.reasonCode], [503, 'credential-needs-tls']);
  assert.doesNotMatch(JSON.stringify(decision) + logged(), /s3cret/);
});

test('the first injection of a version to a host is a line of the audit, the others are counted', () => {
  const { injections, logged, handOvers } = rigOf({
    values: { token: 't0k-s3cret' },
    injections: [bearerTo('api.example.com')],
  });
  for (let at = 0; at < 5; at++) injections.of({ cluster: API, ...secured });
  const lines = logged()
    .split('\n')
    .filter((line) => line.includes('credential handed over'));
  assert.equal(lines.length, 1);
  const line: unknown = JSON.parse(lines[0] ?? '');
  assert.partialDeepStrictEqual(line, {
    credential: 'db',
    version: '1',
    way: 'injected',
    receiver: API,
    identity: 'spiffe://mesh.test/ns/shop/sa/web',
  });
  assert.deepEqual(handOvers.take(), [
    { name: 'db', version: '1', way: 'WAY_INJECTED', receiver: API, count: 5 },
  ]);
  assert.doesNotMatch(logged(), /s3cret/);
});
