// Two meshes that federate with each other over HTTPS: callers of the other are believed, may call what policies say, and never pass for our own.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { isPlainObject } from '@weft/model/policy/reader';
import { believed, callAs, caOf, federationYaml, MESH_CONFIG } from '../support/federation-lab.ts';
import { startHttpApp } from '../support/lab-clients.ts';
import { runWeft } from '../support/lab-daemon.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, openLab } from '../support/lab.ts';
import { OutsideCa } from '../support/tls-clients.ts';
import { goSpiffe, SpiffeProcess, type SpiffeProgram } from '../support/spiffe-programs.ts';
import { shown } from '../support/shown.ts';

const OURS = 'ours.example';
const THEIRS = 'theirs.example';
const CONTROL_PLANE = `spiffe://${THEIRS}/ns/weft-system/sa/weft-control-plane`;
const WEB = `spiffe://${OURS}/ns/shop/sa/web`;
const CART = `spiffe://${THEIRS}/ns/shop/sa/cart`;

let go: SpiffeProgram = { missing: 'it was not built' };

before(async () => {
  go = await goSpiffe();
});

const policyYaml = (name: string, principal: string): string => `apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules: [{ from: [{ source: { principals: [${principal}] } }] }]
`;

interface MeshSpec {
  readonly trustDomain: string;
}

async function openMesh({ trustDomain }: MeshSpec): Promise<{ lab: Lab; endpoint: string }> {
  const lab = await openLab();
  await lab.write('mesh.yaml', MESH_CONFIG);
  const hint = ['--bundle-refresh-hint', '10s'];
  const args = ['--trust-domain', trustDomain, '--bundle-endpoint', '127.0.0.1:0', ...hint];
  const ready = await lab.startControlPlane({ args });
  return { lab, endpoint: String(ready['bundleEndpoint']) };
}

