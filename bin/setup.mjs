// Sets up a checkout once: dependencies by pnpm, which also bring a Node that runs TypeScript as it is.
// Runs on Node 20 or newer; does nothing when the lock file has not changed since it last succeeded.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PNPM = 'pnpm@12.21.0';
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, 'node_modules', '.weft-setup');

function fingerprint() {
  const hash = createHash('sha256');
  const manifests = readdirSync(join(root, 'src')).map((name) => join('src', name, 'package.json'));
  for (const name of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...manifests]) {
    const file = join(root, name);
    hash.update(`${name}\0`);
    if (existsSync(file)) hash.update(readFileSync(file));
  }
  return hash.update(`${process.platform}-${process.arch}`).digest('hex');
}

function isSetUp(expected) {
  try {
    return readFileSync(stampFile, 'utf8') === expected;
  } catch {
    return false;
  }
}

const wanted = fingerprint();
if (!isSetUp(wanted)) {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    process.stderr.write(
      `Cannot set up Weft: Node 20 or newer is needed, this is ${process.version}\n`,
    );
    process.exit(1);
  }
  process.stderr.write('Setting up Weft (dependencies and its own Node, once) ...\n');
  const frozen = existsSync(join(root, 'pnpm-lock.yaml')) ? ['--frozen-lockfile'] : [];
  const args = ['-y', PNPM, 'install', '--reporter=append-only', '--loglevel=error', ...frozen];
  const result = spawnSync('npx', args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, CI: 'true' },
  });
  if (result.status !== 0) {
    process.stderr.write(
      `Cannot set up Weft: "npx ${args.join(' ')}" ended with ${result.error?.message ?? `status ${result.status}`}\n` +
        'Check that the npm registry can be reached, then run the same command again\n',
    );
    process.exit(1);
  }
  writeFileSync(stampFile, wanted);
}
