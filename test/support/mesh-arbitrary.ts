// Random objects of a small mesh, in which everything refers to everything: for tests that hold one way of compiling against another.
import { ok } from 'node:assert/strict';
import { DEFAULT_MESH_CONFIG } from '@weft/model/mesh/config';
import { parseFederatedTrustDomain } from '@weft/model/federation/parse-federated-trust-domain';
import type { ObjectMeta, RegistryObject } from '@weft/model/mesh/objects';
import { parseRequestAuthentication } from '@weft/model/policy/parse-request-authentication';
import { SecretText } from '@weft/model/secret-text';
import { parseBasicAuthentication } from '@weft/model/login/parse-basic-authentication';
import { parseTlsTermination } from '@weft/model/tls/parse-tls-termination';
import { parseTrafficPolicy } from '@weft/model/traffic/parse-traffic-policy';
import fc from 'fast-check';
import { keyOf } from './mesh-objects.ts';
import { policyOf } from './policies.ts';

const namespaces = fc.constantFrom('shop', 'bank', 'weft-system');
const names = fc.constantFrom('a', 'b', 'c');
const ips = fc.subarray(['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1'], { maxLength: 2 });
const labels = fc
  .record({ app: fc.option(names, { nil: '' }), tier: fc.constantFrom('', 'front') })
  .map((all) => new Map(Object.entries(all).filter(([, value]) => value !== '')));
const selectors = fc.option(labels, { nil: undefined });

const meta = (own?: fc.Arbitrary<string>): fc.Arbitrary<ObjectMeta> =>
  fc.record({
    namespace: own ?? namespaces,
    name: names,
    labels,
    annotations: fc
      .record({
        inject: fc.constantFrom('', 'false'),
        explain: fc.constantFrom('', 'header', 'nonsense'),
        paths: fc.constantFrom('', 'refuse', 'nonsense'),
        ports: fc.constantFrom('', '8080'),
      })
      .map(
        ({ inject, explain, paths, ports }) =>
          new Map(
            [
              ['weft.dev/inject', inject],
              ['weft.dev/explain-denials', explain],
              ['weft.dev/ambiguous-paths', paths],
              ['weft.dev/exclude-inbound-ports', ports],
            ].filter((pair): pair is [string, string] => pair[1] !== ''),
          ),
      ),
  });

const namedPorts = fc.subarray(
  [
    { name: 'http', port: 8080 },
    { name: 'tcp', port: 9090 },
    { name: 'web', port: 15_001 },
  ],
  { maxLength: 2 },
);

const rarely = fc.integer({ min: 0, max: 4 }).map((n) => n === 0);

const pod = fc
  .record({
    meta: meta(),
    serviceAccount: fc.constantFrom('a', 'b', 'No Account'),
    ips,
    ports: namedPorts,
    isReady: rarely.map((isRare) => !isRare),
    isDeleting: rarely,
    isFinished: rarely,
  })
  .map((of): RegistryObject => ({ kind: 'Pod', ...of }));

const service = fc
  .record({
    meta: meta(),
    selector: selectors,
    clusterIps: fc.subarray(['10.96.0.1', '10.96.0.2']),
    isHeadless: rarely,
    publishesNotReady: rarely,
    ports: fc.subarray(
      [
        { name: 'http', port: 80, targetPort: 8080, appProtocol: undefined },
        { name: 'tcp', port: 80, targetPort: 'tcp', appProtocol: undefined },
        { name: 'grpc', port: 81, targetPort: 8080, appProtocol: 'grpc' },
      ],
      { maxLength: 2 },
    ),
  })
  .map((of): RegistryObject => ({ kind: 'Service', ...of }));

const slice = fc
  .record({
    meta: meta(),
    service: names,
    ports: namedPorts,
    endpoints: fc.array(
      fc.record({
        addresses: ips,
        isReady: rarely.map((isRare) => !isRare),
        isDraining: rarely,
        pod: fc.option(names, { nil: undefined }),
      }),
      { maxLength: 2 },
    ),
  })
  .map((of): RegistryObject => ({ kind: 'EndpointSlice', ...of }));

