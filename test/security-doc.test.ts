// What docs/security.md tells auditors is true: each flaw it lists as guarded is named by the tests that it points to.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const text = readFileSync(join(root, 'docs/security.md'), 'utf8');
const FLAW =
  /(?:CVE-\d{4}-\d+|GHSA(?:-[a-z0-9]{4}){3}|ISTIO-SECURITY-\d{4}-\d{3}|GO-\d{4}-\d+|\w+#\d+)/g;

interface Row {
  readonly flaws: readonly string[];
  readonly files: readonly string[];
}

const rows: readonly Row[] = text
  .split('\n')
  .filter((line) => line.startsWith('|') && line.includes('.test.ts`'))
  .map((line) => {
    const cells = line.split('|');
    return {
      flaws: cells[1]?.match(FLAW) ?? [],
      files: [...(cells.at(-2) ?? '').matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
    };
  });

test('there are rows to check', () => {
  assert.ok(rows.length > 30);
  for (const { flaws, files } of rows) assert.ok(flaws.length > 0 && files.length > 0);
});

for (const { flaws, files } of rows) {
  test(`${flaws.join(', ')}: a test names it`, () => {
    const tests = files.map((file) => readFileSync(join(root, file), 'utf8'));
    for (const flaw of flaws) {
      assert.ok(
        tests.some((source) => source.includes(flaw)),
        `${flaw} is in none of ${files.join(', ')}`,
      );
    }
    for (const [index, source] of tests.entries()) {
      assert.ok(
        flaws.some((flaw) => source.includes(flaw)),
        `${files[index]} names none of them`,
      );
    }
  });
}
