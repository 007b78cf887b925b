// docs/xds.md: its example runs as it stands, and its table names every rule that the conformance tests hold; UPDATE_GOLDEN=1 writes the table.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freeEndpoint } from '../bench/peers/envoy.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = join(root, 'docs/xds.md');
const [BEGIN, END] = ['<!-- rules -->\n', '<!-- end of rules -->'];
const FILES = ['sotw', 'sotw-answers', 'delta', 'delta-answers', 'streams'].map(
  (name) => `test/conformance/xds/${name}.test.ts`,
);

const FORM = { sotw: 'state of the world', delta: 'delta', streams: 'both' } as const;
const formOf = (file: string): string =>
  Object.entries(FORM).find(([name]) => file.includes(`/${name}`))?.[1] ?? '';

/** Rules of tables, and titles of tests that stand by themselves. */
function rulesOf(file: string): readonly string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const rules = [...text.matchAll(/\brule:\s*(['"])(.*?)\1,\n/g)].map(([, , rule = '']) => rule);
  const titles = [...text.matchAll(/\btest\(\s*(?:`\$\{variant\}: |')([^`']*)[`'],/g)];
  return [
    ...rules,
    ...titles.map(([, title = '']) => title).filter((title) => title !== '${rule}'),
  ];
}

test('docs/xds.md names every rule of the protocol that is tested, and where', () => {
  const rows = FILES.flatMap((file) =>
    rulesOf(file).map((rule) => `| ${rule} | ${formOf(file)} | \`${file.split('/').at(-1)}\` |`),
  );
  assert.ok(rows.length > 60, `${rows.length} rules`);
  const table = ['| rule | form | in `test/conformance/xds` |', '|---|---|---|', ...rows, ''].join(
    '\n',
  );
  const page = readFileSync(PAGE, 'utf8');
  const [before = '', rest = ''] = page.split(BEGIN);
  const [found, after = ''] = rest.split(END);
  if (process.env['UPDATE_GOLDEN'] === '1')
    writeFileSync(PAGE, before + BEGIN + table + END + after);
  else assert.equal(found, table);
});

test('the example of docs/xds.md runs as it stands', async () => {
  const [, example = ''] = readFileSync(PAGE, 'utf8').split('```sh\n');
  const [script = ''] = example.split('\n```');
  const [xds, api] = [await freeEndpoint(), await freeEndpoint()];
  const ported = script.replaceAll('18000', `${xds.port}`).replaceAll('18001', `${api.port}`);
  const shell = promisify(execFile)('sh', ['-euc', `${ported}; wait $server`], {
    cwd: root,
    timeout: 60_000,
  });
  const { stdout } = await shell;
  const state = stdout.split('\n').find((line) => line.includes('"version"'));
  const [cluster] = Object.values<{ version: string; resources: Record<string, string> }>(
    JSON.parse(state ?? '{}'),
  );
  assert.equal(cluster?.version, '2', stdout);
  assert.match(cluster.resources['A'] ?? '', /^1-/);
  assert.match(cluster.resources['B'] ?? '', /^2-/);
  assert.ok(stdout.includes(`"xds":"127.0.0.1:${xds.port}"`), stdout);
});
