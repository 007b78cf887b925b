// Traffic all the time while Pods come, go and are replaced, and roots too: not one request fails.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { meshNodeMissing, type MeshNode, startMeshNode } from '../node/mesh-node.ts';
import { LOOPS, openShop, pricesPod, type Shop, SHOP } from '../node/shop.ts';
import { readCalls } from '../node/traffic.ts';
import { eventually } from '../support/lab-wait.ts';

const skip = await meshNodeMissing();

interface Trust {
  readonly phase: string;
  readonly observedRotate: string;
  readonly roots: readonly { readonly fingerprint: string; readonly subject: string }[];
}

/** 2 s: callers know long before that an endpoint is going. */
const LAME_DUCK_MS = 2_000;

suite('traffic while a cluster changes', { skip: skip ?? false }, () => {
  let mesh: MeshNode;
  let shop: Shop;
  before(async () => {
    mesh = await startMeshNode({ values: ['ca.svidTtl=60s', 'ca.rotationGrace=2s'] });
    shop = await openShop(mesh, { lameDuckMs: LAME_DUCK_MS });
  });
  after(() => mesh[Symbol.asyncDispose]());

  const trustBundle = async (): Promise<Trust> => {
    const { status } = JSON.parse(await mesh.kubectl('get', 'trustbundle', 'weft', '-o=json'));
    return status;
  };

  test('a root gives way to another, in every Pod, and fails no request', async () => {
    const calls = await shop.traffic();
    const {
      roots: [old],
    } = await trustBundle();
    await mesh.kubectl(
      'patch',
      'trustbundle',
      'weft',
      '--type=merge',
      '-p={"spec":{"rotate":"now"}}',
    );
    const trust = await eventually(
      async () => {
        const now = await trustBundle();
        return now.observedRotate === 'now' && now.phase === 'stable' && now;
      },
      { what: 'another root alone', withinMs: 90_000, everyMs: 200 },
    );
    assert.equal(trust.roots.length, 1);
    assert.notEqual(trust.roots[0]?.fingerprint, old?.fingerprint);
    await calls.neverFailed();
    const [, generation = ''] = /Weft root (\d+)-/.exec(trust.roots[0]?.subject ?? '') ?? [];
    for (const app of ['prices', 'loops', 'web']) {
      for (const pod of await shop.podsOf(app)) {
        const { certificate, roots } = await shop.certsOf(pod);
        const issuer = certificate.chain.at(-1)?.subject ?? '';
        assert.ok(issuer.includes(`Weft issuing CA ${generation}-`), `${pod}: ${issuer}`);
        assert.deepEqual(
          roots.map(({ fingerprint256 }) => fingerprint256),
          [trust.roots[0]?.fingerprint],
        );
      }
    }
  });

  test('scaling up and down fails no request', async () => {
    const calls = await shop.traffic();
    for (const replicas of [4, 1, 2]) {
      const before = await shop.podsOf('prices');
      await mesh.kubectl('scale', 'deployment/prices', '-n', SHOP, `--replicas=${replicas}`);
      await mesh.rolledOut(SHOP, 'prices');
      await eventually(async () => (await shop.podsOf('prices')).length === replicas, {
        what: `${replicas} Pods`,
        withinMs: 30_000,
      });
      const left = await shop.podsOf('prices');
      await shop.areGone(
        'prices',
        before.filter((pod) => !left.includes(pod)),
      );
    }
    await calls.neverFailed();
  });

  test('a rolling update of the called application fails no request when it goes on for a while after SIGTERM', async () => {
    const calls = await shop.traffic();
    const before = await shop.podsOf('prices');
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', SHOP);
    await mesh.rolledOut(SHOP, 'prices');
    await shop.areGone('prices', before);
    await calls.neverFailed();
  });

  test('a rolling update of the called application fails no request when it stops listening at SIGTERM', async () => {
    const calls = await shop.traffic();
    const before = await shop.podsOf('prices');
    const template = { spec: pricesPod(0) };
    const patch = `-p=${JSON.stringify({ spec: { template } })}`;
    await mesh.kubectl('patch', 'deployment', 'prices', '-n', SHOP, patch);
    const abrupt = await mesh.rolledOut(SHOP, 'prices');
    await shop.areGone('prices', before);
    await mesh.kubectl('rollout', 'restart', 'deployment/prices', '-n', SHOP);
    await mesh.rolledOut(SHOP, 'prices');
    await shop.areGone('prices', abrupt);
    await calls.neverFailed();
  });

  test('an application that is started again in its Pod fails no request: until it listens, other Pods get them', async () => {
    const calls = await shop.traffic();
    const [pod = ''] = await shop.podsOf('prices');
    await Promise.all(['http', 'grpc'].map((name) => shop.end(pod, name, 'SIGTERM')));
    await calls.neverFailed();
  });

  test('a rolling update of the caller fails none of its requests, from the first to the last', async () => {
    const [old = ''] = await shop.podsOf('loops');
    const calls = await shop.traffic(old);
    await mesh.kubectl('rollout', 'restart', 'deployment/loops', '-n', SHOP);
    const [now = ''] = await mesh.rolledOut(SHOP, 'loops');
    await shop.areGone('loops', [old]);
    await shop.traffic(now);
    const logOf = (pod: string, name: string): string => mesh.node.logs(`${SHOP}/${pod}`, name);
    for (const { kind } of LOOPS) {
      const all = [...(calls.since().get(kind) ?? []), ...readCalls(logOf(now, kind))];
      const failed = all.filter(({ isOk }) => !isOk);
      assert.deepEqual(failed, [], kind);
      assert.match(logOf(old, kind).slice(-100), /"good":\d+,"bad":\d+\}\n$/, 'it ended by itself');
    }
  });
});
