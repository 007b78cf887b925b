// What Weft sends of CUSTOM, dry run, refused paths and denial answers, in force in a real Envoy: it takes all of it, and does what the sidecar does.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createChainParts } from '@weft/controlplane/resources/inbound-chains';
import { parseTrustDomain } from '@weft/model/identity';
import { parseHtpasswd } from '@weft/model/login/htpasswd';
import type { WorkloadLogin } from '@weft/model/login/types';
import { DEFAULT_MESH_CONFIG } from '@weft/model/mesh/config';
import type { InboundSpec } from '@weft/model/mesh/mesh';
import { AMBIGUOUS_PATHS } from '@weft/model/policy/ambiguous-path';
import { clusterOfProvider, type ExtAuthzProvider } from '@weft/model/policy/ext-authz';
import { parseAuthorizationPolicy } from '@weft/model/policy/parse-authorization-policy';
import type { AuthorizationPolicy } from '@weft/model/policy/types';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage } from '@weft/xds/registry';
import type { Listener } from '@weft/xds/resources/listener';
import { TYPE_URLS } from '@weft/xds/resource';
import { findEnvoy } from '../bench/peers/envoy-binary.ts';
import type { Endpoint } from '../bench/peers/envoy-config.ts';
import { freeEndpoint, startEnvoy } from '../bench/peers/envoy.ts';
import { startGrpcAuthorizer, startHttpAuthorizer } from '../support/lab-authorizers.ts';
import { call, splitAddress, startHttpApp } from '../support/lab-clients.ts';

const found = await findEnvoy();
const skip = found.ok ? false : `no Envoy: ${found.reason}`;

function policy(
  name: string,
  spec: object,
  annotations: Readonly<Record<string, string>> = {},
): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop', annotations },
    spec,
  });
  assert.ok(parsed.ok, JSON.stringify(parsed.problems));
  return parsed.value;
}

const toPaths = (...paths: readonly string[]): object => ({ to: [{ operation: { paths } }] });

function specOf(more: Partial<InboundSpec>): InboundSpec {
  const trustDomain = parseTrustDomain('cluster.local');
  assert.ok(trustDomain !== undefined);
  const { trustDomainAliases: _none, ...settings } = DEFAULT_MESH_CONFIG;
  return {
    namespace: 'shop',
    serviceAccount: 'web',
    mode: 'PERMISSIVE',
    ports: [],
    policies: [],
    broken: [],
    settings: {
      ...settings,
      trustDomain,
      trustDomainAliases: [],
      rootNamespace: 'weft-system',
      clusterDomain: 'cluster.local',
    },
    ...more,
  };
}

interface Upstream {
  readonly name: string;
  readonly address: string;
  readonly isHttp2?: boolean;
}

/** An Envoy with the plaintext chain of a workload's HTTP port. */
async function startFront(spec: InboundSpec, upstreams: readonly Upstream[]) {
  assert.ok(found.ok);
  const folder = await mkdtemp(join(tmpdir(), 'weft-filters-'));
  const [at, admin] = [await freeEndpoint(), await freeEndpoint()];
  const listener: Listener = {
    name: 'inbound',
    address: { address: at.host, port: at.port },
    direction: 'inbound',
    bindToPort: true,
    inspectors: [],
    inspectTimeoutMs: 1_000,
    filterChains: [
      {
        name: 'plain',
        match: { destinationRanges: [], applicationProtocols: [], serverNames: [] },
        filters: createChainParts(spec).http('plain', { port: at.port, cluster: 'app' }),
      },
    ],
  };
  const resource = {
    type_url: TYPE_URLS.listener,
    value: encodeResource('listener', listener).bytes,
  };
  const response = { version_info: '1', resources: [resource], type_url: TYPE_URLS.listener };
  const file = join(folder, 'lds.pb');
  await writeFile(file, encodeMessage('envoy.service.discovery.v3.DiscoveryResponse', response));
  const config = JSON.stringify({
    node: { id: 'web-0.shop', cluster: 'shop' },
    admin: { address: socket(admin) },
    dynamic_resources: {
      lds_config: { path_config_source: { path: file }, resource_api_version: 'V3' },
    },
    static_resources: { clusters: upstreams.map(clusterOf) },
  });
  const envoy = await startEnvoy({ binary: found.path, name: 'filters', folder, config, admin });
  return {
    address: `${at.host}:${at.port}`,
    stats: async (filter: string): Promise<string> =>
      (await call(`${admin.host}:${admin.port}`, `/stats?filter=${filter}`)).body,
    async [Symbol.asyncDispose]() {
      await envoy[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const socket = ({ host, port }: Endpoint) => ({
  socket_address: { address: host, port_value: port },
});

const HTTP2 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http2_protocol_options: {} },
  },
};

const clusterOf = ({ name, address, isHttp2 }: Upstream) => ({
  name,
  type: 'STATIC',
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(splitAddress(address)) } }] }],
  },
  ...(isHttp2 === true && { typed_extension_protocol_options: HTTP2 }),
});

