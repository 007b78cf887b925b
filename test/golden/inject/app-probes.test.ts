// What the injector tells a sidecar of the application's probes is what a sidecar takes: one that it refused would keep the Pod from starting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containersOf } from '@weft/controlplane/inject/pod-shape';
import { rewriteProbes } from '@weft/controlplane/inject/probes';
import { parseAppProbes } from '@weft/dataplane/probe/app-probe';
import fc from 'fast-check';
import { textOfAny } from '../../support/text-arbitraries.ts';

const text = fc.oneof(
  textOfAny({ maxLength: 8 }),
  fc.constantFrom('', '/', '/a b', '/ready?x=1', 'X-A', 'a\r\nb: c', 'http', 'HTTPS'),
);
const number = fc.oneof(fc.integer(), fc.constantFrom(0, 1, 8080, 65_536, 1.5, 100_000));
const any = fc.oneof(text, number, fc.constant(null), fc.constant(undefined));
const mostly = (...good: readonly (string | number | undefined)[]) =>
  fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...good) }, any);
const port = mostly(8080, 'http', 1);
const header = fc.record({ name: any, value: any }, { requiredKeys: [] });
const action = {
  httpGet: fc.record({
    port,
    path: mostly('/', 'ready', undefined),
    scheme: mostly('HTTP', 'HTTPS', undefined),
    host: mostly(undefined),
    httpHeaders: fc.oneof(fc.array(header, { maxLength: 2 }), any),
  }),
  tcpSocket: fc.record({ port }),
  grpc: fc.record({ port, service: any }),
};
const probe = fc.record({ ...action, timeoutSeconds: any }, { requiredKeys: [] });

test('every set of probes that rewriteProbes() makes is read by the sidecar, whatever the Pod says', () => {
  let taken = 0;
  const property = fc.property(fc.array(probe, { minLength: 1, maxLength: 4 }), (probes) => {
    const containers = probes.map((readinessProbe, index) => ({
      name: `c${index}`,
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe,
    }));
    const rewritten = rewriteProbes(containersOf({ containers }), () => false);
    const parsed = parseAppProbes(JSON.stringify(Object.fromEntries(rewritten.probes)));
    assert.deepEqual(parsed.ok ? [] : parsed.problems, []);
    if (parsed.ok) {
      assert.deepEqual([...parsed.value.keys()], [...rewritten.probes.keys()]);
      taken += parsed.value.size;
    }
  });
  fc.assert(property, { numRuns: 500 });
  assert.ok(taken > 200, `${taken}`);
});
