// docs/capabilities.md says of each capability which field of which kind asks for it, and what an Envoy does: both are looked up here.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CUSTOM_KINDS } from '@weft/controlplane/schema/custom-resources';
import type { Schema } from '@weft/controlplane/schema/schema';

const root = fileURLToPath(new URL('../../', import.meta.url));
const text = readFileSync(join(root, 'docs/capabilities.md'), 'utf8');

interface Row {
  readonly line: string;
  readonly fields: readonly string[];
  readonly sidecar: string;
  readonly envoy: string;
}

const quoted = (cell: string): readonly string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);

const rows: readonly Row[] = text
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| capability'))
  .map((line) => {
    const [, , field = '', sidecar = '', envoy = ''] = line.split('|').map((cell) => cell.trim());
    return { line, fields: quoted(field), sidecar, envoy };
  });

const SIDECAR = ['yes', 'no', 'not sent'];
const ENVOY = ['yes', 'partly', 'closed', 'no', 'not sent'];
/** Of other projects: their schemas are not ours. */
const FOREIGN = ['HTTPRoute', 'GRPCRoute', 'ReferenceGrant'];

const beginsWith = (cell: string, words: readonly string[]): boolean =>
  words.some((word) => cell === word || cell.startsWith(`${word}:`) || cell.startsWith(`${word} `));

test('there are rows, and each says what the sidecar and an Envoy do', () => {
  assert.ok(rows.length >= 6);
  for (const { line, fields, sidecar, envoy } of rows) {
    assert.ok(fields.length > 0, `no field: ${line}`);
    assert.ok(beginsWith(sidecar, SIDECAR), `sidecar is none of ${SIDECAR.join(', ')}: ${line}`);
    assert.ok(beginsWith(envoy, ENVOY), `Envoy is none of ${ENVOY.join(', ')}: ${line}`);
  }
});

/** @returns the part of the path that the schema does not have. */
function missingIn(schema: Schema | undefined, path: readonly string[]): string | undefined {
  let at = schema;
  for (const name of path) {
    at = at?.type === 'array' ? at.items : at;
    const next: Schema | undefined = at?.properties?.[name] ?? at?.additionalProperties;
    if (next === undefined) return name;
    at = next;
  }
  return undefined;
}

test('every field that a row names is in the schema of its kind', () => {
  for (const { line, fields } of rows) {
    for (const field of fields) {
      const [kind = '', ...path] = field.split('.');
      if (FOREIGN.includes(kind)) continue;
      const custom = CUSTOM_KINDS.find(({ resource }) => resource.kind === kind);
      assert.ok(custom !== undefined, `${kind} is no kind: ${line}`);
      assert.equal(missingIn(custom.spec, path), undefined, `${field} is no field: ${line}`);
    }
  }
});

/** What says which workloads are meant, and not what they get. */
const SCOPES = ['selector', 'targetRef', 'targetRefs', 'match', 'mode', 'exemptions'];
/** Kinds that the table is about; docs/policy.md and docs/envoy.md have the others. */
const TOLD = [
  'BasicAuthentication',
  'CredentialBinding',
  'TrafficPolicy',
  'TlsTermination',
  'ExternalService',
];

test('every field of the kinds that the table is about has a row', () => {
  const told = new Set(
    rows.flatMap(({ fields }) => fields.map((f) => f.split('.').slice(0, 2).join('.'))),
  );
  for (const { resource, spec } of CUSTOM_KINDS) {
    if (!TOLD.includes(resource.kind)) continue;
    for (const name of Object.keys(spec.properties ?? {})) {
      if (SCOPES.includes(name)) continue;
      assert.ok(told.has(`${resource.kind}.${name}`), `${resource.kind}.${name} has no row`);
    }
  }
});

function sourcesUnder(folder: string): string {
  const files = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  return files
    .filter((file) => file.isFile() && !file.name.endsWith('.test.ts'))
    .map((file) => readFileSync(join(file.parentPath, file.name), 'utf8'))
    .join('\n');
}

test('every message that a row says an Envoy is sent is one that goes over the wire', () => {
  const wire = sourcesUnder('src/xds') + sourcesUnder('proto');
  for (const { line, envoy } of rows) {
    if (!beginsWith(envoy, ['yes', 'partly'])) continue;
    const names = quoted(envoy);
    assert.ok(names.length > 0, `which message? ${line}`);
    for (const name of names) assert.ok(wire.includes(name), `${name} is not sent: ${line}`);
  }
});
