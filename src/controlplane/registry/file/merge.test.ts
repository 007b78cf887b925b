import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { readObjects } from '../read-objects.ts';
import { EMPTY_FOLDER, mergeFolder, type FolderState } from './merge.ts';

/** Texts by file; `undefined` for a file that is gone. */
type Files = Readonly<Record<string, string | undefined>>;

function merge(previous: FolderState, files: Files): FolderState {
  const entries = Object.entries(files);
  const read = entries.flatMap(([file, text]) =>
    text === undefined ? [] : [readObjects(text, file, previous.files.get(file)?.documents)],
  );
  const gone = entries.flatMap(([file, text]) => (text === undefined ? [file] : []));
  return mergeFolder(previous, { read, gone, problems: [] });
}

const load = (...steps: readonly Files[]): FolderState => steps.reduce(merge, EMPTY_FOLDER);

const show = (object: RegistryObject): string => {
  switch (object.kind) {
    case 'AuthorizationPolicy':
      return `${object.policy.action} ${object.policy.rules?.length ?? 'no'} rules`;
    case 'BrokenPolicy':
      return `closed ${object.policy.action ?? 'all'} ${object.selector === undefined ? 'everywhere' : 'selected'}`;
    case 'PeerAuthentication':
      return object.policy.mode ?? 'UNSET';
    case 'Service':
      return object.ports.map(({ port }) => port).join(' ');
    default:
      return object.kind;
  }
};

const inForce = (state: FolderState): Readonly<Record<string, string>> =>
  Object.fromEntries([...state.snapshot.objects].map(([key, object]) => [key, show(object)]));

const codes = (state: FolderState): readonly string[] =>
  state.problems.map(
    ({ severity, code, source }) => `${severity} ${code} ${source?.file}:${source?.line}`,
  );

const policy = (spec: string, name = 'p'): string =>
  `apiVersion: security.weft.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n`;
const peer = (mode: string): string =>
  policy(`{mtls: {mode: ${mode}}}`).replace('AuthorizationPolicy', 'PeerAuthentication');
const service = (port: number | string, name = 's'): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {ports: [{port: ${port}}]}\n`;
const join = (...documents: readonly string[]): string => documents.join('---\n');

const ALLOW = policy('{selector: {matchLabels: {app: web}}, rules: [{}]}');
const ALLOW_2 = policy('{rules: [{}, {}]}');
const DENY = policy('{action: DENY, rules: [{}]}');
const DENY_2 = policy('{action: DENY, rules: [{}, {}]}');
const BROKEN = policy('{selector: {matchLabels: {app: web}}, rulez: []}');
const NO_YAML = policy('{rules: [');
const P = 'AuthorizationPolicy/shop/p';
const S = 'Service/shop/s';

const deployment = (ips: string): string =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: shop}\nspec: {template: {metadata: {annotations: {weft.dev/pod-ips: "${ips}"}}}}\n`;