const provider = (more: Partial<ExtAuthzProvider>): ExtAuthzProvider => ({
  name: 'my-authz',
  protocol: 'grpc',
  host: 'authz.shop.svc.cluster.local',
  port: 9000,
  timeoutMs: 2_000,
  failOpen: false,
  statusOnError: 503,
  http: undefined,
  ...more,
});

const ASK = policy('ask', {
  action: 'CUSTOM',
  provider: { name: 'my-authz' },
  rules: [toPaths('/asked*')],
});

test('Envoy asks an authorizer over HTTP about what CUSTOM rules match alone', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  await using authz = await startHttpAuthorizer((asked, response) => {
    const isGood = asked.headers.get('x-token')?.join().includes('good') === true;
    if (isGood) response.setHeader('x-user', 'ann').writeHead(200).end();
    else response.writeHead(401, { 'www-authenticate': 'Basic' }).end('log in first');
  });
  const exact = (value: string) => [{ kind: 'exact', value, ignoreCase: true } as const];
  const http = {
    pathPrefix: '/check',
    requestHeaders: exact('x-token'),
    additionalHeaders: [['x-from', 'weft']] as const,
    toUpstreamOnAllow: exact('x-user'),
    toDownstreamOnDeny: exact('x-reason'),
  };
  const declared = provider({ protocol: 'http', http });
  await using front = await startFront(specOf({ policies: [ASK], authorizers: [declared] }), [
    { name: 'app', address: app.address },
    { name: clusterOfProvider(declared), address: authz.address },
  ]);
  assert.equal((await call(front.address, '/open')).status, 200);
  assert.equal(authz.asked.length, 0);
  const headers = { 'x-token': ['bad', 'good'], 'x-from': 'client', 'x-other': 'o' };
  assert.equal((await call(front.address, '/asked/a?q=1', { headers })).status, 200);
  const [asked] = authz.asked;
  assert.equal(asked?.path, '/check/asked/a?q=1');
  assert.deepEqual(asked.headers.get('x-from'), ['weft']);
  assert.equal(asked.headers.get('x-other'), undefined);
  assert.equal(asked.headers.get('x-token')?.join(), 'bad,good', 'CVE-2021-32777');
  const refused = await call(front.address, '/asked/b');
  assert.deepEqual([refused.status, refused.body], [401, 'log in first']);
});

test('Envoy asks an authorizer over gRPC, and answers as it was told when nobody answers', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const authz = await startGrpcAuthorizer(({ attributes }) => {
    const isGood = attributes.request.http.headers['x-token'] === 'good';
    return { status: { code: isGood ? 0 : 7 } };
  });
  try {
    await using front = await startFront(specOf({ policies: [ASK], authorizers: [provider({})] }), [
      { name: 'app', address: app.address },
      { name: clusterOfProvider(provider({})), address: authz.address, isHttp2: true },
    ]);
    const statusOf = async (path: string, token: string): Promise<number> =>
      (await call(front.address, path, { headers: { 'x-token': token } })).status;
    assert.equal(await statusOf('/asked', 'good'), 200);
    assert.equal(await statusOf('/asked', 'bad'), 403);
    assert.equal(await statusOf('/open', 'bad'), 200);
    await authz[Symbol.asyncDispose]();
    assert.equal(await statusOf('/asked', 'good'), 503);
    assert.equal(await statusOf('/open', 'good'), 200);
  } finally {
    await authz[Symbol.asyncDispose]();
  }
});

