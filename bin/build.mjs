// Makes what the images run: `dist/sidecar` and `dist/control-plane`, each complete without node_modules.
// Needs the checkout's own Node, for it reads `src/`; `npm run build` does that. Options: --out DIR,
// --image sidecar|control-plane, --arch x64,arm64 (or amd64, as images say it), --without-maps.
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { readProtoRoot } from '../src/xds/proto-root.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'dist') },
    arch: { type: 'string', default: process.arch },
    image: { type: 'string', multiple: true },
    'without-maps': { type: 'boolean', default: false },
  },
});
const IMAGES = [
  { name: 'sidecar', entry: 'src/cli/sidecar-main.ts' },
  { name: 'control-plane', entry: 'src/cli/main.ts' },
];
const ARCH_BY_NAME = { x64: 'x64', amd64: 'x64', arm64: 'arm64' };
const archs = values.arch.split(',').map((name) => ARCH_BY_NAME[name]);
if (archs.includes(undefined)) {
  fail(`for "${values.arch}": write --arch ${Object.keys(ARCH_BY_NAME).join(' or ')}`);
}
const images = IMAGES.filter(({ name }) => values.image?.includes(name) ?? true);
if (images.length < (values.image?.length ?? 1)) {
  fail(`${values.image}: write --image ${IMAGES.map(({ name }) => name).join(' or ')}`);
}

function fail(why) {
  process.stderr.write(`Cannot build ${why}\n`);
  process.exit(1);
}

/** Where images have Node; and packages written for CommonJS ask for names that modules do not have. */
const BANNER = [
  '#!/usr/local/bin/node',
  "import { createRequire as weftCreateRequire } from 'node:module';",
  'const require = weftCreateRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

/** The text of `proto/` is parsed here, once, and not at every start. */
const embeddedProtos = {
  name: 'embedded-protos',
  setup(context) {
    context.onLoad({ filter: /\/src\/xds\/proto-root\.ts$/ }, () => ({
      contents: [
        "import protobuf from 'protobufjs';",
        `const text = ${JSON.stringify(JSON.stringify(readProtoRoot().toJSON()))};`,
        'export const readProtoRoot = () => protobuf.Root.fromJSON(JSON.parse(text)).resolveAll();',
      ].join('\n'),
      loader: 'js',
      resolveDir: join(root, 'src', 'xds'),
    }));
  },
};

/**
 * An `import` of a module of Node's own reads all that it exports, and some of that is loaded only when it is read:
 * with `node:http` comes a whole client of the web's kind. So those are asked for by name, as `require` does.
 */
const builtinsByName = {
  name: 'builtins-by-name',
  setup(context) {
    context.onLoad({ filter: /\.(ts|js|mjs)$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const contents = text.replace(BUILTIN_IMPORT, asLookUp);
      return contents === text
        ? undefined
        : { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' };
    });
  },
};
/** `import name, { names } from 'node:module';` or `import * as name`, with types or without. */
const BUILTIN_IMPORT =
  /^import (?!type )(?:(?:\* as )?([\w$]+))?(?:, )?(?:\{([^}]*)\})? ?from ?['"](node:[\w/]+)['"];/gm;

function asLookUp(_whole, whole, names, module) {
  const found = `globalThis.process.getBuiltinModule('${module}')`;
  const taken = (names ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !/^type (?!as )/.test(name))
    .map((name) => name.replace(' as ', ': '));
  const parts = [whole, taken.length === 0 ? undefined : `{ ${taken.join(', ')} }`];
  return parts
    .filter((part) => part !== undefined)
    .map((part) => `const ${part} = ${found};`)
    .join(' ');
}

/** Code of threads is a file of its own beside the program; chunks are in a folder. */
const workerPaths = {
  name: 'worker-paths',
  setup(context) {
    context.onLoad({ filter: /\/src\/dataplane\/login\/password-worker-path\.ts$/ }, () => ({
      contents: [
        "import { join } from 'node:path';",
        'const up = import.meta.dirname.endsWith("chunks") ? ".." : ".";',
        "export const passwordWorkerPath = () => join(import.meta.dirname, up, 'password-worker.mjs');",
      ].join('\n'),
      loader: 'js',
    }));
  },
};

/** The demo runs from the sources of its applications. */
const withoutDemo = {
  name: 'without-demo',
  setup(context) {
    context.onResolve({ filter: /\/demo\.ts$/ }, (found) => ({
      path: join(found.resolveDir, found.path.replace('demo.ts', 'no-demo.ts')),
    }));
  },
};

/** grpc-js asks for it when channelz is switched on, which nothing here does. */
const withoutProtoLoader = {
  name: 'without-proto-loader',
  setup(context) {
    context.onResolve({ filter: /^@grpc\/proto-loader$/ }, () => ({
      path: 'proto-loader',
      namespace: 'absent',
    }));
    context.onLoad({ filter: /.*/, namespace: 'absent' }, () => ({
      contents: "throw new Error('Cannot load proto files: they are not in this bundle')",
      loader: 'js',
    }));
  },
};

for (const { name, entry } of images) {
  const outdir = join(values.out, name);
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      { in: entry, out: 'weft' },
      { in: 'src/dataplane/login/password-worker.ts', out: 'password-worker' },
    ],
    outdir,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    legalComments: 'linked',
    sourcemap: values['without-maps'] ? false : 'linked',
    metafile: true,
    // The types come from a descriptor, so that the parser of their text is not needed.
    alias: { protobufjs: 'protobufjs/light.js' },
    external: ['koffi'],
    banner: { js: BANNER },
    plugins: [workerPaths, embeddedProtos, builtinsByName, withoutDemo, withoutProtoLoader],
    logLevel: 'warning',
  });
  writeFileSync(join(outdir, 'package.json'), `${JSON.stringify({ type: 'module' })}\n`);
  mkdirSync(join(outdir, 'bin'));
  chmodSync(join(outdir, 'weft.mjs'), 0o755);
  symlinkSync('../weft.mjs', join(outdir, 'bin', 'weft'));
  copyKoffi(outdir);
  const inputs = Object.keys(metafile.inputs).sort();
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  const externals = new Set(imports.filter(({ external }) => external).map(({ path }) => path));
  const inMesh = inputsWithout(metafile.outputs, 'src/cli/static/static-command.ts');
  const made = { inputs, inMesh, externals: [...externals].sort() };
  writeFileSync(`${outdir}.made-of.json`, `${JSON.stringify(made, undefined, 1)}\n`);
  const bytes = Object.entries(metafile.outputs)
    .filter(([file]) => file.endsWith('.mjs'))
    .reduce((sum, [, output]) => sum + output.bytes, 0);
  process.stdout.write(
    `${relative(process.cwd(), outdir)}: ${(bytes / 1024 / 1024).toFixed(1)} MiB of code from ${inputs.length} files\n`,
  );
}