const table: readonly (readonly [string, readonly Files[], Readonly<Record<string, string>>])[] = [
  [
    'keeps the Pods of a Deployment that breaks',
    [{ a: deployment('127.0.1.1') }, { a: deployment('x') }],
    { 'Pod/shop/d-0': 'Pod' },
  ],
  [
    'takes away the Pods that a Deployment no longer has',
    [{ a: deployment('127.0.1.1,127.0.1.2') }, { a: deployment('127.0.1.1') }],
    { 'Pod/shop/d-0': 'Pod' },
  ],
  ['takes a new version', [{ a: service(1) }, { a: service(2) }], { [S]: '2' }],
  [
    'keeps the last good version of an object',
    [{ a: service(1) }, { a: service('x') }],
    { [S]: '1' },
  ],
  [
    'keeps it however often the file is broken',
    [{ a: service(1) }, { a: service('x') }, { a: '{' }, { a: service('y') }],
    { [S]: '1' },
  ],
  ['keeps it when the file is no YAML', [{ a: service(1) }, { a: 'kind: {' }], { [S]: '1' }],
  [
    'keeps it when its document turns into something unknown',
    [{ a: ALLOW }, { a: ALLOW.replace('kind: Authorization', 'kind: Authorisation') }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'keeps all of a file that ends before the name of one',
    [
      { a: join(DENY, service(1)) },
      { a: DENY.slice(0, DENY.indexOf('metadata') + 'metadata:'.length) },
    ],
    { [P]: 'DENY 1 rules', [S]: '1', 'AuthorizationPolicy/default/?': 'closed all everywhere' },
  ],
  [
    'keeps it when it moves and breaks at once',
    [{ a: service(1) }, { a: undefined, b: service('x') }],
    { [S]: '1' },
  ],
  [
    'does without a broken object that was never good',
    [{ a: join(service('x'), service(1, 't')) }],
    { 'Service/shop/t': '1' },
  ],
  [
    'removes an object with its file',
    [{ a: service(1), b: ALLOW }, { a: undefined }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'removes an object that its file no longer has',
    [{ a: join(service(1), ALLOW) }, { a: ALLOW }],
    { [P]: 'ALLOW 1 rules' },
  ],
  ['removes all objects of a file that is empty', [{ a: ALLOW }, { a: '' }], {}],
  [
    'removes nothing of a file that cannot be read whole',
    [{ a: join(service(1), ALLOW) }, { a: join(ALLOW, '{') }],
    { [P]: 'ALLOW 1 rules', [S]: '1' },
  ],
  [
    'removes it once the file can be read whole',
    [{ a: join(service(1), ALLOW) }, { a: join(ALLOW, '{') }, { a: ALLOW }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'takes a good document of a file that cannot be read whole',
    [{ a: service(1) }, { a: join('{\n', service(2)) }],
    { [S]: '2' },
  ],
  ['closes what a broken policy selects', [{ a: BROKEN }], { [P]: 'closed ALLOW selected' }],
  [
    'closes the namespace of a policy that is no YAML',
    [{ a: NO_YAML }],
    { [P]: 'closed all everywhere' },
  ],
  [
    'keeps the last good policy, closing nothing',
    [{ a: ALLOW }, { a: BROKEN }, { a: NO_YAML }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'keeps a policy closed until it is good',
    [{ a: BROKEN }, { a: NO_YAML }, { a: ALLOW }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'keeps a policy closed through files that cannot be read',
    [{ a: BROKEN }, { a: '{' }],
    { [P]: 'closed ALLOW selected' },
  ],
  [
    'closes a policy that breaks after it had put nothing in force',
    [
      { a: policy('{targetRefs: [{kind: Service, name: web}], action: DENY, rules: [{}]}') },
      { a: BROKEN },
    ],
    { [P]: 'closed ALLOW selected' },
  ],
  [
    'takes STRICT for a PeerAuthentication that was never good',
    [{ a: peer('X') }],
    { 'PeerAuthentication/shop/p': 'STRICT' },
  ],
  [
    'keeps the last good PeerAuthentication',
    [{ a: peer('DISABLE') }, { a: peer('X') }],
    { 'PeerAuthentication/shop/p': 'DISABLE' },
  ],
  ['takes equal objects for one', [{ a: ALLOW, b: ALLOW }], { [P]: 'ALLOW 1 rules' }],
  [
    'keeps the policy that was there before another of its name',
    [{ b: ALLOW }, { a: ALLOW_2 }],
    { [P]: 'ALLOW 1 rules' },
  ],
  [
    'takes new versions of the one that was there before',
    [{ b: ALLOW }, { a: ALLOW_2 }, { b: DENY }],
    { [P]: 'DENY 1 rules' },
  ],
  [
    'keeps the one that was there when another is put before it in one file',
    [{ a: ALLOW }, { a: join(ALLOW_2, ALLOW) }],
    { [P]: 'ALLOW 1 rules' },
  ],
  ['keeps it when the other is broken', [{ b: ALLOW }, { a: BROKEN }], { [P]: 'ALLOW 1 rules' }],
  [
    'takes the other when the first is gone',
    [{ b: ALLOW }, { a: ALLOW_2 }, { b: undefined }],
    { [P]: 'ALLOW 2 rules' },
  ],
  [
    'follows an object that moves',
    [{ a: ALLOW }, { b: ALLOW }, { a: undefined }, { b: ALLOW_2 }],
    { [P]: 'ALLOW 2 rules' },
  ],
  [
    'closes two ALLOWs of one name of which none was known',
    [{ a: ALLOW, b: ALLOW_2 }],
    { [P]: 'closed ALLOW selected', [`${P}#2`]: 'closed ALLOW everywhere' },
  ],
  [
    'puts two DENYs of one name in force',
    [{ a: DENY, b: DENY_2 }],
    { [P]: 'DENY 1 rules', [`${P}#2`]: 'DENY 2 rules' },
  ],
  [
    'closes the ALLOW and enforces the DENY of one name',
    [{ a: ALLOW, b: DENY }],
    { [P]: 'closed ALLOW selected', [`${P}#2`]: 'DENY 1 rules' },
  ],
  [
    'closes a good one and a broken one of one name',
    [{ a: ALLOW_2, b: BROKEN }],
    { [P]: 'closed ALLOW everywhere', [`${P}#2`]: 'closed ALLOW selected' },
  ],
  [
    'takes what is left when a clash is over',
    [{ a: ALLOW, b: ALLOW_2 }, { a: undefined }],
    { [P]: 'ALLOW 2 rules' },
  ],
  [
    'takes STRICT for two PeerAuthentications of one name',
    [{ a: peer('DISABLE'), b: peer('PERMISSIVE') }],
    { 'PeerAuthentication/shop/p': 'STRICT' },
  ],
  ['takes the first Service of two of one name', [{ b: service(2), a: service(1) }], { [S]: '1' }],
];
for (const [name, steps, expected] of table) {
  test(`mergeFolder() ${name}`, () => {
    assert.deepEqual(inForce(load(...steps)), expected);
  });
}

test('mergeFolder() names both places of one name', () => {
  const state = load({ a: service(1), 'd/b': join(ALLOW, service(2)) });
  assert.deepEqual(codes(state), ['error duplicate-object d/b:6']);
  assert.match(state.problems[0]?.message ?? '', /a:1, d\/b:6; a:1 is in force/);
});

test('mergeFolder() only warns of equal objects', () => {
  assert.deepEqual(codes(load({ a: service(1), b: service(1) })), ['warning duplicate-object b:1']);
});

test('mergeFolder() takes a copy of a policy for the same one, whenever it was made', () => {
  const made = (year: number): string =>
    ALLOW.replace('name: p,', `name: p, creationTimestamp: "${year}-01-01T00:00:00Z",`);
  const state = load({ a: made(2025), b: made(2026) });
  assert.deepEqual(inForce(state), { [P]: 'ALLOW 1 rules' });
  assert.deepEqual(codes(state), ['warning duplicate-object b:1']);
});

test('mergeFolder() says what stays in force, what is closed and what is passed over', () => {
  const other = 'apiVersion: v1\nkind: LimitRange\n';
  assert.deepEqual(
    codes(load({ a: service(1) }, { a: service('x'), b: BROKEN, c: join(other, other) })),
    [
      'warning last-good-version a:1',
      'error bad-port a:4',
      'warning fails-closed b:1',
      'error unknown-field b:4',
      'warning ignored-kind c:1',
    ],
  );
});

test('mergeFolder() keeps objects, snapshot and problems that did not change', () => {
  const first = load({ a: join(service(1), service('x', 't')), b: ALLOW });
  const second = merge(first, { a: `# said again\n${join(service(1), service('x', 't'))}` });
  assert.equal(second.snapshot, first.snapshot);
  const third = merge(second, { b: DENY });
  assert.equal(third.snapshot.revision, second.snapshot.revision + 1);
  assert.equal(third.snapshot.objects.get(S), first.snapshot.objects.get(S));
  assert.equal(third.problems, second.problems);
});

test('mergeFolder() has a first snapshot of an empty folder', () => {
  assert.equal(
    mergeFolder(EMPTY_FOLDER, { read: [], gone: [], problems: [] }).snapshot.revision,
    1,
  );
});

const texts = fc.constantFrom(
  ALLOW,
  ALLOW_2,
  DENY,
  DENY_2,
  BROKEN,
  NO_YAML,
  service(1),
  service(2),
  service('x'),
  service(1, 't'),
  peer('STRICT'),
  peer('DISABLE'),
  peer('X'),
  '{',
  '',
  'kind: X',
);
const fileTexts = fc.array(texts, { maxLength: 4 }).map((documents) => join(...documents));
const folders = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fileTexts);

test('mergeFolder() gives the same for any order of files', () => {
  fc.assert(
    fc.property(folders, (files) => {
      const reversed = Object.fromEntries(Object.entries(files).reverse());
      const [one, other] = [load(files), load(reversed)];
      assert.deepEqual(one.snapshot, other.snapshot);
      assert.deepEqual([...one.snapshot.objects.keys()], [...other.snapshot.objects.keys()]);
      assert.deepEqual(one.problems, other.problems);
    }),
  );
});

test('mergeFolder() never lets bad documents in one file change what others put in force', () => {
  const names = ['AuthorizationPolicy/shop/mine', 'Service/shop/mine'];
  const mine = join(policy('{rules: [{}]}', 'mine'), service(1, 'mine'));
  fc.assert(
    fc.property(fc.array(folders, { maxLength: 4 }), (steps) => {
      const alone = load({ mine });
      const state = load({ mine }, ...steps);
      for (const name of names) {
        assert.equal(state.snapshot.objects.get(name) === undefined, false);
        assert.deepEqual(state.snapshot.objects.get(name), alone.snapshot.objects.get(name));
      }
    }),
  );
});

test('mergeFolder() never loses a policy while its file cannot be read whole', () => {
  fc.assert(
    fc.property(fileTexts, fc.nat(), (rest, cut) => {
      const state = load({ a: ALLOW }, { a: `${join(rest, ALLOW).slice(0, cut)}\n---\n{` });
      assert.ok(state.snapshot.objects.has(P));
    }),
  );
});