test('Envoy counts what policies on trial would refuse, and refuses nobody for them', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const trial = { 'istio.io/dry-run': 'true' };
  const policies = [
    policy('tried', { action: 'DENY', rules: [toPaths('/admin')] }, trial),
    policy('watch', { action: 'AUDIT', rules: [{}] }),
  ];
  await using front = await startFront(specOf({ policies }), [
    { name: 'app', address: app.address },
  ]);
  assert.equal((await call(front.address, '/admin')).status, 200);
  assert.equal((await call(front.address, '/else')).status, 200);
  const stats = await front.stats('weft_dry_run');
  assert.match(stats, /weft_dry_run_deny_\.shadow_denied: 1/);
  assert.match(stats, /weft_dry_run_deny_\.shadow_allowed: 1/);
});

test('Envoy refuses ambiguous paths with 400, and answers refusals as their policies want it', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const denial = { 'weft.dev/denial-status': '404', 'weft.dev/denial-body': 'no such page' };
  const policies = [
    policy('closed', { action: 'DENY', rules: [toPaths('/closed')] }, denial),
    policy('hidden', { action: 'DENY', rules: [toPaths('/hidden')] }),
    policy('open', { rules: [toPaths('/open', '/closed')] }, { 'weft.dev/denial-body': 'ask us' }),
  ];
  const explained = new Map([['shop', 'header' as const]]);
  const paths = { normalization: 'BASE', refused: AMBIGUOUS_PATHS } as const;
  await using front = await startFront(specOf({ policies, explained, paths }), [
    { name: 'app', address: app.address },
  ]);
  const told = async (path: string) => {
    const { status, body, headers } = await call(front.address, path);
    return [status, body, headers['x-weft-denied-by']];
  };
  const by = (rule: string): string => `rbac_access_denied_matched_policy[${rule}]`;
  const rule = (name: string): string => by(`ns[shop]-policy[${name}]-rule[0]`);
  assert.equal((await told('/open'))[0], 200);
  assert.deepEqual(await told('/closed'), [404, 'no such page', rule('closed')]);
  assert.deepEqual(await told('/hidden'), [403, 'RBAC: access denied', rule('hidden')]);
  assert.deepEqual(await told('/else'), [403, 'ask us', by('none')]);
  for (const path of ['/open;x', '/a%2Fb', '/a%5cb', '//open']) {
    assert.deepEqual((await told(path))[0], 400, path);
  }
});

test('Envoy refuses encoded slashes also where it decodes them, and writes problem documents', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const policies = [policy('open', { rules: [toPaths('/open')] })];
  const explained = new Map([['shop', 'problem' as const]]);
  const paths = { normalization: 'DECODE_AND_MERGE_SLASHES', refused: AMBIGUOUS_PATHS } as const;
  await using front = await startFront(specOf({ policies, explained, paths }), [
    { name: 'app', address: app.address },
  ]);
  assert.equal((await call(front.address, '/x%2f..%2fopen')).status, 400);
  const { status, headers, body } = await call(front.address, '/else');
  assert.deepEqual([status, headers['content-type']], [403, 'application/problem+json']);
  assert.deepEqual(JSON.parse(body), {
    type: 'about:blank',
    title: 'Access denied',
    status: 403,
    detail: 'RBAC: access denied',
    policy: 'rbac_access_denied_matched_policy[none]',
  });
});

test('Envoy, which knows no bcrypt, takes a login and lets nothing through but its exempt paths', {
  skip,
}, async () => {
  await using app = await startHttpApp();
  const hash = '$2b$08$sF6CQ9vo13WtOVejO94sZu3g6gF98XAcUHeRS6ieQCIGs1KygdlcW';
  const { users } = parseHtpasswd(`ann:${hash}`);
  const login: WorkloadLogin = {
    source: 'shop/login',
    users,
    realm: 'Restricted',
    exemptPaths: ['/healthz', '/public/*'],
    keepsCredential: false,
    allowsPlaintext: false,
  };
  const headers = { authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` };
  const upstreams = [{ name: 'app', address: app.address }];
  {
    await using front = await startFront(specOf({ login }), upstreams);
    assert.equal((await call(front.address, '/healthz')).status, 200);
    assert.equal((await call(front.address, '/public/a')).status, 200);
    assert.equal((await call(front.address, '/')).status, 403);
    assert.equal(
      (await call(front.address, '/', { headers })).status,
      403,
      'never less than asked',
    );
  }
  await using closed = await startFront(
    specOf({ login: { ...login, exemptPaths: [] } }),
    upstreams,
  );
  assert.equal((await call(closed.address, '/healthz', { headers })).status, 403);
});
