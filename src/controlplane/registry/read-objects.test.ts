import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { STRICTEST_MESH_CONFIG } from '@weft/model/mesh/config';
import { MAX_DOCUMENTS, readObjects, type ReadFile, type ReadObject } from './read-objects.ts';

const read = (text: string): ReadFile => readObjects(text, 'a.yaml');

function only(text: string): ReadObject {
  const { objects, problems } = read(text);
  assert.deepEqual(problems, []);
  const [object] = objects;
  assert.ok(object !== undefined && objects.length === 1, `${objects.length} objects`);
  return object;
}

const META = 'metadata: {name: web, namespace: shop}';
const POLICY = `apiVersion: security.weft.dev/v1\nkind: AuthorizationPolicy\n${META}\n`;

const service = (spec: string): string =>
  `apiVersion: v1\nkind: Service\n${META}\nspec:\n${spec}\n`;
test('readObjects() counts lines of the file, not of the document', () => {
  const { objects } = readObjects(`# x\n---\n${service('  ports: [{port: 0}]')}`, 'd/b.yaml');
  assert.deepEqual(objects[0]?.problems[0]?.source, { file: 'd/b.yaml', line: 7, column: 12 });
  assert.deepEqual(objects[0]?.source, { file: 'd/b.yaml', line: 3, column: 1 });
});

/** What holds in place of an object. */
function closedOf(text: string): unknown {
  const [object] = read(text).objects;
  assert.ok(object?.outcome.kind === 'bad');
  return object.outcome.closed;
}

test('readObjects() closes what a policy selects that cannot be read', () => {
  const selector = new Map([['app', 'web']]);
  const policy = { namespace: 'shop', name: 'web', action: 'ALLOW', selector };
  assert.deepEqual(
    closedOf(`${POLICY}spec: {selector: {matchLabels: {app: web}}, rules: [{form: []}]}`),
    { kind: 'BrokenPolicy', of: 'AuthorizationPolicy', policy, selector },
  );
});

test('readObjects() closes the whole namespace of a policy in a document that is no YAML', () => {
  const policy = { namespace: 'shop', name: 'web', action: undefined, selector: undefined };
  for (const spec of [
    'spec: {selector: {matchLabels: {app: web}}, rules: [',
    'spec: {}\nspec: {}',
  ]) {
    assert.deepEqual(closedOf(`${POLICY}${spec}`), {
      kind: 'BrokenPolicy',
      of: 'AuthorizationPolicy',
      policy,
      selector: undefined,
    });
  }
});

test('readObjects() takes STRICT for a PeerAuthentication that cannot be read', () => {
  const text = POLICY.replace('AuthorizationPolicy', 'PeerAuthentication');
  const dated = text.replace(
    'namespace: shop',
    'namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"',
  );
  const closed = closedOf(`${dated}spec: {mtls: {mode: STRIKT}}`);
  assert.partialDeepStrictEqual(closed, {
    kind: 'PeerAuthentication',
    policy: { mode: 'STRICT', createdAtMs: 0 },
  });
});

test('readObjects() takes the strictest settings for a MeshConfig that cannot be read', () => {
  const closed = closedOf(
    'apiVersion: mesh.weft.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\nspec: {trustedHops: -1}',
  );
  assert.partialDeepStrictEqual(closed, { kind: 'MeshConfig', config: STRICTEST_MESH_CONFIG });
});

const AUTHENTICATION = POLICY.replace('AuthorizationPolicy', 'RequestAuthentication');

test('readObjects() reads a RequestAuthentication', () => {
  const object = only(
    `${AUTHENTICATION}spec: {jwtRules: [{issuer: "https://a.test", jwksUri: "https://a.test/keys"}]}`,
  );
  assert.deepEqual(object.problems, []);
  assert.ok(object.outcome.kind === 'good');
  assert.equal(object.outcome.object?.kind, 'RequestAuthentication');
});

test('readObjects() closes what a RequestAuthentication selects that cannot be read', () => {
  const closed = closedOf(
    `${AUTHENTICATION}spec: {selector: {matchLabels: {app: web}}, jwtRules: [{isuer: a}]}`,
  );
  assert.partialDeepStrictEqual(closed, {
    kind: 'BrokenPolicy',
    of: 'RequestAuthentication',
    policy: { action: undefined },
    selector: new Map([['app', 'web']]),
  });
});

test('readObjects() says of a policy with targets that no sidecar enforces it', () => {
  const object = only(
    `${POLICY}spec: {action: DENY, rules: [{}], targetRefs: [{kind: Service, name: web}]}`,
  );
  assert.deepEqual(
    object.problems.map(({ code }) => code),
    ['not-supported'],
  );
  assert.ok(object.outcome.kind === 'good' && object.outcome.object === undefined);
});

