// Which peers are refused for what their certificate says, whatever the mode.
import { test } from 'node:test';
import {
  createTestPki,
  type Credential,
  idOf,
  selfSigned,
} from '../../../test/support/mesh-pki.ts';
import { eventually } from '../../../test/support/servers.ts';
import {
  createRig,
  PERMISSIVE,
  pki,
  plain,
  refusedWith,
  secure,
  STRICT,
  web,
  WEB,
} from '../../../test/support/accept-rig.ts';

const stranger = createTestPki();
const foreign = createTestPki('elsewhere.test');
const PASSED = Date.now() - 1_000;
const LATER = Date.now() + 600_000;
const peers: readonly (readonly [string, Credential | undefined, string])[] = [
  ['no certificate', undefined, 'handshake-failed'],
  [
    'another mesh’s trust domain under our root',
    pki.issue({ uris: [idOf('shop/web', 'elsewhere.test')] }),
    'peer-identity-unexpected',
  ],
  [
    'another mesh’s certificate',
    foreign.issue({ uris: [idOf('shop/web', 'elsewhere.test')] }),
    'handshake-failed',
  ],
  ['our name from another CA', stranger.issue({ uris: [WEB] }), 'handshake-failed'],
  [
    'a trust domain that only begins like ours',
    pki.issue({ uris: [idOf('shop/web', 'mesh.test.evil')] }),
    'peer-identity-unexpected',
  ],
  ['no purposes', pki.issue({ uris: [WEB], purposes: [] }), 'peer-eku-missing'],
  ['a server’s purpose only', pki.issue({ uris: [WEB], purposes: ['server'] }), 'handshake-failed'],
  [
    'two URI SANs (CVE-2021-44532)',
    pki.issue({ uris: [WEB, idOf('shop/admin')] }),
    'peer-identity-invalid',
  ],
  ['no URI SAN', pki.issue({ uris: [] }), 'peer-identity-invalid'],
  [
    'a URI that is no workload’s',
    pki.issue({ uris: ['https://mesh.test/ns/shop/sa/web'] }),
    'peer-identity-invalid',
  ],
  [
    'a URI with an encoded slash',
    pki.issue({ uris: ['spiffe://mesh.test/ns/shop%2fx/sa/web'] }),
    'peer-identity-invalid',
  ],
  ['an expired certificate', pki.issue({ uris: [WEB], notAfterMs: PASSED }), 'handshake-failed'],
  [
    'a certificate of the future',
    pki.issue({ uris: [WEB], notBeforeMs: LATER, notAfterMs: LATER + 1 }),
    'handshake-failed',
  ],
  ['a self-signed certificate', selfSigned({ uris: [WEB] }), 'handshake-failed'],
];
for (const [what, credential, reasonCode] of peers) {
  for (const [mode, listener] of [
    ['STRICT', STRICT],
    ['PERMISSIVE', PERMISSIVE],
  ] as const) {
    test(`${mode} refuses a peer with ${what}`, async () => {
      await using rig = await createRig(listener);
      await refusedWith(rig, secure(rig, credential), reasonCode);
    });
  }
}

test('a client that only speaks TLS 1.2 is refused', async () => {
  await using rig = await createRig(STRICT);
  await refusedWith(rig, secure(rig, web, { maxVersion: 'TLSv1.2' }), 'handshake-failed');
});

test('a client that goes away in mid-handshake is refused once and forgotten', async () => {
  await using rig = await createRig(STRICT);
  const client = plain(rig, '\x16\x03\x01\x02\x00\x01');
  await eventually(() => rig.server.sockets.length === 1, 'the connection');
  client.resetAndDestroy();
  await refusedWith(rig, client, 'handshake-failed');
});