/** Two meshes, each of which believes the other. */
async function openBoth() {
  await using making = new AsyncDisposableStack();
  const ours = await openMesh({ trustDomain: OURS });
  making.use(ours.lab);
  const theirs = await openMesh({ trustDomain: THEIRS });
  making.use(theirs.lab);
  const app = making.use(await startHttpApp());
  await ours.lab.write('theirs.yaml', await federationYaml(theirs.lab, THEIRS, theirs.endpoint));
  await theirs.lab.write('ours.yaml', await federationYaml(ours.lab, OURS, ours.endpoint));
  const web = await ours.lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    args: ['--trust-domain', OURS, '--workload-api', `unix:${join(ours.lab.root, 'web.sock')}`],
  });
  await believed(ours.lab);
  await believed(theirs.lab);
  const owned = making.move();
  return {
    ours: ours.lab,
    theirs: theirs.lab,
    endpoint: theirs.endpoint,
    web,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Roots of the other trust domain that the sidecar has. */
async function rootsOfOther(sidecar: LabSidecar): Promise<number> {
  const { federated } = await sidecar.askJson('/certs');
  const [one] = Array.isArray(federated) ? federated.filter(isPlainObject) : [];
  return Array.isArray(one?.['roots']) ? one['roots'].length : 0;
}

const hasRoots = (sidecar: LabSidecar, count: number): Promise<unknown> =>
  eventually(async () => (await rootsOfOther(sidecar)) === count, {
    what: `${count} roots of the other trust domain`,
    withinMs: 25_000,
  });

test('callers of the other mesh are believed, judged by principals, and never as one of us; withdrawn, they are cut off', async () => {
  await using both = await openBoth();
  const { ours, theirs, web } = both;
  await hasRoots(web, 1);
  const ca = await caOf(theirs, THEIRS);
  const cart = ca.issue({ uris: [CART] });
  assert.equal(
    await callAs(cart, web.front(8080)),
    '200',
    'no policy: any caller that is believed',
  );
  await ours.write('policy.yaml', policyYaml('callers-1', `${THEIRS}/ns/shop/sa/cart`));
  await ours.enforced('callers-1');
  assert.equal(await callAs(cart, web.front(8080)), '200');
  assert.equal(await callAs(ca.issue({ uris: [`${CART}x`] }), web.front(8080)), '403');
  await ours.write('policy.yaml', policyYaml('callers-2', `${OURS}/ns/shop/sa/cart`));
  await ours.enforced('callers-2');
  assert.equal(
    await callAs(cart, web.front(8080)),
    '403',
    'the same account of another trust domain',
  );
  const impostor = ca.issue({ uris: [`spiffe://${OURS}/ns/shop/sa/cart`] });
  assert.equal(await callAs(impostor, web.front(8080)), 'refused', 'their CA, our name');
  const stranger = ca.issue({ uris: ['spiffe://third.example/ns/shop/sa/cart'] });
  assert.equal(await callAs(stranger, web.front(8080)), 'refused', 'their CA, the name of a third');
  const refusals = await web.metric('weft_connections_refused_total', 'peer-not-vouched-for');
  assert.equal(refusals, 2);
  await ours.write('policy.yaml', policyYaml('callers-3', `${THEIRS}/ns/shop/sa/cart`));
  await ours.enforced('callers-3');
  const [host = '', port] = web.front(8080).split(':');
  const open = tls.connect({
    host,
    port: Number(port),
    key: cart.keyPem,
    cert: cart.chainPem,
    ALPNProtocols: ['weft-http/1.1'],
    rejectUnauthorized: false,
  });
  open.on('error', () => undefined);
  open.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
  const [first] = await once(open, 'data');
  assert.match(String(first), /^HTTP\/1\.1 200/);
  const closed = once(open, 'close');
  await ours.remove('theirs.yaml');
  await closed;
  await hasRoots(web, 0);
  assert.equal(await callAs(cart, web.front(8080)), 'refused');
  shown('weft', 'federates');
});

test('a rotation of the other root is followed, and its last good keys stay while it is away', async () => {
  await using both = await openBoth();
  const { ours, theirs, web } = both;
  await hasRoots(web, 1);
  const before = await caOf(theirs, THEIRS);
  const { code, stderr } = await runWeft(['ca', 'rotate', '--state-dir', theirs.state]);
  assert.equal(code, 0, stderr);
  await hasRoots(web, 2);
  const { rotation } = await theirs.ask('/v1/ca');
  assert.ok(isPlainObject(rotation) && rotation['phase'] === 'distribute', 'it waits for others');
  assert.match(JSON.stringify(rotation['waitsFor']), /federated meshes/);
  await theirs.controlPlane.stop();
  await ours.problem('bundle-stale', 30_000);
  assert.equal(await callAs(before.issue({ uris: [CART] }), web.front(8080)), '200');
  const listed = await runWeft(['trust', 'list', '--admin', ours.addresses.admin]);
  assert.match(listed.stdout, /theirs\.example +yes +2 /);
  await ours.controlPlane.stop();
  await ours.startControlPlane({ args: ['--trust-domain', OURS] });
  await believed(ours);
  assert.equal(
    await callAs(before.issue({ uris: [CART] }), web.front(8080)),
    '200',
    'over a restart',
  );
});

test('go-spiffe of one mesh calls a sidecar of the other, judges its tokens, and fetches bundles from the endpoint', async (t) => {
  if ('missing' in go) return t.skip(go.missing);
  const { argv } = go;
  await using both = await openBoth();
  const { ours, theirs, web, endpoint } = both;
  const socketOf = (lab: Lab, name: string): string => join(lab.root, `${name}.sock`);
  const cart = await theirs.startSidecar({
    pod: 'cart-0',
    args: ['--trust-domain', THEIRS, '--workload-api', `unix:${socketOf(theirs, 'cart')}`],
  });
  await hasRoots(web, 1);
  await hasRoots(cart, 1);
  const ask = async (lab: Lab, name: string, ...args: readonly string[]) => {
    await using process = new SpiffeProcess([...argv, ...args], socketOf(lab, name));
    const said = await process.heard(1);
    assert.equal(await process.ended(), 0, process.complaint);
    return said;
  };
  assert.equal((await ask(theirs, 'cart', 'fetch'))['bundles'], 2);
  const answer = await ask(theirs, 'cart', 'call', web.front(8080), WEB, 'weft-http/1.1');
  assert.equal(answer['status'], 200);
  const { token } = await ask(theirs, 'cart', 'token', 'vault');
  const judged = await eventually(() => ask(ours, 'web', 'judge', String(token), 'vault'), {
    what: 'keys of tokens that have been fetched',
    withinMs: 20_000,
    everyMs: 500,
  });
  assert.deepEqual(judged, { own: CART, judged: CART, bundles: 2 });
  const file = join(theirs.root, 'initial.json');
  const { stdout } = await runWeft(['trust', 'bundle', '--admin', theirs.addresses.admin]);
  await writeFile(file, stdout);
  const fetched = await ask(
    theirs,
    'cart',
    'federate',
    `https://${endpoint}/`,
    CONTROL_PLANE,
    file,
  );
  assert.deepEqual([fetched['roots'], fetched['keys'], fetched['hint']], [1, 1, 10]);
  assert.ok(Number(fetched['sequence']) > 0);
});

test('by https_web the endpoint is known by its name under public roots, and a certificate of nobody is not believed', async () => {
  await using making = new AsyncDisposableStack();
  using ca = new OutsideCa();
  const leaf = ca.issue({ altNames: 'IP:127.0.0.1', usage: 'serverAuth' });
  const theirs = making.use(await openLab());
  const web = [
    '--bundle-endpoint-certificate',
    leaf.certificate,
    '--bundle-endpoint-key',
    leaf.key,
  ];
  const serve = ['--trust-domain', THEIRS, '--bundle-endpoint', '127.0.0.1:0', ...web];
  const { bundleEndpoint } = await theirs.startControlPlane({ args: serve });
  const manifest = `apiVersion: security.weft.dev/v1
kind: FederatedTrustDomain
metadata: { name: partner, namespace: weft-system }
spec:
  trustDomain: ${THEIRS}
  bundleEndpoint: { url: "https://${String(bundleEndpoint)}/", profile: https_web }
`;
  const ours = making.use(await openLab());
  await ours.write('all.yaml', MESH_CONFIG, manifest);
  const args = ['--trust-domain', OURS];
  await ours.startControlPlane({ args });
  await ours.problem('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  await believed(ours, false);
  await ours.controlPlane.stop();
  await ours.startControlPlane({ args, env: { NODE_EXTRA_CA_CERTS: ca.certificate } });
  const { profile, sequence } = await believed(ours);
  assert.equal(profile, 'https_web');
  assert.ok(Number(sequence) > 0);
});
