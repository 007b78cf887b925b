// The laws of the house hold in every source file: who imports whom, how long a file is, what no file contains.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  cyclesOf,
  importFindings,
  importsOf,
  LINES_MAX,
  type PackageLaw,
  type SourceFile,
  scan,
  targetOf,
  textFindings,
} from './support/source-laws.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const files: readonly SourceFile[] = globSync(['src/**/*.ts', 'test/**/*.ts'], { cwd: root })
  .filter((path) => !path.includes('node_modules'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

const readLaw = (folder: string): PackageLaw => {
  const read = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  return { name: read.name, dependencies: new Set(Object.keys(read.dependencies ?? {})) };
};

const FOLDERS = ['model', 'kube', 'xds', 'ca', 'controlplane', 'dataplane', 'cli'] as const;
const laws = new Map(FOLDERS.map((name) => [`src/${name}`, readLaw(`src/${name}`)]));
const lawOf = (path: string): PackageLaw | undefined =>
  laws.get(path.split('/').slice(0, 2).join('/'));

const report = (find: (file: SourceFile) => readonly string[]): string[] =>
  files.flatMap((file) => find(file).map((finding) => `${file.path}: ${finding}`));

test('there are source files to judge, of every package', () => {
  for (const name of FOLDERS) {
    assert.ok(
      files.some((file) => file.path.startsWith(`src/${name}/`)),
      name,
    );
  }
});

test('no package.json allows an import against the one-way rule model <- xds <- {ca, controlplane, dataplane}, model <- kube <- {ca, controlplane}, controlplane -> ca, cli -> all', () => {
  const allowed: Readonly<Record<(typeof FOLDERS)[number], readonly string[]>> = {
    model: [],
    kube: ['@weft/model'],
    xds: ['@weft/model'],
    ca: ['@weft/kube', '@weft/model', '@weft/xds'],
    controlplane: ['@weft/ca', '@weft/kube', '@weft/model', '@weft/xds'],
    dataplane: ['@weft/model', '@weft/xds'],
    cli: [
      '@weft/ca',
      '@weft/controlplane',
      '@weft/dataplane',
      '@weft/kube',
      '@weft/model',
      '@weft/xds',
    ],
  };
  for (const name of FOLDERS) {
    const own = [...(laws.get(`src/${name}`)?.dependencies ?? [])].sort();
    assert.deepEqual(
      own.filter((dependency) => dependency.startsWith('@weft/')),
      allowed[name],
      name,
    );
    if (name === 'model') assert.deepEqual(own, [], 'the model depends on nothing');
  }
});

test('every file imports only what the package.json of its folder allows, and the model no I/O', () => {
  assert.deepEqual(
    report((file) => importFindings(file, lawOf(file.path))),
    [],
  );
});

test(`every file opens with what it decides, has at most ${LINES_MAX} lines and nothing forbidden`, () => {
  assert.deepEqual(report(textFindings), []);
});

test('no two files import each other, however long the way round', () => {
  assert.deepEqual(cyclesOf(files), []);
});

test('every import of our own leads to a file that is there', () => {
  const known = new Set(files.map((file) => file.path));
  const lost = report((file) =>
    importsOf(file.text)
      .map((one) => targetOf(file.path, one.specifier))
      .filter((target) => target?.endsWith('.ts') === true && !known.has(target))
      .map((target) => `imports ${target}, which is not there`),
  );
  assert.deepEqual(lost, []);
});

test('what peers and users choose meets no regular expression made of it (CVE-2026-39350, CVE-2019-14993, ISTIO-SECURITY-2026-006), no URL parser (CVE-2026-26205), no lenient HTTP parser (CVE-2022-32213) and no TLS callback that could throw (CVE-2026-21637)', () => {
  const found = [
    ['const r = new RegExp(name);', 'regular expression made at run time'],
    ['const u = new URL(target, base);', 'URL parser'],
    ['createServer({ insecureHTTPParser: true });', 'lenient HTTP parser'],
    ['createServer({ SNICallback: choose });', 'TLS callback'],
    ['createServer({ ALPNCallback: choose });', 'TLS callback'],
    ['createServer({ pskCallback: choose });', 'TLS callback'],
  ] as const;
  for (const folder of ['dataplane', 'model', 'xds', 'ca']) {
    for (const [code, why] of found) {
      const path = `src/${folder}/x.ts`;
      assert.ok(textFindings({ path, text: `// x\n${code}\n` }).includes(why), `${path} ${code}`);
    }
  }
});

test('the runtime is one exact version, new enough for the flaws of its HTTP/2 (CVE-2026-48619, CVE-2026-27135)', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const version of Object.values(manifest.optionalDependencies)) {
    assert.match(String(version), /^26\.(?:[1-9]\d)\.\d+$/);
  }
});

// What follows breaks each law on purpose: a judge that never says no proves nothing.

const sidecar: PackageLaw = {
  name: '@weft/dataplane',
  dependencies: new Set(['@weft/model', 'node-forge', 'prom-client', 'koffi']),
};
const model: PackageLaw = { name: '@weft/model', dependencies: new Set() };

