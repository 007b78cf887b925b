// Every kind of resource there and back, and what must hold for all of them: same values, same bytes, no throw, no ignoring.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SecretText } from '@weft/model/secret-text';
import fc from 'fast-check';
import { runs } from '../../../test/support/runs.ts';
import { RESOURCES } from '../../../test/support/xds-arbitraries.ts';
import { encodeMessage, type PlainMessage } from '../registry.ts';
import { RESOURCE_ORDER, type ResourceByKind, type ResourceKind } from '../resource.ts';
import { encodeCluster } from './cluster.ts';
import {
  decodeResource,
  encodeResource,
  MAX_RESOURCE_BYTES,
  typeNameOf,
} from './resource-codec.ts';
import { encodeRawBuffer } from './tls.ts';

function roundTrip<K extends ResourceKind>(kind: K, value: ResourceByKind[K]): void {
  const encoded = encodeResource(kind, value);
  const decoded = decodeResource(kind, encoded.bytes);
  assert.deepEqual(decoded, { ok: true, value, problems: [] });
  assert.ok(decoded.ok);
  // A value of its own: made of the bytes, not copied.
  const again = encodeResource(kind, decoded.value);
  assert.deepEqual(again, encoded);
  assert.match(encoded.version, /^[0-9a-f]{16}$/);
}

for (const kind of RESOURCE_ORDER) {
  test(`decodeResource() gives back every ${kind} that encodeResource() writes, and equal values have equal bytes`, () => {
    fc.assert(
      fc.property(RESOURCES[kind], (value) => roundTrip(kind, value)),
      { numRuns: runs(100) },
    );
  });
}

test('decodeResource() never throws on garbage, nor on a resource with bytes changed, cut or added', () => {
  for (const kind of RESOURCE_ORDER) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const { ok, problems } = decodeResource(kind, bytes);
        assert.equal(ok, problems.length === 0);
      }),
    );
    fc.assert(
      fc.property(RESOURCES[kind], fc.nat(), fc.nat(255), fc.nat(), (value, at, byte, cut) => {
        const bytes = Uint8Array.from(encodeBytes(kind, value));
        bytes[at % bytes.length] = byte;
        decodeResource(kind, bytes);
        decodeResource(kind, bytes.subarray(0, cut % bytes.length));
      }),
    );
  }
});

test('decodeResource() refuses every resource with an unknown field: version skew fails closed (CVE-2022-21679)', () => {
  for (const kind of RESOURCE_ORDER) {
    // Field number 2000, a varint.
    const bytes = Uint8Array.from([...encodeBytes(kind, sampleOf(kind)), 0x80, 0x7d, 1]);
    const { problems } = decodeResource(kind, bytes);
    assert.deepEqual(
      problems.map(({ code, message }) => [code, message]),
      [['unknown-field', 'has field number 2000, which is not known']],
    );
  }
});

test('decodeResource() refuses a resource of another kind, or without a name', () => {
  for (const kind of ['cluster', 'endpoints', 'route', 'secret'] as const)
    assert.equal(decodeResource(kind, encodeBytes('listener', sampleOf('listener'))).ok, false);
  for (const kind of RESOURCE_ORDER) assert.equal(decodeResource(kind, new Uint8Array()).ok, false);
  assert.throws(() => encodeResource('route', { name: '', virtualHosts: [] }), /it has no name/);
});

test('decodeResource() refuses more bytes than its bound without looking at them', () => {
  const { ok, problems } = decodeResource('listener', new Uint8Array(MAX_RESOURCE_BYTES + 1));
  assert.equal(ok, false);
  assert.equal(problems[0]?.code, 'too-large');
});

interface Refusal {
  readonly kind: ResourceKind;
  readonly what: string;
  readonly message: PlainMessage;
  readonly problem: string;
}

const address = { address: { socket_address: { address: '10.0.0.1', port_value: 80 } } };
const weight = { load_balancing_weight: { value: 1 } };
const struct = (values: PlainMessage): PlainMessage => ({ fields: values });
const endpoint = (change: PlainMessage): PlainMessage => ({
  cluster_name: 'c',
  endpoints: [{ lb_endpoints: [{ endpoint: address, ...weight, ...change }] }],
});
const route = (change: PlainMessage): PlainMessage => ({
  name: 'r',
  virtual_hosts: [
    {
      name: 'v',
      domains: ['*'],
      routes: [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: {} }, ...change }],
    },
  ],
});
const metadata = (namespace: string, values: PlainMessage): PlainMessage => ({
  metadata: { filter_metadata: { [namespace]: struct(values) } },
});
const good = encodeCluster({
  name: 'c',
  discovery: { kind: 'originalDst' },
  connectTimeoutMs: 1,
  balancing: 'roundRobin',
  protocol: 'http1',
});
const options = 'typed_extension_protocol_options';
const LB = 'endpoints[0].lb_endpoints[0]';
const ROUTE = 'virtual_hosts[0].routes[0]';