/** What is loaded, now or later, by a program that never imports this module. */
function inputsWithout(outputs, entryPoint) {
  const found = new Set();
  const seen = new Set();
  const visit = (file) => {
    const output = outputs[file];
    if (output === undefined || seen.has(file) || output.entryPoint === entryPoint) return;
    seen.add(file);
    for (const input of Object.keys(output.inputs)) found.add(input);
    for (const { path } of output.imports) visit(path);
  };
  for (const [file, output] of Object.entries(outputs)) {
    if (output.entryPoint?.endsWith('main.ts')) visit(file);
  }
  return [...found].sort();
}

/** The one native library: getsockopt, for transparent interception. Its loader and one binary an architecture. */
function copyKoffi(outdir) {
  const fromDataplane = createRequire(join(root, 'src', 'dataplane', 'package.json'));
  const koffi = dirname(fromDataplane.resolve('koffi'));
  const modules = join(outdir, 'node_modules');
  const loader = ['index.js', 'src/koffi/index.js', 'src/koffi/src/static.js'];
  for (const file of ['package.json', 'LICENSE.txt', ...loader]) {
    copy(join(koffi, file), join(modules, 'koffi', file));
  }
  const fromKoffi = createRequire(join(koffi, 'package.json'));
  for (const arch of archs) {
    const platform = `@koromix/koffi-linux-${arch}`;
    const index = fromKoffi.resolve(platform);
    for (const file of ['package.json', 'index.js', `linux_${arch}/koffi.node`]) {
      copy(join(dirname(index), file), join(modules, platform, file));
    }
  }
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}
