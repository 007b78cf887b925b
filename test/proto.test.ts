// proto/ is wire-compatible with xDS: every message, field, enum and method of ours is the same in the upstream files.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { loadProtos, PROTO_DIRECTORY } from '@weft/xds/proto-root';
import protobuf from 'protobufjs';

const require = createRequire(import.meta.url);
const upstreamDeps = join(dirname(require.resolve('@grpc/grpc-js-xds/package.json')), 'deps');
const UPSTREAM_DIRECTORIES = ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((name) =>
  join(upstreamDeps, name),
);
/** Weft's own protocols have no upstream. */
const OWN_DIRECTORY = 'weft/';
/** SPIFFE's is in no package of npm: its own clients are run against it (`test/integration/workload-api.test.ts`). */
const SPIFFE_DIRECTORY = 'spiffe/';

const ourFiles = readdirSync(PROTO_DIRECTORY, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.proto'))
  .filter((file) => !file.startsWith(OWN_DIRECTORY) && !file.startsWith(SPIFFE_DIRECTORY))
  .sort();

const upstreamPath = (file: string): string | undefined =>
  UPSTREAM_DIRECTORIES.map((directory) => join(directory, file)).find((path) => existsSync(path));

function loadUpstream(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => {
    if (target === 'google/protobuf/descriptor.proto')
      return join(dirname(require.resolve('protobufjs/package.json')), target);
    return target.startsWith('google/protobuf/') ? target : (upstreamPath(target) ?? target);
  };
  root.loadSync(ourFiles, { keepCase: true });
  root.resolveAll();
  return root;
}

/** Everything that the wire shows of a definition, as text. */
function factsOf(field: protobuf.Field): string {
  field.resolve();
  const key = field instanceof protobuf.MapField ? `map<${field.keyType}> of ` : '';
  const label = field.repeated ? 'repeated ' : '';
  const oneof = field.partOf === null ? '' : ` in oneof ${field.partOf.name}`;
  const isTracked = field.hasPresence ? ', with presence' : '';
  const type = field.resolvedType?.fullName ?? field.type;
  return `${key}${label}${type} = ${field.id}${oneof}${isTracked}`;
}

const methodFacts = (method: protobuf.Method): string => {
  method.resolve();
  const request = `${method.requestStream ? 'stream ' : ''}${method.resolvedRequestType?.fullName}`;
  const response = `${method.responseStream ? 'stream ' : ''}${method.resolvedResponseType?.fullName}`;
  return `(${request}) returns (${response})`;
};

/** Built into protobufjs on both sides, and Weft's own. */
const SKIPPED: ReadonlySet<string> = new Set(['.google.protobuf', '.weft']);

function* definitionsOf(namespace: protobuf.NamespaceBase): Generator<protobuf.ReflectionObject> {
  for (const definition of namespace.nestedArray) {
    if (SKIPPED.has(definition.fullName)) continue;
    if (definition.filename?.startsWith(join(PROTO_DIRECTORY, SPIFFE_DIRECTORY)) === true) continue;
    yield definition;
    if (definition instanceof protobuf.Namespace) yield* definitionsOf(definition);
  }
}

/** Fields that came after the copy of the API that is compared with, by the facts that Envoy 1.40's own descriptors say. */
const LOCAL_RATE_LIMIT = '.envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit';
const NEWER: ReadonlyMap<string, string> = new Map([
  [`${LOCAL_RATE_LIMIT}.rate_limits`, 'repeated .envoy.config.route.v3.RateLimit = 17'],
  [`${LOCAL_RATE_LIMIT}.max_dynamic_descriptors`, '.google.protobuf.UInt32Value = 18'],
]);

/** What is in `ours` and not the same in `upstream`, one line each. */
function differences(ours: protobuf.Root, upstream: protobuf.Root): string[] {
  const found: string[] = [];
  const compare = (name: string, our: string, their: string | undefined): void => {
    if (our !== their) found.push(`${name}: ${our}, upstream ${their ?? 'has none'}`);
  };
  for (const mine of definitionsOf(ours)) {
    const theirs = upstream.lookup(mine.fullName.slice(1));
    if (mine instanceof protobuf.Type) {
      const message = theirs instanceof protobuf.Type ? theirs : undefined;
      if (message === undefined) found.push(`${mine.fullName}: upstream has no such message`);
      for (const field of mine.fieldsArray) {
        const name = `${mine.fullName}.${field.name}`;
        const other = message?.fields[field.name];
        compare(name, factsOf(field), other === undefined ? NEWER.get(name) : factsOf(other));
      }
    } else if (mine instanceof protobuf.Enum) {
      const values = theirs instanceof protobuf.Enum ? theirs.values : undefined;
      compare(mine.fullName, JSON.stringify(mine.values), JSON.stringify(values));
    } else if (mine instanceof protobuf.Service) {
      const service = theirs instanceof protobuf.Service ? theirs : undefined;
      for (const method of mine.methodsArray) {
        const other = service?.methods[method.name];
        compare(
          `${mine.fullName}.${method.name}`,
          methodFacts(method),
          other && methodFacts(other),
        );
      }
    }
  }
  return found;
}

const upstream = loadUpstream();

test('every file of proto/ is an upstream file', () => {
  assert.deepEqual(
    ourFiles.filter((file) => upstreamPath(file) === undefined),
    [],
  );
});

test('every message, field, enum and method of proto/ is the same upstream', () => {
  assert.deepEqual(differences(loadProtos(PROTO_DIRECTORY), upstream), []);
});

test('what is newer than the upstream files is not in them', () => {
  const old = [...NEWER.keys()].filter((name) => upstream.lookup(name.slice(1)) !== null);
  assert.deepEqual(old, []);
});

test('every definition of proto/ stands in the file where upstream has it', () => {
  const misplaced: string[] = [];
  let compared = 0;
  for (const mine of definitionsOf(loadProtos(PROTO_DIRECTORY))) {
    const theirs = upstream.lookup(mine.fullName.slice(1));
    const file = mine.filename === null ? undefined : relative(PROTO_DIRECTORY, mine.filename);
    const isOurs = mine instanceof protobuf.Type || mine instanceof protobuf.Enum;
    if (!isOurs || file === undefined) continue;
    compared++;
    if (!theirs?.filename?.endsWith(file)) misplaced.push(mine.fullName);
  }
  assert.deepEqual(misplaced, []);
  assert.ok(compared > 50, `only ${compared} definitions have a file`);
});

const MUTATIONS: readonly [string, (root: protobuf.Root) => void][] = [
  [
    'number',
    (root) => (root.lookupType('envoy.config.rbac.v3.Policy').fields['principals']!.id = 9),
  ],
  [
    'type',
    (root) =>
      replaceField(
        root,
        'destination_port',
        (id) => new protobuf.Field('destination_port', id, 'int32'),
      ),
  ],
  [
    'label',
    (root) =>
      replaceField(
        root,
        'destination_port',
        (id) => new protobuf.Field('destination_port', id, 'uint32', 'repeated'),
      ),
  ],
  ['oneof', (root) => replaceField(root, 'any', (id) => new protobuf.Field('any', id, 'bool'))],
  ['name', (root) => replaceField(root, 'any', (id) => new protobuf.Field('anybody', id, 'bool'))],
  ['message', (root) => root.define('envoy.config.rbac.v3').add(new protobuf.Type('Invented'))],
  ['enum', (root) => root.lookupEnum('envoy.config.rbac.v3.RBAC.Action').add('MAYBE', 9)],
];

function replaceField(
  root: protobuf.Root,
  name: string,
  make: (id: number) => protobuf.Field,
): void {
  const type = root.lookupType('envoy.config.rbac.v3.Permission');
  const field = type.fields[name]!;
  field.partOf?.remove(field);
  if (field.parent !== null) type.remove(field);
  type.add(make(field.id));
}

for (const [what, mutate] of MUTATIONS) {
  test(`the comparison sees a changed ${what}`, () => {
    const root = loadProtos(PROTO_DIRECTORY);
    mutate(root);
    assert.equal(differences(root, upstream).length, 1);
  });
}