const specs = [
  { rules: [{ from: [{ source: { namespaces: ['shop'] } }] }] },
  { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/x'], ports: ['8080'] } }] }] },
  { action: 'ALLOW', rules: [{ from: [{ source: { requestPrincipals: ['*'] } }] }] },
  { action: 'CUSTOM', provider: { name: 'authz' }, rules: [{}] },
  { action: 'CUSTOM', provider: { name: 'nobody' }, rules: [{}] },
];

const matching = selectors.map((own) =>
  own === undefined || own.size === 0 ? {} : { selector: { matchLabels: Object.fromEntries(own) } },
);

const authorization = fc.tuple(fc.constantFrom(...specs), matching, names, namespaces).map(
  ([spec, own, name, namespace]): RegistryObject => ({
    kind: 'AuthorizationPolicy',
    policy: policyOf({ ...spec, ...own }, name, namespace),
  }),
);

const modes = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE', undefined);

const peer = fc
  .record({
    namespace: namespaces,
    name: names,
    createdAtMs: fc.integer({ min: 0, max: 3 }),
    selector: selectors,
    mode: modes,
    portModes: modes.map((mode) => new Map([[8080, mode]])),
  })
  .map((policy): RegistryObject => ({ kind: 'PeerAuthentication', policy }));

export const KEYS_URI = 'https://keys.test/jwks';

const tokens = fc
  .tuple(matching, names, namespaces)
  .map(([own, name, namespace]): RegistryObject => {
    const parsed = parseRequestAuthentication({
      apiVersion: 'security.weft.dev/v1',
      kind: 'RequestAuthentication',
      metadata: { name, namespace },
      spec: { jwtRules: [{ issuer: `https://${name}.test`, jwksUri: KEYS_URI }], ...own },
    });
    ok(parsed.ok);
    return { kind: 'RequestAuthentication', policy: parsed.value };
  });

const trafficSpecs = [
  { limits: { maxHeaders: 10 } },
  { throttling: [{ name: 'a', key: ['caller'], requests: 10 }] },
  { retries: { attempts: 1 }, timeouts: { request: '1s' } },
  { circuitBreaking: { maxRequests: 5 }, loadBalancing: { policy: 'RANDOM' } },
];

const traffic = fc
  .record({
    spec: fc.constantFrom(...trafficSpecs),
    target: fc.option(names, { nil: undefined }),
    name: names,
    namespace: namespaces,
  })
  .map(({ spec, target, name, namespace: of }): RegistryObject => {
    const targetRefs =
      target === undefined ? {} : { targetRefs: [{ kind: 'Service', name: target }] };
    const parsed = parseTrafficPolicy({
      apiVersion: 'mesh.weft.dev/v1',
      kind: 'TrafficPolicy',
      metadata: { name, namespace: of },
      spec: { ...spec, ...targetRefs },
    });
    ok(parsed.ok);
    return { kind: 'TrafficPolicy', policy: parsed.value };
  });

const termination = fc
  .record({
    app: fc.option(names, { nil: undefined }),
    ports: fc.option(fc.subarray([80, 8080, 9000], { minLength: 1 }), { nil: undefined }),
    secret: names,
    name: names,
    namespace: namespaces,
  })
  .map(({ app, ports, secret: of, name, namespace: where }): RegistryObject => {
    const parsed = parseTlsTermination({
      apiVersion: 'security.weft.dev/v1',
      kind: 'TlsTermination',
      metadata: { name, namespace: where },
      spec: {
        certificates: [{ secret: of }],
        ...(app !== undefined && { selector: { matchLabels: { app } } }),
        ...(ports !== undefined && { ports }),
      },
    });
    ok(parsed.ok);
    return { kind: 'TlsTermination', policy: parsed.value };
  });

const login = fc
  .record({
    app: fc.option(names, { nil: undefined }),
    secret: names,
    name: names,
    namespace: namespaces,
  })
  .map(({ app, secret: secretName, name, namespace: where }): RegistryObject => {
    const parsed = parseBasicAuthentication({
      apiVersion: 'security.weft.dev/v1',
      kind: 'BasicAuthentication',
      metadata: { name, namespace: where },
      spec: {
        users: { secretName },
        ...(app !== undefined && { selector: { matchLabels: { app } } }),
      },
    });
    ok(parsed.ok);
    return { kind: 'BasicAuthentication', policy: parsed.value };
  });

/** A list of users, or what is none. */
const USERS: ReadonlyMap<string, string> = new Map([
  ['one', 'ann:$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW'],
  ['two', 'ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='],
]);

const secret = fc
  .record({ own: meta(), text: fc.constantFrom('one', 'two') })
  .map(({ own, text }): RegistryObject => {
    const pem = `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
    const values = new Map([
      ['tls.crt', new SecretText(pem)],
      ['tls.key', new SecretText(text)],
      ['auth', new SecretText(USERS.get(text) ?? '')],
    ]);
    return { kind: 'Data', of: 'Secret', meta: own, values };
  });

const broken = fc
  .record({
    of: fc.constantFrom('AuthorizationPolicy' as const, 'RequestAuthentication' as const),
    policy: fc.record({ namespace: namespaces, name: names, action: fc.constant(undefined) }),
    selector: selectors,
  })
  .map((of): RegistryObject => ({ kind: 'BrokenPolicy', ...of }));

const namespace = meta(fc.constant('')).chain((own) =>
  namespaces.map((name): RegistryObject => ({ kind: 'Namespace', meta: { ...own, name } })),
);

const config = fc
  .record({
    pathNormalization: fc.constantFrom('BASE' as const, 'NONE' as const),
    hasProvider: fc.boolean(),
  })
  .map(({ pathNormalization, hasProvider }): RegistryObject => {
    const provider = {
      name: 'authz',
      protocol: 'grpc' as const,
      host: 'a.shop.svc.cluster.local',
      port: 80,
      timeoutMs: 600,
      failOpen: false,
      statusOnError: 403,
      http: undefined,
    };
    const extensionProviders = hasProvider ? [provider] : [];
    const own = { ...DEFAULT_MESH_CONFIG, pathNormalization, extensionProviders };
    return { kind: 'MeshConfig', name: 'mesh', config: own };
  });

/** What one round changes: objects that are there from then on, or gone. */
const external: fc.Arbitrary<RegistryObject> = fc
  .record({
    namespace: namespaces,
    name: names,
    createdAtMs: fc.integer({ min: 0, max: 2 }),
    hosts: fc.subarray(['a.example', 'b.example', 'x.shop.svc'], { minLength: 1 }),
    port: fc.constantFrom(80, 443),
    protocol: fc.constantFrom('http1' as const, 'tcp' as const, 'grpc' as const),
    addresses: fc.constantFrom(undefined, ['203.0.113.7']),
    client: names,
    hasTls: fc.boolean(),
    exportTo: fc.constantFrom(undefined, ['*'], ['shop']),
    allowed: fc.constantFrom(undefined, ['shop'], []),
    isClosed: rarely,
  })
  .map(({ port, protocol, addresses, client, hasTls, allowed, ...rest }) => ({
    kind: 'ExternalService',
    service: {
      ...rest,
      ports: [{ port, protocol, targetPort: port }],
      resolution:
        addresses === undefined
          ? { kind: 'dns', minTtlSeconds: 5, maxTtlSeconds: 300 }
          : { kind: 'static', addresses },
      allowedNetworks: [],
      tls: hasTls
        ? {
            ca: undefined,
            sni: undefined,
            subjectAltNames: undefined,
            client: { kind: 'secret', name: client },
            minVersion: 'TLSv1.2',
          }
        : undefined,
      allowedCallers: allowed && { principals: [], namespaces: allowed },
    },
  }));

/** Also of our own trust domain, outside the root namespace, and two of one. */
const federation: fc.Arbitrary<RegistryObject> = fc
  .record({
    namespace: namespaces,
    name: names,
    trustDomain: fc.constantFrom('cluster.local', 'a.test', 'b.test'),
    host: fc.constantFrom('one.example', 'two.example'),
  })
  .map(({ namespace, name, trustDomain, host }) => {
    const parsed = parseFederatedTrustDomain({
      apiVersion: 'security.weft.dev/v1',
      kind: 'FederatedTrustDomain',
      metadata: { namespace, name },
      spec: { trustDomain, bundleEndpoint: { url: `https://${host}/`, profile: 'https_web' } },
    });
    ok(parsed.ok);
    return { kind: 'FederatedTrustDomain', federation: parsed.value };
  });

export const meshChanges: fc.Arbitrary<readonly (readonly [string, RegistryObject | undefined])[]> =
  fc.array(
    fc
      .tuple(
        fc.oneof(
          { arbitrary: pod, weight: 6 },
          { arbitrary: service, weight: 4 },
          { arbitrary: slice, weight: 2 },
          { arbitrary: authorization, weight: 4 },
          { arbitrary: peer, weight: 2 },
          { arbitrary: tokens, weight: 2 },
          { arbitrary: traffic, weight: 3 },
          { arbitrary: termination, weight: 3 },
          { arbitrary: login, weight: 3 },
          { arbitrary: secret, weight: 2 },
          { arbitrary: external, weight: 3 },
          { arbitrary: broken, weight: 1 },
          { arbitrary: namespace, weight: 2 },
          { arbitrary: config, weight: 1 },
          { arbitrary: federation, weight: 2 },
        ),
        rarely,
      )
      .map(([object, isGone]) => [keyOf(object), isGone ? undefined : object] as const),
    { minLength: 1, maxLength: 6 },
  );
