// Roots of other trust domains on the renewal stream: for those who have no other word of them, and gone when they are told no more.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { PlainMessage } from '@weft/xds/registry';
import { createKeeperRig } from '../../../test/support/keeper-rig.ts';
import { createTestPki } from '../../../test/support/mesh-pki.ts';
import { openScriptedControlPlane } from '../../../test/support/scripted-control-plane.ts';
import { readFederated } from './read-federated.ts';

const partner = createTestPki('partner.test');
const root = new X509Certificate(partner.bundlePem).raw;
const leaf = new X509Certificate(partner.issue({ uris: [] }).chainPem).raw;
const entry = (trust_domain: string, ...root_der: readonly Uint8Array[]): PlainMessage => ({
  trust_domain,
  root_der,
});

test('readFederated() passes over trust domains that cannot be read, and takes the others', () => {
  const bad = [
    entry('spiffe://x', root),
    entry('empty.test'),
    entry('leaf.test', leaf),
    entry('garbage.test', Buffer.from('x')),
    entry('many.test', ...Array.from({ length: 33 }, () => root)),
  ];
  assert.equal(readFederated({ federated: bad }), undefined);
  assert.equal(readFederated({}), undefined);
  const read = readFederated({ federated: [...bad, entry('partner.test', root)] });
  assert.deepEqual(read, [{ trustDomain: 'partner.test', trustedCaPem: partner.bundlePem }]);
});

test('a keeper that takes them from its renewal stream has them until they are told no more; another does not', async () => {
  await using server = await openScriptedControlPlane();
  using taking = createKeeperRig(server, { takesFederated: true });
  using other = createKeeperRig(server);
  await taking.start();
  await other.start();
  await server.until(() => server.streams.length === 2);
  const tell = (federated: readonly PlainMessage[]): void => {
    for (const stream of server.streams) stream.send({ bundle: { ...server.bundle(), federated } });
  };
  const domains = (rig: typeof taking): readonly string[] =>
    rig.keeper.svid?.federated?.map(({ trustDomain }) => trustDomain) ?? [];
  tell([entry('partner.test', root)]);
  await taking.until(() => domains(taking).length === 1);
  assert.deepEqual(domains(taking), ['partner.test']);
  taking.clock.turn(1_800_000);
  await taking.until(() => taking.told.length >= 3);
  assert.deepEqual(domains(taking), ['partner.test'], 'over a renewal');
  tell([]);
  await taking.until(() => domains(taking).length === 0);
  assert.deepEqual(domains(other), []);
  assert.equal(other.told.length, 1);
});