const FORBIDDEN_IMPORTS: readonly (readonly [string, string, PackageLaw, string])[] = [
  ['src/dataplane/x.ts', "import { a } from '@weft/ca/authority';", sidecar, '@weft/ca'],
  ['src/dataplane/x.ts', "import forge from 'node-forge';", sidecar, 'must not load node-forge'],
  ['src/dataplane/x.ts', "await import('node-forge');", sidecar, 'must not load node-forge'],
  ['src/dataplane/x.ts', "import { Counter } from 'prom-client';", sidecar, 'must not load'],
  ['src/dataplane/x.ts', "import k8s from '@kubernetes/client-node';", sidecar, '@kubernetes'],
  ['src/dataplane/x.ts', "import '../ca/authority.ts';", sidecar, 'leaves its package'],
  ['src/dataplane/x.ts', "import { a } from './a';", sidecar, 'without .ts'],
  ['src/dataplane/x.ts', "import { a } from './a.test.ts';", sidecar, 'test code'],
  ['src/dataplane/x.ts', "import { test } from 'node:test';", sidecar, 'node:test'],
  ['src/dataplane/x.ts', "export * from 'left-pad';", sidecar, 'left-pad'],
  ['src/dataplane/x.ts', "import { a } from '@weft/dataplane/a';", sidecar, 'its own package'],
  ['src/model/x.ts', "import { readFileSync } from 'node:fs';", model, 'node:fs'],
  [
    'src/model/x.ts',
    "import {\n  connect,\n  isIP,\n} from 'node:net';",
    model,
    'connect of node:net',
  ],
  ['src/model/x.ts', "import * as net from 'node:net';", model, 'net of node:net'],
  ['src/model/x.ts', "import { load } from 'yaml';", model, 'yaml'],
  ['src/model/x.ts', "import { a } from '@weft/xds/a';", model, '@weft/xds'],
];

test('the judge of imports refuses each forbidden one, and lets the allowed ones pass', () => {
  for (const [path, text, law, part] of FORBIDDEN_IMPORTS) {
    const findings = importFindings({ path, text }, law);
    assert.ok(
      findings.some((finding) => finding.includes(part)),
      `${text}: ${findings.join()}`,
    );
  }
  const fine = "import { isIP } from 'node:net';\nimport type { A } from './a.ts';\n";
  assert.deepEqual(importFindings({ path: 'src/model/x.ts', text: fine }, model), []);
  const inTest =
    "import { openAuthority } from '@weft/ca/authority';\nimport fc from 'fast-check';\n";
  assert.deepEqual(importFindings({ path: 'src/dataplane/x.test.ts', text: inTest }, sidecar), []);
});

const opened = (text: string): string => `// Decides it.\n${text}\n`;
const FORBIDDEN_TEXTS: readonly (readonly [string, string])[] = [
  ['export const a = 1;\n', 'does not open'],
  [opened('x();\n'.repeat(LINES_MAX)), 'more than 400'],
  [opened('export default 1;'), 'default export'],
  [opened('const a: any = 1;'), 'any'],
  [opened('const f = (a: any): void => {};'), 'any'],
  [opened('const m = new Map<string, any>();'), 'any'],
  [opened('const n = `${(b as any).c}`;'), 'any'],
  [opened('const a = b as unknown as C;'), 'as unknown as'],
  [opened('// @ts-ignore\na();'), 'silenced'],
  [opened('a(); // TODO later'), 'note'],
  [opened('/*\n * FIXME\n */'), 'note'],
  [opened('try { a(); } catch {}'), 'swallowed'],
  [opened('try { a(); } catch (e) {\n}'), 'swallowed'],
  [opened('createServer({ insecureHTTPParser: true });'), 'lenient'],
  [opened('connect({ rejectUnauthorized: false });'), 'unverified'],
  [opened('peer.subjectaltname.split(",");'), 'read from text'],
  [opened('const r = new RegExp(name);'), 'run time'],
  [opened('const u = new URL(path, base);'), 'URL parser'],
  [opened('const r = /[`/]/; const a: any = `${b}`;'), 'any'],
];

test('the judge of texts finds each forbidden thing, and none in strings, comments or names', () => {
  for (const [text, part] of FORBIDDEN_TEXTS) {
    const findings = textFindings({ path: 'src/dataplane/x.ts', text });
    assert.ok(
      findings.some((finding) => finding.includes(part)),
      `${text.slice(0, 60)}: ${findings.join()}`,
    );
  }
  const fine = opened(
    [
      "const a = 'export default any as unknown as TODO';",
      '// any name is fine, and as any other',
      'const any = matches(any, { permissions: any });',
      'const b = `new RegExp(${`eval(${1})`})`;',
      'const c = d / e / f;',
    ].join('\n'),
  );
  assert.deepEqual(textFindings({ path: 'src/dataplane/x.ts', text: fine }), []);
});

test('scan() keeps lines, and code after nested templates and regular expressions', () => {
  const { code, comments } = scan("a(`x${b(`y${'z'}`)}\n`); // one\nc = /['\"`]/g; /* two */ d();");
  assert.equal(code.split('\n').length, 3);
  assert.match(code, /d\(\);$/);
  assert.match(comments, /one[^]*two/);
  assert.doesNotMatch(code, /x|y|z|one|two/);
});

test('the judge of cycles sees one of two files and one of three, and none where only types go round', () => {
  const file = (name: string, ...to: readonly string[]): SourceFile => ({
    path: `src/model/${name}.ts`,
    text: to.map((target) => `import { x } from './${target}.ts';\n`).join(''),
  });
  assert.equal(cyclesOf([file('a', 'b'), file('b', 'a')]).length, 1);
  assert.match(
    cyclesOf([file('a', 'b'), file('b', 'c'), file('c', 'b')])[0] ?? '',
    /b\.ts -> .*c\.ts -> .*b\.ts$/,
  );
  assert.deepEqual(cyclesOf([file('a', 'b', 'c'), file('b', 'c'), file('c')]), []);
  const types = { path: 'src/model/b.ts', text: "import type { A } from './a.ts';\n" };
  assert.deepEqual(cyclesOf([file('a', 'b'), types]), []);
});