const REFUSED: readonly Refusal[] = [
  {
    kind: 'endpoints',
    what: 'a named endpoint',
    message: endpoint({
      endpoint: { address: { socket_address: { address: 'a', port_value: 1 } } },
    }),
    problem: `${LB}.endpoint.address.socket_address.address: is "a", not an IP address`,
  },
  {
    kind: 'endpoints',
    what: 'an endpoint without a weight',
    message: endpoint({ load_balancing_weight: undefined }),
    problem: `${LB}.load_balancing_weight: is missing`,
  },
  {
    kind: 'endpoints',
    what: 'an endpoint of unknown health',
    message: endpoint({ health_status: 'TIMEOUT' }),
    problem: `${LB}.health_status: is TIMEOUT, not one of UNKNOWN, HEALTHY, DRAINING, UNHEALTHY`,
  },
  {
    kind: 'endpoints',
    what: 'an unknown tlsMode',
    message: endpoint(
      metadata('envoy.transport_socket_match', { tlsMode: { stringValue: 'istio' } }),
    ),
    problem: `${LB}.metadata.filter_metadata["envoy.transport_socket_match"]: is not known here`,
  },
  {
    kind: 'endpoints',
    what: 'a label that is no text',
    message: endpoint(metadata('weft.dev', { identity: { numberValue: 1 } })),
    problem: `${LB}.metadata.filter_metadata["weft.dev"].fields["identity"].numberValue: is set, and has no meaning here`,
  },
  {
    kind: 'endpoints',
    what: 'an unknown label',
    message: endpoint(metadata('weft.dev', { zone: { stringValue: 'a' } })),
    problem: `${LB}.metadata.filter_metadata["weft.dev"]: is not known here`,
  },
  {
    kind: 'endpoints',
    what: 'metadata of others',
    message: endpoint(metadata('istio', {})),
    problem: `${LB}.metadata.filter_metadata["istio"]: is not known here`,
  },
  {
    kind: 'route',
    what: 'a virtual host without domains',
    message: { name: 'r', virtual_hosts: [{ name: 'v' }] },
    problem: 'virtual_hosts[0].domains: is missing',
  },
  {
    kind: 'route',
    what: 'a route that matches nothing known',
    message: route({ match: {} }),
    problem: `${ROUTE}.match: sets none of the known kinds of path_specifier`,
  },
  {
    kind: 'route',
    what: 'a prefix that is no path',
    message: route({ match: { prefix: 'x' } }),
    problem: `${ROUTE}.match.prefix: is "x", not a path`,
  },
  {
    kind: 'route',
    what: 'a route without a timeout',
    message: route({ route: { cluster: 'c' } }),
    problem: `${ROUTE}.route.timeout: is missing`,
  },
  {
    kind: 'route',
    what: 'a route without a cluster',
    message: route({ route: { timeout: {} } }),
    problem: `${ROUTE}.route: sets none of the known kinds of cluster_specifier`,
  },
  {
    kind: 'route',
    what: 'retries of what has reached the application',
    message: route({
      route: {
        cluster: 'c',
        timeout: {},
        retry_policy: { retry_on: '5xx', num_retries: { value: 1 } },
      },
    }),
    problem: `${ROUTE}.route.retry_policy.retry_on: is "5xx", not connect-failure,refused-stream`,
  },
  {
    kind: 'route',
    what: 'retries on what it does not know',
    message: route({
      route: {
        cluster: 'c',
        timeout: {},
        retry_policy: {
          retry_on: '5xx,envoy-ratelimited',
          num_retries: { value: 1 },
          retry_back_off: { base_interval: { seconds: 1 }, max_interval: { seconds: 1 } },
        },
      },
    }),
    problem: `${ROUTE}.route.retry_policy.retry_on: names "envoy-ratelimited"`,
  },
  {
    kind: 'route',
    what: 'a hash of what it does not know',
    message: route({
      route: { cluster: 'c', timeout: {}, hash_policy: [{ terminal: true }] },
    }),
    problem: `${ROUTE}.route.hash_policy[0]: sets none of the known kinds of policy_specifier|${ROUTE}.route.hash_policy[0].terminal: is set, and has no meaning here`,
  },
  {
    kind: 'cluster',
    what: 'limits of two priorities',
    message: { ...good, circuit_breakers: { thresholds: [{}, {}] } },
    problem: 'circuit_breakers.thresholds: must be one, of the default priority',
  },
  {
    kind: 'secret',
    what: 'no bundle',
    message: { name: 's' },
    problem: ': sets none of the known kinds of type|validation_context: is missing',
  },
  {
    kind: 'secret',
    what: 'an empty bundle',
    message: { name: 's', validation_context: { trusted_ca: { inline_string: '' } } },
    problem: 'validation_context.trusted_ca.inline_string: holds no PEM of the kind that is meant',
  },
  {
    kind: 'secret',
    what: 'a bundle with more than roots',
    message: {
      name: 's',
      validation_context: {
        trusted_ca: { inline_string: '-----BEGIN CERTIFICATE-----' },
        match_typed_subject_alt_names: [{}],
      },
    },
    problem: 'validation_context.match_typed_subject_alt_names: is set, and has no meaning here',
  },
  {
    kind: 'cluster',
    what: 'a kind of discovery that is not known',
    message: { ...good, type: 'LOGICAL_DNS' },
    problem:
      'type: is LOGICAL_DNS, not one of EDS, STATIC, ORIGINAL_DST, STRICT_DNS|lb_policy: is CLUSTER_PROVIDED, not one of ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH',
  },
  {
    kind: 'cluster',
    what: 'a balancing that is not known',
    message: {
      ...good,
      type: 'EDS',
      eds_cluster_config: {
        service_name: 's',
        eds_config: { ads: {}, resource_api_version: 'V3' },
      },
      lb_policy: 'MAGLEV',
    },
    problem: 'lb_policy: is MAGLEV, not one of ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH',
  },
  {
    kind: 'cluster',
    what: 'no protocol',
    message: { ...good, [options]: {} },
    problem: `${options}["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]: is missing`,
  },
  {
    kind: 'cluster',
    what: 'transport sockets of which it knows none',
    message: { ...good, transport_socket_matches: [{ name: 'x', match: {} }] },
    problem: 'transport_socket_matches[0].name: is "x", which is not known here',
  },
  {
    kind: 'cluster',
    what: 'plaintext alone among its transport sockets',
    message: {
      ...good,
      transport_socket_matches: [
        { name: 'plaintext', match: {}, transport_socket: encodeRawBuffer() },
      ],
    },
    problem: 'transport_socket_matches: must be mesh and plaintext',
  },
];