const NAMESPACE = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n';
const spoilt: readonly (readonly [string, string, string])[] = [
  ['an open quote', 'apiVersion: v1\nkind: "Pod\n', 'bad-yaml'],
  ['an open bracket', 'apiVersion: v1\nkind: Pod\nmetadata: {name: x\n', 'bad-yaml'],
  ['duplicate keys', 'apiVersion: v1\nkind: Pod\nkind: Pod\n', 'duplicate-key'],
  ['null bytes', 'apiVersion: v1\nkind: \0\0\0\n', 'null-byte'],
  [
    'an alias bomb',
    `a: &a [${'x,'.repeat(99)}]\nb: &b [${'*a,'.repeat(99)}]\nc: [${'*b,'.repeat(99)}]\n`,
    'alias-bomb',
  ],
  ['no object', '- a\n', 'no-object'],
  ['no kind', 'apiVersion: v1\n', 'no-kind'],
  [
    'an unknown kind of ours',
    'apiVersion: security.weft.dev/v1\nkind: AuthorisationPolicy\n',
    'unknown-kind',
  ],
  ['a directive', '%YAML 1.1\n', 'bad-yaml'],
  ['a list within a list', 'kind: List\nitems: [{kind: List, items: []}]\n', 'bad-list'],
];
for (const [name, text, code] of spoilt) {
  test(`readObjects() reads the other documents of a file with ${name}`, () => {
    for (const whole of [
      `${NAMESPACE}---\n${text}`,
      `${text}---\n${NAMESPACE}`,
      `${text}\n---\n${NAMESPACE}`,
    ]) {
      const { objects, problems, isComplete } = read(whole);
      const names = objects.filter(({ outcome }) => outcome.kind === 'good').map(({ key }) => key);
      assert.deepEqual(names, ['Namespace//good']);
      assert.ok(
        problems.some((problem) => problem.code === code),
        JSON.stringify(problems),
      );
      assert.equal(isComplete, false);
    }
  });
}

test('readObjects() names kinds that it does not read', () => {
  const { ignored, objects, isComplete } = read(
    'apiVersion: v1\nkind: LimitRange\n---\napiVersion: serving.knative.dev/v1\nkind: Service\n---\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy',
  );
  assert.deepEqual(objects, []);
  assert.equal(isComplete, true);
  assert.deepEqual(
    ignored.map(({ name, source }) => [name, source.line]),
    [
      ['v1 LimitRange', 1],
      ['serving.knative.dev/v1 Service', 4],
      ['policy.linkerd.io/v1alpha1 AuthorizationPolicy', 7],
    ],
  );
});

test('readObjects() reads lists, and each item of one as its own', () => {
  const { objects, isComplete } = read(
    '{"kind": "List", "apiVersion": "v1", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},\n{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "B"}}]}\n---\nkind: PodList\napiVersion: v1\nitems: [{metadata: {name: c}}]',
  );
  assert.deepEqual(
    objects.map(({ key, outcome, source }) => [key, outcome.kind, source.line]),
    [
      ['Pod/default/a', 'good', 1],
      ['Pod/default/B', 'bad', 2],
      ['Pod/default/c', 'good', 6],
    ],
  );
  assert.equal(isComplete, true);
});

test('readObjects() keeps the very objects of documents that did not change', () => {
  const first = read(`${NAMESPACE}---\n${service('  ports: []')}`);
  const text = `# moved\n\n---\n${service('  ports: []')}---\n${NAMESPACE}`;
  const second = readObjects(text, 'a.yaml', first.documents);
  const objectOf = (file: ReadFile, key: string): unknown => {
    const outcome = file.objects.find((object) => object.key === key)?.outcome;
    return outcome?.kind === 'good' ? outcome.object : undefined;
  };
  assert.ok(objectOf(first, 'Service/shop/web') !== undefined);
  assert.equal(objectOf(first, 'Service/shop/web'), objectOf(second, 'Service/shop/web'));
  assert.equal(second.objects[0]?.source.line, 4);
});

test('readObjects() stops at its limit of documents and says so', () => {
  const { problems, isComplete } = read('--- {}\n'.repeat(MAX_DOCUMENTS + 1));
  assert.equal(isComplete, false);
  assert.equal(problems.at(-1)?.code, 'too-many-documents');
});

test('readObjects() reads the example shop without a problem', () => {
  for (const name of ['shop.yaml', 'pods.yaml', 'policies.yaml']) {
    const url = new URL(`../../../deploy/examples/shop/${name}`, import.meta.url);
    const { objects, problems, ignored } = read(readFileSync(url, 'utf8'));
    assert.deepEqual(
      [...problems, ...ignored, ...objects.flatMap((object) => object.problems)],
      [],
    );
    assert.ok(objects.length > 0);
  }
});
