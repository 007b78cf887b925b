// Credentials over a real gRPC connection: whom they reach, when they change, when they are taken away, and what is written down.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { messagesOf } from '@weft/xds/protocol/fields';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import fc from 'fast-check';
import { podOf } from '../../../test/support/mesh-objects.ts';
import { SHOP, WEB } from '../../../test/support/mesh-bench.ts';
import { eventually } from '../../../test/support/lab-wait.ts';
import { REVOKED_LABEL } from '../vulnerabilities/revoked-label.ts';
import { readWatchRequest } from './watch-request.ts';
import { bindingOf, createCredentialRig, DB } from './testing/credential-rig.ts';

/** Of docs/credentials.md. */
const PROMISED_MS = 5_000;
const SECRET = 'Tr0ub4dor&3';

test('a proxy gets what its identity is granted, whole and as bound', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { username: 'web', password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  assert.deepEqual(web.held.get('db'), { username: 'web', password: SECRET });
  const [reply = {}] = web.replies;
  assert.equal(reply['is_complete'], true);
  const [credential] = messagesOf(reply, 'credentials');
  assert.deepEqual(credential?.['ways'], ['WAY_URL', 'WAY_FILES']);
});

test('a proxy whose identity is granted nothing is told so, and its source is not read', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const cart = rig.watch('cart');
  await cart.until(({ replies }) => replies.length > 0, 'a reply');
  assert.equal(cart.replies[0]?.['is_complete'], true);
  assert.equal(cart.held.size, 0);
  assert.deepEqual(rig.source.followed, []);
});

test("a proxy that says to be another's Pod gets nothing of that one's, and that is written down (CVE-2021-34824)", async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const cart = rig.watch('cart', { node_id: 'web-1.shop' });
  assert.equal((await cart.ended()).code, status.PERMISSION_DENIED);
  assert.equal(cart.held.size, 0);
  const [line] = rig.part.audit();
  assert.deepEqual(
    [line?.act, line?.identity],
    ['refused', 'spiffe://cluster.local/ns/shop/sa/cart'],
  );
});

test('a connection without a certificate is refused', async () => {
  await using rig = await createCredentialRig(undefined, { hasNoCertificate: true });
  assert.equal((await rig.watch('web').ended()).code, status.UNAUTHENTICATED);
});

test('keys that are named are handed over alone, and of keys that are missing nothing is', async () => {
  const source = { secret: { name: 'db' } };
  const some = bindingOf({
    serviceAccounts: ['web'],
    credentials: [
      { name: 'some', source, keys: ['username'], ways: ['url'] },
      { name: 'other', source, keys: ['username', 'token'], ways: ['url'] },
    ],
  });
  await using rig = await createCredentialRig([...SHOP, some]);
  rig.source.put('shop/db', '7', { username: 'web', password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.size > 0, 'the credential');
  assert.deepEqual([...web.held], [['some', { username: 'web' }]]);
  await eventually(
    () => rig.part.problems().some(({ message }) => message === 'its source has no key token'),
    { what: 'the problem' },
  );
});

test('a change of the source reaches every proxy that has it, under another version', async () => {
  const more = podOf('web', { meta: { ...WEB.meta, name: 'web-2' }, ips: ['10.0.0.9'] });
  await using rig = await createCredentialRig([...SHOP, more, DB]);
  rig.source.put('shop/db', '7', { password: 'one' });
  const watching = [rig.watch('web'), rig.watch('web', { node_id: 'web-2.shop' })];
  for (const web of watching) await web.until(({ held }) => held.has('db'), 'the credential');
  const before = watching[0]?.versions.get('db');
  rig.source.put('shop/db', '8', { password: 'two' });
  for (const web of watching) {
    await web.until(({ held }) => held.get('db')?.['password'] === 'two', 'the change');
    assert.notEqual(web.versions.get('db'), before);
  }
  assert.deepEqual(rig.source.followed, ['shop/db']);
});

test('a change reaches hundreds of proxies of one identity in time, and so does a withdrawal', async () => {
  const count = 400;
  const pods = Array.from({ length: count }, (_, at) =>
    podOf('web', {
      meta: { ...WEB.meta, name: `web-${at}` },
      ips: [`10.1.${at >> 8}.${at & 255}`],
    }),
  );
  await using rig = await createCredentialRig([...pods, DB]);
  rig.source.put('shop/db', '7', { password: 'one' });
  const all = pods.map(({ meta }) => rig.watch('web', { node_id: `${meta.name}.shop` }));
  const reach = async (isSo: (held: (typeof all)[number]['held']) => boolean): Promise<number> => {
    const startedAt = performance.now();
    for (const one of all) await one.until(({ held }) => isSo(held), 'it');
    return performance.now() - startedAt;
  };
  await reach((held) => held.has('db'));
  rig.source.put('shop/db', '8', { password: 'two' });
  assert.ok((await reach((held) => held.get('db')?.['password'] === 'two')) < PROMISED_MS);
  rig.change(pods);
  assert.ok((await reach((held) => held.size === 0)) < PROMISED_MS);
});

test('a withdrawn binding takes its credential away, and its place is followed no longer (linkerd2#15549)', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  rig.change([...SHOP]);
  await web.until(({ held }) => held.size === 0, 'the withdrawal');
  assert.deepEqual(rig.source.followed, []);
  const last = rig.part.audit().at(-1);
  assert.deepEqual(
    [last?.act, last?.credential, last?.binding, last?.reason],
    ['withdrawn', 'db', 'shop/web', 'it is not granted any more'],
  );
});