for (const { kind, what, message, problem } of REFUSED) {
  test(`decodeResource() refuses ${kind} with ${what}`, () => {
    const { problems } = decodeResource(kind, encodeMessage(typeNameOf(kind), message));
    const found = problems.map(({ field, message }) => `${field ?? ''}: ${message}`);
    assert.deepEqual(found.join('|').split('|'), problem.split('|'));
  });
}

for (const name of ['ROOTCA', 'default']) {
  test(`decodeResource() refuses a private key by the mesh's own name ${name}, and repeats nothing of it`, () => {
    const bytes = encodeMessage(typeNameOf('secret'), {
      name,
      tls_certificate: {
        certificate_chain: { inline_string: '-----BEGIN CERTIFICATE-----' },
        private_key: { inline_string: '-----BEGIN PRIVATE KEY-----' },
      },
    });
    const { ok, problems } = decodeResource('secret', bytes);
    assert.equal(ok, false);
    assert.ok(!JSON.stringify(problems).includes('PRIVATE'));
    const pair = {
      name,
      certificatePem: '-----BEGIN CERTIFICATE-----',
      keyPem: new SecretText('-----BEGIN PRIVATE KEY-----'),
    };
    assert.throws(() => encodeResource('secret', pair), /no key travels/);
  });
}

test('encodeResource() throws for a bundle that holds no certificate', () => {
  assert.throws(
    () => encodeResource('secret', { name: 'ROOTCA', trustedCaPem: '' }),
    /no certificate/,
  );
});

test('encodeResource() sorts endpoints and policies: equal sets have equal versions', () => {
  fc.assert(
    fc.property(RESOURCES.endpoints, (value) => {
      const reversed = { ...value, endpoints: [...value.endpoints].reverse() };
      assert.deepEqual(encodeResource('endpoints', reversed), encodeResource('endpoints', value));
    }),
  );
});

test('encodeResource() gives the endpoints of a static cluster with mutual TLS the metadata that chooses it', () => {
  const meshTls = {
    sni: '',
    alpn: ['weft'],
    certificateSecret: 'default',
    validationSecret: 'ROOTCA',
    peerUris: ['spiffe://td/ns/a/sa/b'],
  };
  const endpoints = [{ address: '10.0.0.1', port: 80 }];
  const message = encodeCluster({
    name: 'c',
    discovery: { kind: 'static', endpoints },
    connectTimeoutMs: 1,
    balancing: 'roundRobin',
    protocol: 'http1',
    meshTls,
  });
  const plain = {
    load_assignment: { cluster_name: 'c', endpoints: [{ lb_endpoints: [{ endpoint: address }] }] },
  };
  const { problems } = decodeResource(
    'cluster',
    encodeMessage(typeNameOf('cluster'), { ...message, ...plain }),
  );
  assert.equal(problems[0]?.field, 'load_assignment.endpoints[0].lb_endpoints[0].metadata');
  assert.equal(decodeResource('cluster', encodeMessage(typeNameOf('cluster'), message)).ok, true);
});

function encodeBytes<K extends ResourceKind>(kind: K, value: ResourceByKind[K]): Uint8Array {
  return encodeResource(kind, value).bytes;
}

function sampleOf<K extends ResourceKind>(kind: K): ResourceByKind[K] {
  const arbitrary: fc.Arbitrary<ResourceByKind[K]> = RESOURCES[kind];
  const [value] = fc.sample(arbitrary, { numRuns: 1, seed: 1 });
  return value!;
}
