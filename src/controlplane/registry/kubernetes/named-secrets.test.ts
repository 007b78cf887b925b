// Secrets that objects of a cluster name: followed as long as one does, and no others.
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { CONFIG_MAPS, SECRETS } from '@weft/kube/resource';
import { parseExternalService } from '@weft/model/egress/parse-external-service';
import { createMemoryKube } from '@weft/kube/testing/memory-kube';
import { systemClock } from '@weft/model/clock';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import { PersistentMap } from '../persistent-map.ts';
import type { SourceState } from '../source.ts';
import type { KubernetesSource } from './kubernetes-source.ts';
import { withNamedSecrets } from './named-secrets.ts';

function termination(secret: string): RegistryObject {
  const parsed = parseTlsTermination({
    apiVersion: 'security.weft.dev/v1',
    kind: 'TlsTermination',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { certificates: [{ secret }] },
  });
  assert.ok(parsed.ok);
  return { kind: 'TlsTermination', policy: parsed.value };
}

const secret = (name: string, namespace = 'shop') => ({
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'kubernetes.io/tls',
  metadata: { name, namespace },
  data: { 'tls.crt': btoa(`certificate of ${name}`), 'tls.key': btoa('key') },
});

async function rig(first?: RegistryObject) {
  const kube = createMemoryKube();
  kube.put(SECRETS, secret('one'));
  let objects = PersistentMap.from<RegistryObject>(
    first === undefined ? [] : [['TlsTermination/shop/web', first]],
  );
  let told: () => void = () => undefined;
  const stateOf = (): SourceState => ({ snapshot: { revision: 1, objects }, problems: [] });
  const base: KubernetesSource = {
    get state() {
      return stateOf();
    },
    staleSinceMs: undefined,
    subscribe(listener) {
      told = listener;
      return { [Symbol.dispose]: () => undefined };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const source = await withNamedSecrets(base, {
    client: kube,
    clock: systemClock,
    random: () => 0,
  });
  const put = (object: RegistryObject | undefined): void => {
    objects = objects.with([['TlsTermination/shop/web', object]]);
    told();
  };
  const names = (): readonly string[] =>
    [...source.state.snapshot.objects.keys()]
      .filter((key) => key.startsWith('Secret/') || key.startsWith('ConfigMap/'))
      .sort();
  const until = async (expected: readonly string[]): Promise<void> => {
    const deadline = AbortSignal.timeout(5_000);
    while (names().join() !== expected.join()) {
      deadline.throwIfAborted();
      await nextTurn();
    }
  };
  return { kube, source, put, until };
}

test('withNamedSecrets() has the Secrets that objects name, and lets go of those that none names', async () => {
  const { kube, source, put, until } = await rig();
  await using _ = source;
  kube.put(SECRETS, secret('two'));
  kube.put(SECRETS, secret('one', 'pay'));
  put(termination('one'));
  await until(['Secret/shop/one']);
  const before = source.state.snapshot.revision;
  put(termination('two'));
  await until(['Secret/shop/two']);
  assert.ok(source.state.snapshot.revision > before);
  kube.remove(SECRETS, 'two', 'shop');
  await until([]);
  put(undefined);
  for (const { namespace } of kube.calls) assert.equal(namespace, 'shop');
});

test('withNamedSecrets() shows no value to whoever looks at the snapshot', async () => {
  const { source, put, until } = await rig();
  await using _ = source;
  put(termination('one'));
  await until(['Secret/shop/one']);
  const found = source.state.snapshot.objects.get('Secret/shop/one');
  assert.ok(found?.kind === 'Data');
  assert.equal(found.values.get('tls.crt')?.reveal(), 'certificate of one');
  assert.ok(!JSON.stringify([...found.values]).includes('certificate of one'));
});

test('withNamedSecrets() has them in its first state: a control plane that starts takes nothing from anybody', async () => {
  const { source } = await rig(termination('one'));
  await using _ = source;
  assert.ok(source.state.snapshot.objects.has('Secret/shop/one'));
});

test('withNamedSecrets() has the ConfigMaps that roots of hosts outside are in, as they are now, and no others', async () => {
  const { kube, source, put, until } = await rig();
  await using _ = source;
  const roots = (pem: string, name = 'roots') => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'shop' },
    data: { 'ca.crt': pem },
  });
  kube.put(CONFIG_MAPS, roots('one'));
  kube.put(CONFIG_MAPS, roots('not for us', 'other'));
  const parsed = parseExternalService({
    apiVersion: 'mesh.weft.dev/v1',
    kind: 'ExternalService',
    metadata: { name: 'pay', namespace: 'shop' },
    spec: {
      hosts: ['api.pay.example'],
      ports: [{ number: 80, protocol: 'HTTP' }],
      tls: { ca: { configMap: { name: 'roots' } } },
    },
  });
  assert.ok(parsed.ok);
  put({ kind: 'ExternalService', service: parsed.value });
  await until(['ConfigMap/shop/roots']);
  const found = source.state.snapshot.objects.get('ConfigMap/shop/roots');
  assert.ok(found?.kind === 'Data' && found.of === 'ConfigMap');
  assert.equal(found.values.get('ca.crt')?.reveal(), 'one');
  kube.remove(CONFIG_MAPS, 'roots', 'shop');
  await until([]);
});
