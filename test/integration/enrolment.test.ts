// A workload gets a certificate for a good token alone, for its own Pod alone, and waits for a control plane that is away.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { call, echoed, startHttpApp } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, listOf, startLab } from '../support/lab.ts';
import { connectionsTo } from '../support/open-connections.ts';
import { shown } from '../support/shown.ts';

const NOT_ACCEPTED = /the join token is not accepted: it may be wrong, used or expired/;

/** A sidecar that must end by itself: its status and last words. */
async function refused(lab: Lab, text: string): Promise<string> {
  const { daemon } = await lab.spawnSidecar({ pod: 'web-0', token: { text }, manifest: false });
  const { code } = await daemon.exit();
  assert.equal(code, 1, daemon.tail());
  assert.equal(daemon.stdout, '', 'it must never say that it is ready');
  return daemon.stderr;
}

test('a workload enrols with its token and is called over mutual TLS', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp({ name: 'web' });
  await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: [{ name: 'http', port: 80, targetPort: 8080 }],
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  assert.equal(client.spiffeId, 'spiffe://cluster.local/ns/shop/sa/client');
  const seen = echoed(await call(client.via('web.shop:80'), '/hello'));
  assert.equal(seen.path, '/hello');
  assert.match(String(seen.headers['x-forwarded-client-cert']), /sa\/client/);
  const port = Number(lab.addresses.xds.slice(lab.addresses.xds.lastIndexOf(':') + 1));
  assert.equal(connectionsTo(client.daemon.pid, port), 1, 'all its streams are on one connection');
  shown('weft', 'enrols');
});

test('a token that is wrong, used, expired or missing ends the sidecar with status 1 and the reason', async () => {
  await using lab = await startLab();
  const good = await lab.token('web');
  const other = await lab.token('web');
  const mixed = `${good.slice(0, good.lastIndexOf('.'))}${other.slice(other.lastIndexOf('.'))}`;
  const expired = await lab.token('web', { ttlMs: 1_000 });
  const expiredAt = performance.now() + 1_100;

  assert.match(await refused(lab, 'no-token-at-all'), NOT_ACCEPTED);
  assert.match(await refused(lab, mixed), NOT_ACCEPTED, "an id with another token's secret");
  await lab.startSidecar({ pod: 'web-0', token: { text: good } });
  assert.match(await refused(lab, good), NOT_ACCEPTED, 'a token that was used');
  await eventually(() => performance.now() > expiredAt, { what: 'the end of the token' });
  assert.match(await refused(lab, expired), NOT_ACCEPTED, 'a token that is too old');

  const file = { file: `${lab.root}/no-such-file` };
  const missing = await lab.spawnSidecar({ pod: 'web-0', token: file, manifest: false });
  assert.equal((await missing.daemon.exit()).code, 1);
  assert.match(missing.daemon.stderr, /--token-file: cannot read .*no-such-file/);

  const secret = good.slice(good.lastIndexOf('.') + 1);
  const logged = `${lab.controlPlane.stderr}${missing.daemon.stderr}`;
  assert.ok(!logged.includes(secret), 'no secret of a token is ever logged');
});

test("a sidecar that claims another's Pod is told nothing and is not ready", async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address } });
  const thief = await lab.spawnSidecar({
    pod: 'web-0',
    token: { text: await lab.token('thief') },
    manifest: false,
    args: ['--inbound', `8081=${app.address}`],
  });
  const line = await thief.daemon.line(
    (entry) => /PERMISSION|identity|claim/i.test(JSON.stringify(entry)),
    'the refusal',
  );
  assert.match(JSON.stringify(line), /thief/);
  assert.equal(thief.daemon.stdout, '', 'it must never say that it is ready');
  const sessions = listOf(await lab.ask('/v1/sessions'), 'sessions');
  assert.deepEqual(
    sessions.map((session) => session['identity']),
    ['spiffe://cluster.local/ns/shop/sa/web'],
  );
});

test('a sidecar that starts before its control plane waits, and then enrols', async () => {
  await using lab = await startLab();
  const text = await lab.token('web');
  assert.equal((await lab.controlPlane.stop()).code, 0);
  const waiting = await lab.spawnSidecar({ pod: 'web-0', token: { text } });
  await waiting.daemon.line(
    (entry) => entry['msg'] === 'not enrolled yet; trying again',
    'a retry',
  );
  await lab.startControlPlane();
  await waiting.whenReady();
  assert.equal(waiting.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web');
});

test('a Pod whose manifest comes later becomes ready when it does', async () => {
  await using lab = await startLab();
  const early = await lab.spawnSidecar({ pod: 'web-0', manifest: false });
  await early.daemon.line((entry) => entry['msg'] === 'certificate in use', 'its certificate');
  await lab.write(
    'later.yaml',
    `apiVersion: v1
kind: Pod
metadata: { name: web-0, namespace: shop }
spec: { serviceAccountName: web, containers: [{ name: app }] }
status: { phase: Running, podIP: ${early.podIp} }
`,
  );
  await early.whenReady();
});

test('a sidecar whose bundle is not of this control plane enrols nowhere and keeps its token', async () => {
  await using lab = await startLab();
  await using other = await startLab();
  const text = await lab.token('web');
  const tokenFile = await lab.tokenFile(text);
  const duped = lab.spawn('duped', [
    'sidecar',
    '--pod',
    'web-0',
    '--namespace',
    'shop',
    '--pod-ip',
    lab.nextIp(),
    '--token-file',
    tokenFile,
    '--bundle',
    other.bundle,
    '--xds',
    lab.addresses.xds,
    '--enrolment',
    lab.addresses.enrolment,
    '--admin',
    `${lab.nextIp()}:0`,
  ]);
  const line = await duped.line((entry) => entry['reason'] !== undefined, 'why it is not enrolled');
  assert.match(String(line['reason']), /certificate|self.signed|issuer|verify/i);
  await lab.startSidecar({ pod: 'web-0', token: { text } });
});

test('a control plane that is started again knows its root, its unused tokens and its used ones', async () => {
  await using lab = await startLab();
  const [unused, used] = [await lab.token('web'), await lab.token('web')];
  const first = await lab.startSidecar({ pod: 'web-0', token: { text: used } });
  const rootsOf = async (): Promise<unknown> =>
    listOf(await lab.ask('/v1/ca'), 'roots').map((root) => root['fingerprint']);
  const before = await rootsOf();

  lab.controlPlane.signal('SIGKILL');
  await lab.controlPlane.exit();
  await lab.startControlPlane();

  assert.deepEqual(await rootsOf(), before);
  await eventually(async () => (await lab.ask('/v1/status'))['proxies'] === 1, {
    what: 'the return of the sidecar',
    withinMs: 15_000,
  });
  assert.ok(first.daemon.isRunning);
  assert.match(await refused(lab, used), NOT_ACCEPTED);
  await first.daemon.stop();
  await lab.startSidecar({ pod: 'web-0', token: { text: unused } });
});

test('a bundle file that holds no certificate is refused at the start, by name', async () => {
  await using lab = await startLab();
  await writeFile(lab.bundle, 'not a certificate\n');
  const { daemon } = await lab.spawnSidecar({ pod: 'web-0' });
  assert.equal((await daemon.exit()).code, 1);
  assert.match(daemon.stderr, /bundle/i);
});
