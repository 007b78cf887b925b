// Injection of whole manifests, compared with what is written in expected/; UPDATE_GOLDEN=1 writes it.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { editManifests, type EditedManifests } from '@weft/cli/inject/edit-manifests';
import { injectWorkload, uninjectWorkload } from '@weft/controlplane/inject/inject-workload';
import { defaultInjectionSettings } from '@weft/controlplane/inject/settings';
import { parseTrustDomain } from '@weft/model/identity';
import { formatProblem } from '@weft/model/problem';
import { parseAllDocuments } from 'yaml';

const here = fileURLToPath(new URL('.', import.meta.url));
const cases = globSync('cases/*.yaml', { cwd: here }).map((path) => basename(path, '.yaml'));

const trustDomain = parseTrustDomain('cluster.local');
assert.ok(trustDomain);
const settings = defaultInjectionSettings({
  version: '1.2.3',
  trustDomain,
  rootNamespace: 'weft-system',
});

const inject = (file: string, text: string): EditedManifests =>
  editManifests(file, text, (manifest) => injectWorkload(manifest, settings));
const uninject = (text: string): EditedManifests =>
  editManifests('injected.yaml', text, uninjectWorkload);

const valuesOf = (text: string): unknown[] =>
  parseAllDocuments(text).map((document): unknown => document.toJS());

/** Line by line what the command says. */
function told({ notes, problems }: EditedManifests): string {
  const lines = notes.flatMap(({ object, outcome }) => {
    const reason = 'reason' in outcome ? `: ${outcome.reason}` : '';
    const warnings = 'warnings' in outcome ? outcome.warnings : [];
    return [`${object}: ${outcome.kind}${reason}`, ...warnings.map((text) => `  warning: ${text}`)];
  });
  return [...lines, ...problems.map(formatProblem), ''].join('\n');
}

function assertText(actual: string, path: string): void {
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, actual);
  assert.equal(actual, existsSync(path) ? readFileSync(path, 'utf8') : '(no file)');
}

test('there are manifests to inject', () => assert.ok(cases.length >= 14));

for (const name of cases) {
  const text = readFileSync(`${here}cases/${name}.yaml`, 'utf8');
  test(`weft inject -f ${name}.yaml writes what is expected, and says why`, () => {
    const edited = inject(`${name}.yaml`, text);
    assertText(told(edited), `${here}expected/${name}.txt`);
    if (edited.text !== text) assertText(edited.text, `${here}expected/${name}.yaml`);
  });

  test(`${name}.yaml injected twice is ${name}.yaml injected once`, () => {
    const once = inject(`${name}.yaml`, text);
    const twice = inject(`${name}.yaml`, once.text);
    assert.equal(twice.text, once.text);
    assert.ok(twice.notes.every(({ outcome }) => outcome.kind !== 'changed'));
  });

  test(`${name}.yaml injected and uninjected is ${name}.yaml`, () => {
    const undone = uninject(inject(`${name}.yaml`, text).text);
    assert.deepEqual(undone.problems, []);
    assert.deepEqual(valuesOf(undone.text), valuesOf(text));
  });
}
