// CVE-2022-21679: whatever a newer control plane says anywhere in a resource and this program does not know refuses the resource, and is named.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatProblem } from '@weft/model/problem';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { alterations } from '../../../test/support/unknown-things.ts';
import { RESOURCES } from '../../../test/support/xds-arbitraries.ts';
import { messageType } from '../registry.ts';
import { RESOURCE_ORDER } from '../resource.ts';
import { decodeResource, encodeResource, typeNameOf } from './resource-codec.ts';

/** Of what an Envoy is told in place of a filter of Weft's own, it is enough that it is not the same. */
const TWINS = 'has filters for Envoys that are not those of its own filters';
const named = (what: string): string => {
  if (what.endsWith(': a field')) return 'has field number 19000, which is not known';
  return what.endsWith(': a type') ? 'weft.later.v9.Restriction' : 'is 99, not one of ';
};

/** Places that the arbitrary resources must at least reach: a generator that makes nothing would prove nothing. */
const LEAST_PLACES = { cluster: 50, endpoints: 8, listener: 150, route: 10, secret: 4 } as const;

for (const kind of RESOURCE_ORDER) {
  test(`CVE-2022-21679: a ${kind} that says anywhere what is not known, a field, a type or a value, is refused with what and where`, () => {
    const places = new Set<string>();
    fc.assert(
      fc.property(RESOURCES[kind], (value) => {
        const { bytes } = encodeResource(kind, value);
        for (const { what, bytes: altered } of alterations(messageType(typeNameOf(kind)), bytes)) {
          places.add(what);
          const decoded = decodeResource(kind, altered);
          assert.ok(!decoded.ok, `${what}: it was taken`);
          const said = decoded.problems.map(formatProblem);
          const isNamed = said.some((text) => text.includes(named(what)) || text.includes(TWINS));
          assert.ok(isNamed, `${what}: ${said.join('; ')}`);
        }
      }),
      { numRuns: runs(12) },
    );
    assert.ok(places.size >= LEAST_PLACES[kind], `${places.size} places`);
  });
}
