import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Client, type ServiceError, status } from '@grpc/grpc-js';
import { createJoinToken } from '@weft/ca/join-tokens';
import { openGrpcJsChannel } from '../../../test/support/grpc-js-channel.ts';
import type { Svid } from '@weft/dataplane/enrol/check-svid';
import { enrol } from '@weft/dataplane/enrol/enrolment-client';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import { createTestPki, selfSigned } from '../../../test/support/mesh-pki.ts';
import { type ControlPlane, openControlPlane } from '../control-plane.ts';

const trustDomain = parseTrustDomain('mesh.test')!;
const pod = (name: string, ip: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}-1, namespace: shop, labels: {app: ${name}}}
spec:
  serviceAccountName: ${name}
  containers: [{name: c, ports: [{containerPort: 8080}]}]
status: {podIP: ${ip}, phase: Running}
---
`;
const LISTENER = 'type.googleapis.com/envoy.config.listener.v3.Listener';

interface Rig extends AsyncDisposable {
  readonly plane: ControlPlane;
  svidOf(serviceAccount: string): Promise<Svid>;
}

async function openRig(): Promise<Rig> {
  const owned = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'weft-serve-'));
  owned.defer(() => rm(root, { recursive: true }));
  const manifests = join(root, 'manifests');
  const stateDir = join(root, 'state');
  await mkdir(manifests);
  await writeFile(join(manifests, 'a.yaml'), pod('web', '10.0.0.1') + pod('cart', '10.0.0.2'));
  const local = { host: '127.0.0.1', port: 0 };
  const plane = owned.use(
    await openControlPlane({
      manifests,
      stateDir,
      trustDomain,
      rootNamespace: 'weft-system',
      xds: local,
      enrolment: local,
      admin: local,
      svidTtlMs: 3_600_000,
      dnsNames: [],
      ipAddresses: ['127.0.0.1'],
      version: '1',
      log: pino({ level: 'silent' }),
    }),
  );
  return {
    plane,
    async svidOf(serviceAccount) {
      const { token } = await createJoinToken({ stateDir, namespace: 'shop', serviceAccount });
      const enrolled = await enrol({
        address: plane.addresses.enrolment,
        bundlePem: plane.authority.bundle().pem,
        controlPlane: plane.authority.controlPlaneId,
        evidence: { kind: 'join-token', token },
        expected: { trustDomain, namespace: 'shop', spiffeId: undefined },
        clock: systemClock,
      });
      assert.ok(enrolled.ok, JSON.stringify(enrolled));
      return enrolled.svid;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Outcome = { readonly code: status; readonly details: string } | { readonly names: number };

/** The first that comes of a stream which asks for the inbound listener: an answer, or the error it ends with. */
async function ask(rig: Rig, own: Svid | undefined, node: string): Promise<Outcome> {
  const { authority, addresses } = rig.plane;
  const client: Client = openGrpcJsChannel({
    address: addresses.xds,
    bundlePem: authority.bundle().pem,
    controlPlane: authority.controlPlaneId,
    ...(own !== undefined && { own }),
  });
  const method = serviceDefinition('envoy.service.discovery.v3.AggregatedDiscoveryService')[
    'DeltaAggregatedResources'
  ];
  assert.ok(method !== undefined);
  const call = client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
    method.path,
    method.requestSerialize,
    (bytes) => ({ ...method.responseDeserialize(bytes) }),
    { deadline: Date.now() + 5_000 },
  );
  try {
    return await new Promise<Outcome>((resolve) => {
      call.on('data', ({ resources }: PlainMessage) =>
        resolve({ names: Array.isArray(resources) ? resources.length : 0 }),
      );
      call.on('error', ({ code, details }: ServiceError) => resolve({ code, details }));
      call.write({
        node: { id: node },
        type_url: LISTENER,
        resource_names_subscribe: ['inbound'],
      });
    });
  } finally {
    call.cancel();
    client.close();
  }
}

test('discovery answers a proxy that proves whose Pod it is', async () => {
  await using rig = await openRig();
  assert.deepEqual(await ask(rig, await rig.svidOf('web'), 'web-1.shop'), { names: 1 });
});

test('discovery answers nobody without a certificate, nor with one of another root (CVE-2026-31838)', async () => {
  await using rig = await openRig();
  const uris = ['spiffe://mesh.test/ns/shop/sa/web'];
  const good = await rig.svidOf('web');
  const strangers = [undefined, { ...good, ...createTestPki().issue({ uris }) }];
  for (const own of [...strangers, { ...good, ...selfSigned({ uris }) }]) {
    const outcome = await ask(rig, own, 'web-1.shop');
    assert.ok('code' in outcome, JSON.stringify(outcome));
    assert.equal(outcome.code, status.UNAVAILABLE, outcome.details);
  }
});

const CLAIMS = [
  ["another's Pod", 'cart-1.shop'],
  ['a Pod that is not there', 'web-2.shop'],
  ['a Pod of another namespace', 'web-1.bank'],
  ['nothing', ''],
  ['more than a name can be', 'w'.repeat(10_000)],
  ['something like a path', '../web-1.shop'],
  ['a name of objects', '__proto__.constructor'],
] as const;
test('discovery gives a proxy nothing of a Pod that its certificate is not for (CVE-2021-34824)', async () => {
  await using rig = await openRig();
  const own = await rig.svidOf('web');
  for (const [claim, node] of CLAIMS) {
    const outcome = await ask(rig, own, node);
    assert.ok('code' in outcome, `${claim}: ${JSON.stringify(outcome)}`);
    assert.notEqual(outcome.code, status.DEADLINE_EXCEEDED, claim);
    assert.notEqual(outcome.code, status.INTERNAL, claim);
  }
  assert.deepEqual(rig.plane.ads.sessions(), []);
});
