// docs/admission.md begins with an example that anybody can run, names every check that there is, and its policy can be read.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseWorkloadPolicy } from '@weft/model/admission/parse-workload-policy';
import { IMAGE_CHECKS } from '@weft/model/admission/image-types';
import { POD_CHECKS } from '@weft/model/admission/types';
import { VULNERABILITY_CHECKS } from '@weft/model/admission/vulnerability-types';
import { isPlainObject } from '@weft/model/policy/reader';
import { parse } from 'yaml';
import { weftScript } from '../support/weft-main.ts';

const PAGE = readFileSync(new URL('../../docs/admission.md', import.meta.url), 'utf8');

function block(language: string, index = 0): string {
  const [, ...blocks] = PAGE.split(`\`\`\`${language}\n`);
  return blocks[index]?.split('\n```')[0] ?? '';
}

test('the example of docs/admission.md prints what stands below it, and ends with 1', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-admission-'));
  try {
    writeFileSync(join(folder, 'weft'), weftScript(), { mode: 0o755 });
    const env = { ...process.env, PATH: `${folder}:${process.env['PATH']}`, NODE_TEST_CONTEXT: '' };
    const end = spawnSync('sh', ['-e'], {
      input: block('sh'),
      cwd: folder,
      env,
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(end.stdout.trimEnd(), block('text'), end.stderr);
    assert.equal(end.status, 1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the policy of docs/admission.md can be read', () => {
  const object: unknown = parse(block('yaml'));
  assert.ok(isPlainObject(object));
  const parsed = parseWorkloadPolicy(object, 'ClusterWorkloadPolicy');
  assert.deepEqual(parsed.problems, []);
});

test('docs/admission.md names every check, and no other', () => {
  const rows = PAGE.split('\n').filter(
    (line) => line.startsWith('| `') && !line.includes('Enforced'),
  );
  const named = rows.flatMap((line) => line.split('`')[1] ?? []);
  assert.deepEqual(
    named.filter((name) => name !== 'Accepted').toSorted(),
    [...POD_CHECKS, ...IMAGE_CHECKS, ...VULNERABILITY_CHECKS].toSorted(),
  );
});

test('what docs/admission.md asks of vulnerabilities can be read', () => {
  const found = PAGE.split('```yaml').find((part) => part.includes('\n  vulnerabilities:'));
  const object: unknown = parse(found?.split('```')[0] ?? '');
  assert.ok(isPlainObject(object));
  const metadata = { name: 'p', namespace: 'shop' };
  const parsed = parseWorkloadPolicy(
    { apiVersion: 'security.weft.dev/v1', kind: 'WorkloadPolicy', metadata, ...object },
    'WorkloadPolicy',
  );
  assert.deepEqual(parsed.problems, []);
  assert.ok(parsed.ok && parsed.value.vulnerabilities?.revokeIdentity);
});
