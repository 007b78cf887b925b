// A client of the control plane that asks for everything and never reads must cost the others nothing, and little memory.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { openGrpcJsChannel } from '../support/grpc-js-channel.ts';
import { enrol } from '@weft/dataplane/enrol/enrolment-client';
import { systemClock } from '@weft/model/clock';
import { parseTrustDomain, spiffeIdOf } from '@weft/model/identity';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import { call, startHttpApp } from '../support/lab-clients.ts';
import { podYaml, policyYaml, serviceYaml } from '../support/lab-manifests.ts';
import { type Lab, startLab } from '../support/lab.ts';

const SERVICES = 500;
const EDITS = 20;
const REQUESTS = 3_000;
const LAZY_STREAMS = 3;
/** Less than the 45 s after which who reads nothing is dropped, and holds up nobody any more. */
const HELD_UP_MS = 40_000;

/** Opens streams as the Pod lazy-0, subscribes to everything, asks on and on, and never reads an answer. */
async function openLazyStreams(lab: Lab): Promise<Disposable> {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const bundlePem = await readFile(lab.bundle, 'utf8');
  const controlPlane = spiffeIdOf({
    trustDomain,
    namespace: 'weft-system',
    serviceAccount: 'weft-control-plane',
  });
  const enrolled = await enrol({
    address: lab.addresses.enrolment,
    bundlePem,
    controlPlane,
    evidence: { kind: 'join-token', token: await lab.token('lazy') },
    expected: { trustDomain, namespace: 'shop', spiffeId: undefined },
    clock: systemClock,
  });
  assert.ok(enrolled.ok);
  const own = enrolled.svid;
  const client = openGrpcJsChannel({ address: lab.addresses.xds, bundlePem, controlPlane, own });
  const method = serviceDefinition('envoy.service.discovery.v3.AggregatedDiscoveryService')[
    'DeltaAggregatedResources'
  ];
  assert.ok(method !== undefined);
  const streams = Array.from({ length: LAZY_STREAMS }, () => {
    const stream = client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
      method.path,
      method.requestSerialize,
      (bytes) => ({ ...method.responseDeserialize(bytes) }),
    );
    // Without a `data` listener nothing is read, and HTTP/2 flow control closes.
    stream.on('error', () => {});
    for (const type_url of [TYPE_URLS.cluster, TYPE_URLS.listener]) {
      stream.write({ node: { id: 'lazy-0.shop' }, type_url, resource_names_subscribe: ['*'] });
    }
    for (let index = 0; index < REQUESTS; index++) {
      const resource_names_subscribe = [`outbound|80||s${index % SERVICES}.shop.svc.cluster.local`];
      stream.write({ type_url: TYPE_URLS.endpoints, resource_names_subscribe });
    }
    return stream;
  });
  return {
    [Symbol.dispose]: () => {
      for (const stream of streams) stream.cancel();
      client.close();
    },
  };
}

const memoryOf = async (pid: number): Promise<number> => {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) * 1_024;
};

test('a client that asks for everything and never reads does not hold up policies of others', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const services = Array.from({ length: SERVICES }, (_, index) =>
    serviceYaml({ name: `s${index}`, ports: [{ name: 'http', port: 80, targetPort: 80 }] }),
  );
  await lab.write('many.yaml', ...services);
  await lab.write('lazy.yaml', podYaml({ name: 'lazy-0', ip: lab.nextIp(), ports: [] }));
  const web = await lab.startSidecar({
    pod: 'web-0',
    inbound: { 8080: app.address },
    service: [{ name: 'http', port: 80, targetPort: 8080 }],
  });
  const client = await lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] });
  const via = client.via('web.shop:80');
  assert.equal((await call(via, '/')).status, 200);
  const before = await memoryOf(lab.controlPlane.pid);

  using _lazy = await openLazyStreams(lab);
  for (let edit = 0; edit < EDITS; edit++) {
    const path = `/closed-${edit}`;
    const rules = `[{to: [{operation: {paths: ["${path}"]}}]}]`;
    await lab.write('many.yaml', ...services.slice(edit % 2));
    await lab.write(
      'p.yaml',
      policyYaml({ name: `closed-${edit}`, action: 'DENY', app: 'web', rules }),
    );
    await lab.enforced(`closed-${edit}`, HELD_UP_MS);
    assert.equal((await call(via, path)).status, 403);
  }
  const grown = (await memoryOf(lab.controlPlane.pid)) - before;
  assert.ok(grown < 256 * 1_024 * 1_024, `the control plane grew by ${grown} bytes`);
  assert.ok(web.daemon.isRunning && lab.controlPlane.isRunning);
});
