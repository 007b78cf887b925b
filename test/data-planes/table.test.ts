// The table of data planes is made of what tests showed, and says where a document differs.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { differences, readShown, tableOf, withTable } from './table.ts';

const EMPTY = 'Before.\n<!-- table: begin --><!-- table: end -->\nAfter.\n';
const CLOSED = 'closed ([grpc.md](grpc.md))';
const SHOWN = readShown('weft jwt\nweft jwt\nenvoy jwt\ngrpc-go grpc-called\n');

test('a cell says yes only where a test has shown it', () => {
  const row = tableOf(SHOWN).find((line) => line.includes('(JWT)'));
  assert.equal(
    row,
    `| enforces RequestAuthentication (JWT) | yes | yes | not shown | ${CLOSED} | ${CLOSED} | ${CLOSED} |`,
  );
});

test('a document that was made of a run does not differ from it, and keeps what stands around', () => {
  const document = withTable(EMPTY, SHOWN);
  assert.deepEqual(differences(document, SHOWN), []);
  assert.match(document, /^Before\.\n[^]*\nAfter\.\n$/);
  assert.equal(withTable(document, SHOWN), document);
});

test('what is said and was not shown is told, and what was shown and is not said', () => {
  const document = withTable(EMPTY, SHOWN);
  const run = readShown('weft jwt\nenvoy paths\n');
  assert.deepEqual(differences(document, run), [
    'Envoy 1.40, enforces RequestAuthentication (JWT): tests say "not shown", it says "yes"',
    'Envoy 1.40, normalises paths before rules see them: tests say "yes", it says "not shown"',
  ]);
});

test('a plane that was not run keeps its column', () => {
  assert.deepEqual(differences(withTable(EMPTY, SHOWN), readShown('weft jwt\n')), []);
});

test('a row that the document has not is told', () => {
  const document = withTable(EMPTY, SHOWN).replace(/\| enforces RequestAuthentication.*\n/, '');
  assert.deepEqual(differences(document, readShown('weft jwt\n')), [
    'Weft\'s sidecar, enforces RequestAuthentication (JWT): tests say "yes", it says "no row"',
  ]);
});

test('docs/data-planes.md has a place for it', () => {
  const file = new URL('../../docs/data-planes.md', import.meta.url);
  const document = readFileSync(file, 'utf8');
  assert.ok(withTable(document, SHOWN).includes('| enforces RequestAuthentication (JWT) | yes |'));
});
