// What WEFT_APP_PROBES may say: everything in it is known, or the sidecar does not start.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAppProbes } from './app-probe.ts';

const parse = (value: unknown) => parseAppProbes(JSON.stringify(value));

test('parseAppProbes() reads each kind of probe, with the defaults of Kubernetes', () => {
  const parsed = parse({
    'app/readiness': {
      http: {
        scheme: 'HTTPS',
        port: 8443,
        path: '/ok?a=b',
        headers: [{ name: 'X-A', value: '1' }],
      },
      timeoutSeconds: 3,
    },
    'app/liveness': { http: { port: 80, host: '' } },
    'db/startup': { tcp: { port: 5432 }, timeoutSeconds: 1 },
    'rpc/liveness': { grpc: { port: 9000, service: 'shop.Prices' } },
  });
  assert.ok(parsed.ok);
  assert.deepEqual(
    [...parsed.value],
    [
      [
        'app/readiness',
        {
          kind: 'http',
          scheme: 'HTTPS',
          port: 8443,
          path: '/ok?a=b',
          headers: [{ name: 'X-A', value: '1' }],
          timeoutMs: 3_000,
        },
      ],
      [
        'app/liveness',
        { kind: 'http', scheme: 'HTTP', port: 80, path: '/', headers: [], timeoutMs: 1_000 },
      ],
      ['db/startup', { kind: 'tcp', port: 5432, timeoutMs: 1_000 }],
      ['rpc/liveness', { kind: 'grpc', port: 9000, service: 'shop.Prices', timeoutMs: 1_000 }],
    ],
  );
});

test('parseAppProbes() writes a path as it may stand in a request', () => {
  const parsed = parse({ 'a/startup': { http: { port: 1, path: '/é x%20y#top' } } });
  assert.ok(parsed.ok);
  const probe = parsed.value.get('a/startup');
  assert.ok(probe?.kind === 'http');
  assert.equal(probe.path, '/%C3%A9%20x%20y');
});

test('parseAppProbes() names the probe and what is wrong with it, for every one', () => {
  const http = { port: 80 };
  const cases: readonly (readonly [RegExp, unknown])[] = [
    [/no JSON object/, []],
    [/a: is no CONTAINER/, { a: { http } }],
    [/a\/preStop: is no CONTAINER/, { 'a/preStop': { http } }],
    [/a\/b\/liveness: is no CONTAINER/, { 'a/b/liveness': { http } }],
    [/exactly one/, { 'a/startup': {} }],
    [/exactly one/, { 'a/startup': { http, tcp: http } }],
    [/exactly one/, { 'a/startup': { http: 80 } }],
    [/exec is not known/, { 'a/startup': { http, exec: {} } }],
    [/verify is not known/, { 'a/startup': { http: { port: 80, verify: true } } }],
    [/timeoutSeconds/, { 'a/startup': { http, timeoutSeconds: 0 } }],
    [/timeoutSeconds/, { 'a/startup': { http, timeoutSeconds: '1' } }],
    [/port/, { 'a/startup': { tcp: { port: 65_536 } } }],
    [/port/, { 'a/startup': { grpc: { port: 'http' } } }],
    [/service/, { 'a/startup': { grpc: { port: 1, service: 1 } } }],
    [/scheme/, { 'a/startup': { http: { port: 80, scheme: 'http' } } }],
    [/begin with/, { 'a/startup': { http: { port: 80, path: 'x' } } }],
    [/another address/, { 'a/startup': { http: { port: 80, host: '10.0.0.1' } } }],
    [/no list/, { 'a/startup': { http: { port: 80, headers: {} } } }],
    [/\{name, value\}/, { 'a/startup': { http: { port: 80, headers: [{ name: 'a' }] } } }],
    [
      /characters that no header/,
      { 'a/startup': { http: { port: 80, headers: [{ name: 'a', value: 'b\r\nc: d' }] } } },
    ],
    [
      /256 are the most/,
      Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`c${i}/startup`, { http }])),
    ],
  ];
  for (const [expected, value] of cases) {
    const parsed = parse(value);
    assert.ok(!parsed.ok, JSON.stringify(value));
    assert.match(parsed.problems.join('\n'), expected);
  }
  const two = parse({ 'a/startup': {}, 'b/startup': {} });
  assert.equal(two.ok ? 0 : two.problems.length, 2);
  assert.ok(!parseAppProbes('{').ok);
});
