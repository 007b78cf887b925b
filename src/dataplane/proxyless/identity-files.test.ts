// What must hold: a program finds certificate, key and roots of one generation, in files of its own, and nothing of a key anywhere else.
import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSpiffeId } from '@weft/model/identity';
import type { Svid } from '../enrol/check-svid.ts';
import { bootstrapText, REFRESH_MS } from './bootstrap.ts';
import { IdentityFiles } from './identity-files.ts';

const spiffeId = parseSpiffeId('spiffe://mesh.test/ns/shop/sa/web');
assert.ok(spiffeId !== undefined);

const svidOf = (generation: string): Svid => ({
  spiffeId,
  keyPem: `key ${generation}`,
  chainPem: `chain ${generation}`,
  bundlePem: `roots ${generation}`,
  notBeforeMs: 0,
  notAfterMs: 1,
  serialHex: '1',
});

class Bench implements AsyncDisposable {
  readonly root: string;
  readonly folder: string;
  readonly files: IdentityFiles;
  changes = 0;

  constructor(root: string) {
    this.root = root;
    this.folder = join(root, 'grpc.json.d');
    this.files = new IdentityFiles({
      folder: this.folder,
      bootstrapFile: join(root, 'grpc.json'),
      bootstrap: '{}\n',
      owner: undefined,
      onChange: () => this.changes++,
    });
  }

  read(name: string): string {
    return readFileSync(join(this.folder, 'identity', name), 'utf8');
  }

  get all(): readonly string[] {
    return ['tls.crt', 'tls.key', 'ca.crt'].map((name) => this.read(name));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.root, { recursive: true, force: true });
  }
}

const openBench = async (): Promise<Bench> =>
  new Bench(await mkdtemp(join(tmpdir(), 'weft-identity-')));

test('IdentityFiles writes all three of one generation, for their owner alone, and the bootstrap after them', async () => {
  await using bench = await openBench();
  const { files, folder, root } = bench;
  await files.open();
  assert.notEqual(files.reason, undefined);
  await files.write(svidOf('one'));
  assert.equal(files.reason, undefined);
  assert.deepEqual(bench.all, ['chain one', 'key one', 'roots one']);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const name of ['tls.key', 'tls.crt', 'ca.crt'])
    assert.equal(statSync(join(folder, 'identity', name)).mode & 0o777, 0o600);
  assert.equal(statSync(join(root, 'grpc.json')).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(root).toSorted(), ['grpc.json', 'grpc.json.d']);
});

test('IdentityFiles ends with the newest of several that came at once, and leaves none of the others behind', async () => {
  await using bench = await openBench();
  const { files, folder } = bench;
  await files.open();
  void files.write(svidOf('one'));
  void files.write(svidOf('two'));
  await files.write(svidOf('three'));
  assert.deepEqual(bench.all, ['chain three', 'key three', 'roots three']);
  assert.equal(readdirSync(folder).filter((name) => name.startsWith('..gen-')).length, 1);
  await files.settled();
});

test('IdentityFiles says why when it cannot write, and writes again when it can', async () => {
  await using bench = await openBench();
  const { files, folder } = bench;
  await files.open();
  writeFileSync(join(folder, 'identity'), 'of somebody else');
  await files.write(svidOf('one'));
  assert.match(String(files.reason), /cannot be written/);
  rmSync(join(folder, 'identity'));
  await files.write(svidOf('two'));
  assert.equal(files.reason, undefined);
});

test('IdentityFiles writes no key where a link leads', async () => {
  await using bench = await openBench();
  mkdirSync(join(bench.root, 'elsewhere'));
  symlinkSync(join(bench.root, 'elsewhere'), bench.folder);
  await assert.rejects(bench.files.open(), /no folder of our own/);
});

test('IdentityFiles takes key and bootstrap away at the end, and is then not ready', async () => {
  await using bench = await openBench();
  const { files, root, folder } = bench;
  await files.open();
  await files.write(svidOf('one'));
  await files.clear();
  assert.notEqual(files.reason, undefined);
  assert.deepEqual(readdirSync(root), ['grpc.json.d']);
  assert.deepEqual(readdirSync(folder), []);
});

test('the bootstrap says whom to ask and where the files are, and holds no secret', () => {
  const spec = { nodeId: 'web-0.shop', namespace: 'shop', locality: undefined, folder: '/f' };
  const byAgent = JSON.parse(
    bootstrapText({ ...spec, server: { kind: 'agent', socket: '/f/xds.sock' } }),
  );
  assert.deepEqual(byAgent.xds_servers[0].server_uri, 'unix:/f/xds.sock');
  assert.deepEqual(byAgent.xds_servers[0].channel_creds, [{ type: 'insecure' }]);
  const direct = JSON.parse(
    bootstrapText({ ...spec, server: { kind: 'direct', address: 'cp:15012' } }),
  );
  const [server] = direct.xds_servers;
  assert.equal(server.server_uri, 'cp:15012');
  const { config } = direct.certificate_providers.weft;
  assert.deepEqual(server.channel_creds, [{ type: 'tls', config }]);
  assert.equal(config.private_key_file, '/f/identity/tls.key');
  assert.equal(config.refresh_interval, `${REFRESH_MS / 1_000}s`);
  const { region, zone } = JSON.parse(
    bootstrapText({
      ...spec,
      locality: { region: 'r', zone: 'z' },
      server: { kind: 'direct', address: 'cp:1' },
    }),
  ).node.locality;
  assert.deepEqual([region, zone], ['r', 'z']);
});
