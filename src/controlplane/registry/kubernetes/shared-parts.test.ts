import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodObject, ServiceObject } from '@weft/model/mesh/objects';
import { SharedParts } from './shared-parts.ts';

const pod = (name: string, labels: Readonly<Record<string, string>>): PodObject => ({
  kind: 'Pod',
  meta: {
    namespace: 'shop',
    name,
    labels: new Map(Object.entries(labels)),
    annotations: new Map(),
  },
  serviceAccount: 'web',
  ips: ['10.0.0.1'],
  ports: [{ name: 'http', port: 8080 }],
  isReady: true,
  isDeleting: false,
  isFinished: false,
});

test('SharedParts gives replicas the same labels, annotations and ports, and changes none of them', () => {
  const parts = new SharedParts();
  const first = parts.share(pod('a', { app: 'web' }));
  const second = parts.share(pod('b', { app: 'web' }));
  assert.deepEqual(second, pod('b', { app: 'web' }));
  assert.ok(first.kind === 'Pod' && second.kind === 'Pod');
  assert.equal(second.meta.labels, first.meta.labels);
  assert.equal(second.meta.annotations, first.meta.annotations);
  assert.equal(second.ports, first.ports);
});

test('SharedParts keeps what differs apart', () => {
  const parts = new SharedParts();
  parts.share(pod('a', { app: 'web' }));
  const other = pod('b', { app: 'db' });
  assert.deepEqual(parts.share(other), other);
  const none = { ...pod('c', {}), ports: [] };
  assert.deepEqual(parts.share(none), none);
});

test('SharedParts stays sound however many different parts come', () => {
  const parts = new SharedParts();
  for (let index = 0; index < 10_000; index++) {
    const each = pod(`p${index}`, { index: String(index) });
    assert.deepEqual(parts.share(each), each);
  }
});

test('SharedParts knows objects that have no ports of Pods', () => {
  const service: ServiceObject = {
    kind: 'Service',
    meta: pod('a', {}).meta,
    selector: undefined,
    clusterIps: [],
    isHeadless: false,
    publishesNotReady: false,
    ports: [],
  };
  assert.deepEqual(new SharedParts().share(service), service);
});
