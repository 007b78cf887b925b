// What a BasicAuthentication may say, and which of several holds for a workload.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPlainObject } from '../policy/reader.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { composeLogin, placeOfUsers } from './compose.ts';
import { parseBasicAuthentication } from './parse-basic-authentication.ts';
import type { BasicAuthentication } from './types.ts';

const manifest = (spec: unknown, metadata: object = {}) => ({
  apiVersion: 'security.weft.dev/v1',
  kind: 'BasicAuthentication',
  metadata: { name: 'login', namespace: 'shop', ...metadata },
  spec,
});

function parsed(spec: unknown, metadata: object = {}): BasicAuthentication {
  const result = parseBasicAuthentication(manifest(spec, metadata));
  assert.ok(result.ok, JSON.stringify(result.problems));
  return result.value;
}

const USERS = { secretName: 'users' };

test('parseBasicAuthentication() reads what is set and takes the strict side of what is not', () => {
  const { realm, exemptPaths, keepsCredential, allowsPlaintext, users } = parsed({ users: USERS });
  assert.deepEqual(
    { realm, exemptPaths, keepsCredential, allowsPlaintext, users },
    {
      realm: 'Restricted',
      exemptPaths: [],
      keepsCredential: false,
      allowsPlaintext: false,
      users: { secret: 'users', key: 'auth' },
    },
  );
  const all = parsed({
    selector: { matchLabels: { app: 'web' } },
    users: { secretName: 'users', key: 'web' },
    realm: 'The "shop"',
    exemptPaths: ['/healthz', '/public/{**}'],
    keepCredential: true,
    userHeader: 'X-Forwarded-User',
    allowPlaintext: true,
  });
  assert.equal(all.userHeader, 'x-forwarded-user');
  assert.deepEqual(all.exemptPaths, ['/healthz', '/public/{**}']);
});

const bad: readonly (readonly [string, unknown, string, string])[] = [
  ['no users', {}, 'spec.users', 'missing'],
  ['an inline list', { users: { inline: 'a:b' } }, 'spec.users.inline', 'unknown-field'],
  ['a realm with a line break', { users: USERS, realm: 'a\r\nb' }, 'spec.realm', 'bad-realm'],
  [
    'a path that exempts all',
    { users: USERS, exemptPaths: ['/*'] },
    'spec.exemptPaths[0]',
    'exempts-all',
  ],
  [
    'a bad template',
    { users: USERS, exemptPaths: ['/{**}/{**}'] },
    'spec.exemptPaths[0]',
    'bad-path-template',
  ],
  [
    'the user in Authorization',
    { users: USERS, userHeader: 'Authorization' },
    'spec.userHeader',
    'bad-header',
  ],
  [
    'a header of the mesh',
    { users: USERS, userHeader: 'x-weft-user' },
    'spec.userHeader',
    'bad-header',
  ],
  [
    'a header whose name is of ASCII only in lower case',
    { users: USERS, userHeader: 'x-\u212aey' },
    'spec.userHeader',
    'bad-header',
  ],
  ['a pseudo-header', { users: USERS, userHeader: ':path' }, 'spec.userHeader', 'bad-header'],
  [
    'a flag that is a text',
    { users: USERS, allowPlaintext: 'yes' },
    'spec.allowPlaintext',
    'wrong-type',
  ],
  ['a misspelt field', { users: USERS, exemptpaths: [] }, 'spec.exemptpaths', 'unknown-field'],
];
for (const [what, spec, field, code] of bad) {
  test(`parseBasicAuthentication() refuses ${what}`, () => {
    const { ok, problems } = parseBasicAuthentication(manifest(spec));
    assert.equal(ok, false);
    assert.ok(
      problems.some((one) => one.field === field && one.code === code),
      JSON.stringify(problems),
    );
  });
}

test('parseBasicAuthentication() refuses the version of another project', () => {
  const other = { ...manifest({ users: USERS }), apiVersion: 'security.istio.io/v1' };
  assert.ok(isPlainObject(other));
  assert.equal(parseBasicAuthentication(other).ok, false);
});

const TAIL = 'abcdefghijklmnopqrstuuVRZU0c9TbLU.stULl4UFfNeqU1c7wNm';
const list = parseHtpasswd(`ann:$2b$10$${TAIL}\n`);
const web = { namespace: 'shop', labels: new Map([['app', 'web']]) };
const compose = (policies: readonly BasicAuthentication[]) =>
  composeLogin(policies, web, {
    rootNamespace: 'root',
    users: new Map([[placeOfUsers('shop', { secret: 'users', key: 'auth' }), list]]),
  });

test('the nearest BasicAuthentication holds: workload, then namespace, then mesh', () => {
  const own = parsed({ users: USERS, selector: { matchLabels: { app: 'web' } } }, { name: 'own' });
  const namespace = parsed({ users: USERS }, { name: 'namespace' });
  const root = parsed({ users: USERS }, { name: 'root', namespace: 'root' });
  const others = parsed({ users: USERS, selector: { matchLabels: { app: 'x' } } }, { name: 'x' });
  assert.equal(compose([root, others, namespace, own]).login?.source, 'shop/own');
  assert.equal(compose([root, others, namespace]).login?.source, 'shop/namespace');
  assert.equal(compose([root]).login?.source, 'root/root');
  assert.equal(compose([others]).login, undefined);
});

test('two BasicAuthentications at the same distance close the workload, and both are told', () => {
  const composed = compose([
    parsed({ users: USERS }, { name: 'a' }),
    parsed({ users: USERS }, { name: 'b' }),
  ]);
  assert.equal(composed.login, undefined);
  assert.equal(composed.broken.length, 2);
  assert.deepEqual(
    composed.problems.map(({ object }) => object?.name),
    ['a', 'b'],
  );
});

test('a BasicAuthentication whose list is not there lets nobody in, and says so', () => {
  const { login, problems } = compose([parsed({ users: { secretName: 'gone' } })]);
  assert.deepEqual(login?.users, []);
  assert.match(problems[0]?.message ?? '', /the Secret gone with the key auth is not there/);
});