const WITHDRAWN: readonly (readonly [string, object])[] = [
  ['another service account', { serviceAccounts: ['cart'] }],
  ['labels that it has not', { serviceAccounts: ['web'], selector: { matchLabels: { app: 'x' } } }],
];
for (const [what, selection] of WITHDRAWN) {
  test(`a binding that comes to name ${what} takes its credential away`, async () => {
    await using rig = await createCredentialRig();
    rig.source.put('shop/db', '7', { password: SECRET });
    const web = rig.watch('web');
    await web.until(({ held }) => held.has('db'), 'the credential');
    rig.change([...SHOP, bindingOf({ ...DB_SPEC, ...selection })]);
    await web.until(({ held }) => held.size === 0, 'the withdrawal');
  });
}
const DB_SPEC = {
  credentials: [{ name: 'db', source: { secret: { name: 'db' } }, ways: ['url', 'files'] }],
};

test('a Pod whose labels change loses what was granted to those it had', async () => {
  const binding = bindingOf({
    ...DB_SPEC,
    serviceAccounts: ['web'],
    selector: { matchLabels: { app: 'web' } },
  });
  await using rig = await createCredentialRig([...SHOP, binding]);
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  const other = { ...WEB, meta: { ...WEB.meta, labels: new Map([['app', 'former']]) } };
  rig.change([...SHOP.filter((one) => one !== WEB), other, binding]);
  await web.until(({ held }) => held.size === 0, 'the withdrawal');
});

test('a Pod that has lost its identity loses what was granted to it (threat: a credential that outlives the identity)', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  const labels = new Map([...WEB.meta.labels, [REVOKED_LABEL, 'true']]);
  const lost = { ...WEB, meta: { ...WEB.meta, labels } };
  rig.change([...SHOP.filter((one) => one !== WEB), lost, DB]);
  await web.until(({ held }) => held.size === 0, 'the withdrawal');
  assert.equal(rig.part.isGranted('web-1.shop'), false);
});

test('a Pod that goes, or becomes another identity, loses everything and its stream', async () => {
  for (const now of [[], [{ ...WEB, serviceAccount: 'other' }]]) {
    await using rig = await createCredentialRig();
    rig.source.put('shop/db', '7', { password: SECRET });
    const web = rig.watch('web');
    await web.until(({ held }) => held.has('db'), 'the credential');
    rig.change([...SHOP.filter((one) => one !== WEB), ...now, DB]);
    assert.equal((await web.ended()).code, status.PERMISSION_DENIED);
    assert.equal(web.held.size, 0);
  }
});

