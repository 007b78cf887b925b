// A control plane's views with a source, a bundle and a clock that tests turn by hand, and a small shop.
import assert from 'node:assert/strict';
import { createMeshViews, type MeshViews } from '@weft/controlplane/compile/mesh-views';
import type { ProxyRef } from '@weft/controlplane/serve/view-source';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@weft/model/identity';
import type { RegistryObject, Snapshot } from '@weft/model/mesh/objects';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import type { ResourceByKind, ResourceKind, ResourceView } from '@weft/xds/resource';
import { authorizationOf, podOf, serviceOf, snapshotOf } from './mesh-objects.ts';

function trustDomain(text: string) {
  const parsed = parseTrustDomain(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

export function idOf(text: string): SpiffeId {
  const parsed = parseSpiffeId(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

export const pemOf = (body: string): string =>
  `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;

/** A source, a bundle and a clock that tests turn by hand. */
export class MeshBench implements Disposable {
  readonly views: MeshViews;
  revisions = 0;
  #snapshot: Snapshot;
  #bundle = { pem: pemOf('one'), version: '1' };
  #onSource: () => void = () => undefined;
  #onBundle: () => void = () => undefined;
  #due: (() => void)[] = [];

  constructor(objects: readonly RegistryObject[]) {
    this.#snapshot = snapshotOf(objects);
    const stateOf = () => ({ snapshot: this.#snapshot, problems: [] });
    const onSource = (listener: () => void): void => void (this.#onSource = listener);
    this.views = createMeshViews({
      source: {
        get state() {
          return stateOf();
        },
        subscribe(listener) {
          onSource(listener);
          return { [Symbol.dispose]: () => undefined };
        },
      },
      trustDomain: trustDomain('cluster.local'),
      rootNamespace: 'weft-system',
      bundle: () => this.#bundle,
      onBundleChange: (listener) => {
        this.#onBundle = listener;
        return { [Symbol.dispose]: () => undefined };
      },
      clock: {
        now: () => 0,
        setTimeout: (run) => {
          this.#due.push(run);
          return { [Symbol.dispose]: () => (this.#due = this.#due.filter((one) => one !== run)) };
        },
      },
    });
    this.views.subscribe(() => this.revisions++);
  }

  change(objects: readonly RegistryObject[]): void {
    this.#snapshot = snapshotOf(objects, this.#snapshot.revision + 1);
    this.#onSource();
  }

  rotate(): void {
    this.#bundle = { pem: pemOf('two'), version: '2' };
    this.#onBundle();
  }

  elapse(): void {
    for (const run of this.#due.splice(0)) run();
  }

  proxy(id: string, serviceAccount: string): ProxyRef {
    const namespace = id.slice(id.lastIndexOf('.') + 1);
    const identity = idOf(`spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`);
    const claim = { id, cluster: '', metadata: new Map(), userAgent: '' };
    const resolved = this.views.resolve(claim, identity);
    assert.ok(resolved.ok, JSON.stringify(resolved));
    return resolved.proxy;
  }

  [Symbol.dispose](): void {
    this.views[Symbol.dispose]();
  }
}

export function decoded<K extends ResourceKind>(
  view: ResourceView,
  kind: K,
  name: string,
): ResourceByKind[K] {
  const resource = view.get(kind, name);
  assert.ok(resource !== undefined, `${kind} ${name} is absent`);
  const read = decodeResource(kind, resource.bytes);
  assert.ok(read.ok, JSON.stringify(read));
  return read.value;
}

export const WEB = podOf('web', { ips: ['10.0.0.1'] });
const CART = podOf('cart', { ips: ['10.0.0.2'] });
export const SHOP: readonly RegistryObject[] = [
  WEB,
  CART,
  serviceOf('web'),
  serviceOf('cart', { clusterIps: ['10.96.0.2'] }),
];
export const allowWeb = authorizationOf(
  {
    selector: { matchLabels: { app: 'cart' } },
    action: 'ALLOW',
    rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] }],
  },
  'allow-web',
);