test('what goes at its source goes everywhere; what cannot be read stays, and that is said', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  rig.source.say('shop/db', { kind: 'unavailable', reason: 'it is sealed' });
  await web.until(({ replies }) => replies.at(-1)?.['unavailable'] !== undefined, 'word of it');
  assert.equal(web.held.has('db'), true);
  const late = rig.watch('web');
  await late.until(({ held }) => held.has('db'), 'what was read last');
  rig.source.say('shop/db', { kind: 'gone', reason: 'there is no such Secret' });
  await web.until(({ held }) => held.size === 0, 'the withdrawal');
  await late.until(({ held }) => held.size === 0, 'the withdrawal');
});

test('a stream that begins anew is sent what differs from what its proxy holds, and loses what is granted no more', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const first = rig.watch('web');
  await first.until(({ held }) => held.has('db'), 'the credential');
  const version = first.versions.get('db') ?? '';
  first.close();
  const held = [
    { name: 'db', version },
    { name: 'former', version: '1' },
  ];
  const second = rig.watch('web', { node_id: 'web-1.shop', held });
  await second.until(({ replies }) => replies.length > 0, 'a reply');
  const [reply] = second.replies;
  assert.deepEqual([reply?.['credentials'], reply?.['removed']], [undefined, ['former']]);
});

test('a credential that comes to be bound otherwise is sent again, though its values are the same', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  const before = web.versions.get('db');
  const [credential] = DB_SPEC.credentials;
  const files = { serviceAccounts: ['web'], credentials: [{ ...credential, ways: ['files'] }] };
  rig.change([...SHOP, bindingOf(files)]);
  await web.until(({ versions }) => versions.get('db') !== before, 'the change');
  assert.equal(web.held.has('db'), true);
});

test('nothing more goes to a connection whose certificate has expired', async () => {
  const clock = createTurnableClock(1_000_000);
  await using rig = await createCredentialRig(undefined, { clock, notAfterUnixSeconds: 1_060 });
  rig.source.put('shop/db', '7', { password: 'one' });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  clock.turn(61_000);
  rig.source.put('shop/db', '8', { password: 'two' });
  assert.equal((await web.ended()).code, status.UNAUTHENTICATED);
  assert.deepEqual(web.held.get('db'), { password: 'one' });
});

test('every hand-over is one line: who, where, what, which version; and no value is in any of it', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  const version = web.versions.get('db') ?? '';
  const receiver = 'uid 1000 gid 1000 pid 7';
  web.send({
    in_force: [{ name: 'db', version }],
    hand_overs: [
      { name: 'db', version, way: 'WAY_URL', receiver, count: 3 },
      { name: 'made-up', version: '1', way: 'WAY_URL', receiver, count: 1 },
    ],
  });
  await eventually(() => rig.part.audit().length >= 2, { what: 'two lines' });
  const lines = rig.part.audit();
  const who = {
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    proxy: 'web-1.shop',
    binding: 'shop/web',
    credential: 'db',
    version,
  };
  const found = lines.map((line) => ({ ...line, at: '', peer: '' }));
  const unmoved = { at: '', peer: '' };
  assert.deepEqual(found, [
    { ...unmoved, act: 'handed-over', ...who, way: 'url,files' },
    { ...unmoved, act: 'handed-on', ...who, way: 'url', receiver, count: 3 },
  ]);
  assert.equal(rig.logged.filter((line) => line.includes('credential handed')).length, 2);
  const told = JSON.stringify([
    rig.logged,
    rig.part.state(),
    rig.part.audit(),
    rig.part.reports(),
    rig.part.problems(),
  ]);
  for (const text of [SECRET, btoa(SECRET)]) assert.ok(!told.includes(text));
});

test('a binding is enforced where its proxy has said that this version is in force', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  const reasons = (): readonly (string | undefined)[] =>
    rig.part.reports().flatMap(({ workloads }) => workloads.map(({ reason }) => reason));
  await eventually(() => reasons()[0] === 'not-in-force', { what: 'that it is not yet' });
  web.send({ in_force: [{ name: 'db', version: web.versions.get('db') }] });
  await eventually(() => rig.part.reports()[0]?.isEnforced === true, {
    what: 'that it is enforced',
  });
  rig.source.put('shop/db', '8', { password: 'two' });
  await eventually(() => reasons()[0] === 'not-in-force', { what: 'that it is another' });
  web.close();
  await web.ended();
  await eventually(() => reasons()[0] === 'not-connected', { what: 'that it is away' });
});

const ELSEWHERE: readonly (readonly [
  string,
  readonly (readonly string[])[],
  string | undefined,
])[] = [
  ['it is in force there', [['db']], undefined],
  ['it is not in force there', [[]], 'not-in-force'],
  ['one of two has it not', [['db'], []], 'not-in-force'],
  ['nobody is told', [], 'not-connected'],
];
for (const [what, elsewhere, reason] of ELSEWHERE) {
  test(`a binding's report counts a proxy that watches at another control plane: ${what}`, async () => {
    await using rig = await createCredentialRig(undefined, { elsewhere });
    const found = await eventually(() => rig.part.reports()[0], { what: 'a report' });
    assert.equal(found.workloads[0]?.reason, reason);
  });
}

test('what is in force at a proxy is what each of its streams has said', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  assert.equal(rig.part.inForceAt('web-1.shop'), undefined);
  const watching = [rig.watch('web'), rig.watch('web')];
  for (const web of watching) await web.until(({ held }) => held.has('db'), 'the credential');
  const inForce = [{ name: 'db', version: watching[0]?.versions.get('db') }];
  watching[0]?.send({ in_force: inForce });
  assert.deepEqual(rig.part.inForceAt('web-1.shop'), []);
  watching[1]?.send({ in_force: inForce });
  await eventually(() => rig.part.inForceAt('web-1.shop')?.[0] === 'db', { what: 'both' });
});

test('a binding whose source nobody has set up is a problem that says what there is', async () => {
  const binding = bindingOf({
    serviceAccounts: ['web'],
    credentials: [{ name: 'db', source: { from: 'vault', path: 'db' }, ways: ['url'] }],
  });
  await using rig = await createCredentialRig([...SHOP, binding]);
  await eventually(() => rig.part.problems().length > 0, { what: 'a problem' });
  const [problem] = rig.part.problems();
  assert.deepEqual([problem?.severity, problem?.field], ['error', 'spec.credentials[0]']);
  assert.match(problem?.message ?? '', /no source vault is set up; .* there are: none/);
});

test('a mesh without bindings loads nothing for them', async () => {
  await using rig = await createCredentialRig([...SHOP]);
  assert.equal(rig.part.isGranted('web-1.shop'), false);
  assert.deepEqual(rig.part.reports(), []);
  assert.deepEqual(rig.part.state(), { streams: 0, places: 0, acts: {} });
});

test('a proxy has no more than three streams, and no more requests than it can need', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const all = [rig.watch('web'), rig.watch('web'), rig.watch('web')];
  for (const one of all) await one.until(({ held }) => held.has('db'), 'the credential');
  assert.equal((await rig.watch('web').ended()).code, status.RESOURCE_EXHAUSTED);
  for (let at = 0; at < 300; at++) all[0]?.send({ in_force: [] });
  assert.equal((await all[0]?.ended())?.code, status.RESOURCE_EXHAUSTED);
});

test('whatever a proxy says of its credentials is read within bounds', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.anything()), (said) => {
      const versions = Array.from({ length: 300 }, (_, at) => ({ name: `c${at}`, version: 'v' }));
      const read = readWatchRequest({ ...said, held: versions, in_force: [said] });
      return read.held.size === 256 && read.inForce.size === 1 && read.nodeId.length <= 512;
    }),
  );
});

test('a proxy whose connection breaks off leaves nothing behind', async () => {
  await using rig = await createCredentialRig();
  rig.source.put('shop/db', '7', { password: SECRET });
  const web = rig.watch('web');
  await web.until(({ held }) => held.has('db'), 'the credential');
  web.breakOff();
  await eventually(() => rig.part.state().streams === 0, { what: 'that its stream is gone' });
  assert.deepEqual([rig.source.followed, rig.part.state().places], [[], 0]);
});
