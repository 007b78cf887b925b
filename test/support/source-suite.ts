// What every source owes the mesh, whatever its objects are kept in: one suite, run for folders and for clusters.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Source, SourceState } from '@weft/controlplane/registry/source';
import type { RegistryObject } from '@weft/model/mesh/objects';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: object;
  readonly status?: object;
  readonly [part: string]: unknown;
}

/** Where manifests are kept. Each test has one of its own, and in it a namespace of its own. */
export interface SourcePlace extends AsyncDisposable {
  readonly namespace: string;
  apply(manifest: Manifest): Promise<void>;
  remove(manifest: Manifest): Promise<void>;
  /** The caller disposes of it. */
  open(): Promise<Source>;
}

export interface SourceSuite {
  /** What stands in the tests' names. */
  readonly name: string;
  readonly openPlace: () => Promise<SourcePlace>;
  readonly skip?: string | false;
}

const DEADLINE_MS = 10_000;

/** Waits for a state of which the claim holds, and shows the last one when there is none in time. */
export async function untilState(
  source: Source,
  holds: (state: SourceState) => boolean,
  withinMs = DEADLINE_MS,
): Promise<SourceState> {
  if (holds(source.state)) return source.state;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    const { snapshot, problems } = source.state;
    reject(new Error(`still ${JSON.stringify({ keys: [...snapshot.objects.keys()], problems })}`));
  }, withinMs);
  using _ = source.subscribe(() => {
    if (holds(source.state)) resolve();
  });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
  return source.state;
}

interface Rig {
  readonly place: SourcePlace;
  readonly source: Source;
  readonly meta: (name: string) => { readonly name: string; readonly namespace: string };
  /** The object of that kind and name in the suite's namespace. */
  readonly find: (kind: string, name: string) => RegistryObject | undefined;
  readonly until: (holds: (state: SourceState) => boolean) => Promise<SourceState>;
}

type Claim = (rig: Rig) => Promise<void>;
type Before = (meta: Rig['meta']) => readonly Manifest[];

const core = (kind: string, metadata: Manifest['metadata'], more: object = {}): Manifest => ({
  apiVersion: 'v1',
  kind,
  metadata,
  ...more,
});
const policy = (
  metadata: Manifest['metadata'],
  spec: object,
  kind = 'AuthorizationPolicy',
): Manifest => ({ apiVersion: 'security.weft.dev/v1', kind, metadata, spec });
const ALLOW = { selector: { matchLabels: { app: 'web' } }, rules: [{}] };
const BROKEN = { selector: { matchLabels: { app: 'web' } }, rulez: [{}] };
const ANY_TCP = { port: 80, targetPort: 8080 };

const service = (metadata: Manifest['metadata'], ports: readonly object[]): Manifest =>
  core('Service', metadata, { spec: { selector: { app: 'web' }, ports } });
const pod = (metadata: Manifest['metadata'], isReady = true): Manifest =>
  core('Pod', metadata, {
    spec: {
      serviceAccountName: 'web',
      containers: [{ name: 'app', image: 'app', ports: [{ name: 'http', containerPort: 8080 }] }],
    },
    status: {
      phase: 'Running',
      podIP: '10.244.0.7',
      podIPs: [{ ip: '10.244.0.7' }, { ip: 'fd00::7' }],
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
    },
  });

const codesOf = ({ problems }: SourceState, name: string): readonly string[] =>
  problems.filter(({ object }) => object?.name === name).map(({ code }) => code);

const account: Before = (meta) => [core('ServiceAccount', meta('web'))];

const CLAIMS: readonly (readonly [string, Before, Claim])[] = [
  [
    'gives what was there before it was opened',
    (meta) => [
      ...account(meta),
      service(meta('web'), [ANY_TCP]),
      policy(meta('callers'), ALLOW),
      policy(meta('mutual'), { mtls: { mode: 'STRICT' } }, 'PeerAuthentication'),
      policy(
        meta('tokens'),
        { jwtRules: [{ issuer: 'https://issuer.example', jwks: '{"keys":[]}' }] },
        'RequestAuthentication',
      ),
    ],
    async ({ find, source }) => {
      assert.equal(find('ServiceAccount', 'web')?.kind, 'ServiceAccount');
      assert.equal(find('Service', 'web')?.kind, 'Service');
      assert.equal(find('AuthorizationPolicy', 'callers')?.kind, 'AuthorizationPolicy');
      const mutual = find('PeerAuthentication', 'mutual');
      assert.equal(mutual?.kind === 'PeerAuthentication' && mutual.policy.mode, 'STRICT');
      assert.notEqual(find('RequestAuthentication', 'tokens'), undefined);
      assert.ok(source.state.snapshot.revision > 0);
    },
  ],
  [
    'tells of what is made, changed and removed',
    account,
    async ({ place, find, until, meta }) => {
      await place.apply(policy(meta('p'), ALLOW));
      await until(() => find('AuthorizationPolicy', 'p') !== undefined);
      await place.apply(policy(meta('p'), { ...ALLOW, action: 'DENY' }));
      await until(() => {
        const found = find('AuthorizationPolicy', 'p');
        return found?.kind === 'AuthorizationPolicy' && found.policy.action === 'DENY';
      });
      await place.remove(policy(meta('p'), {}));
      await until(() => find('AuthorizationPolicy', 'p') === undefined);
    },
  ],
  [
    'keeps the objects that did not change, and counts its revisions up',
    account,
    async ({ place, find, until, meta, source }) => {
      const before = source.state.snapshot;
      const kept = find('ServiceAccount', 'web');
      assert.notEqual(kept, undefined);
      await place.apply(service(meta('web'), [ANY_TCP]));
      const { snapshot } = await until(() => find('Service', 'web') !== undefined);
      assert.equal(find('ServiceAccount', 'web'), kept);
      assert.ok(snapshot.revision > before.revision);
      assert.equal(before.objects.get(`Service/${place.namespace}/web`), undefined);
    },
  ],
  [
    'reads ports of a Service by name, number and protocol',
    account,
    async ({ place, find, until, meta }) => {
      const ports = [
        { name: 'http', port: 80, targetPort: 'http', appProtocol: 'http' },
        { name: 'grpc', port: 81, targetPort: 9090, appProtocol: 'grpc' },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ];
      await place.apply(service(meta('web'), ports));
      await until(() => find('Service', 'web') !== undefined);
      const found = find('Service', 'web');
      assert.ok(found?.kind === 'Service');
      assert.deepEqual(found.ports, [
        { name: 'http', port: 80, targetPort: 'http', appProtocol: 'http' },
        { name: 'grpc', port: 81, targetPort: 9090, appProtocol: 'grpc' },
      ]);
      assert.deepEqual(found.selector, new Map([['app', 'web']]));
    },
  ],
  [
    'reads a headless Service, and warns of one that is a name outside',
    account,
    async ({ place, find, until, meta }) => {
      const headless = { clusterIP: 'None', ports: [ANY_TCP], publishNotReadyAddresses: true };
      await place.apply(core('Service', meta('headless'), { spec: headless }));
      const outside = { type: 'ExternalName', externalName: 'example.com' };
      await place.apply(core('Service', meta('outside'), { spec: outside }));
      const state = await until(
        (each) => find('Service', 'headless') !== undefined && codesOf(each, 'outside').length > 0,
      );
      const found = find('Service', 'headless');
      assert.ok(found?.kind === 'Service');
      assert.deepEqual(
        [found.isHeadless, found.publishesNotReady, found.clusterIps],
        [true, true, []],
      );
      assert.deepEqual(codesOf(state, 'outside'), ['external-name']);
      assert.equal(find('Service', 'outside'), undefined);
    },
  ],
  [
    'reads a Pod with its addresses, account, ports and readiness',
    account,
    async ({ place, find, until, meta }) => {
      const labels = { app: 'web' };
      const annotations = { 'weft.dev/inject': 'true' };
      await place.apply(pod({ ...meta('web-0'), labels, annotations }, false));
      const isReady = (value: boolean) => () => {
        const found = find('Pod', 'web-0');
        return found?.kind === 'Pod' && found.ips.length > 0 && found.isReady === value;
      };
      await until(isReady(false));
      const found = find('Pod', 'web-0');
      assert.ok(found?.kind === 'Pod');
      assert.deepEqual(found.ips, ['10.244.0.7', 'fd00::7']);
      assert.equal(found.serviceAccount, 'web');
      assert.deepEqual(found.ports, [{ name: 'http', port: 8080 }]);
      assert.equal(found.meta.labels.get('app'), 'web');
      assert.equal(found.meta.annotations.get('weft.dev/inject'), 'true');
      await place.apply(pod({ ...meta('web-0'), labels, annotations }, true));
      await until(isReady(true));
    },
  ],
  [
    'reads an EndpointSlice with the state of its addresses',
    account,
    async ({ place, find, until, meta }) => {
      await place.apply({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...meta('web-x'), labels: { 'kubernetes.io/service-name': 'web' } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
        endpoints: [
          { addresses: ['10.244.0.7'], targetRef: { kind: 'Pod', name: 'web-0' } },
          {
            addresses: ['10.244.0.8'],
            conditions: { ready: false, serving: true, terminating: true },
          },
        ],
      });
      await until(() => find('EndpointSlice', 'web-x') !== undefined);
      const found = find('EndpointSlice', 'web-x');
      assert.ok(found?.kind === 'EndpointSlice');
      assert.equal(found.service, 'web');
      assert.deepEqual(found.ports, [{ name: 'http', port: 8080 }]);
      assert.deepEqual(found.endpoints, [
        { addresses: ['10.244.0.7'], isReady: true, isDraining: false, pod: 'web-0' },
        { addresses: ['10.244.0.8'], isReady: false, isDraining: true, pod: undefined },
      ]);
    },
  ],
  [
    'keeps the last good version of a policy that breaks, and says so',
    (meta) => [policy(meta('p'), ALLOW)],
    async ({ place, find, until, meta }) => {
      const good = find('AuthorizationPolicy', 'p');
      await place.apply(policy(meta('p'), BROKEN));
      const state = await until((each) => codesOf(each, 'p').length > 0);
      assert.equal(find('AuthorizationPolicy', 'p'), good);
      assert.deepEqual([...codesOf(state, 'p')].sort(), ['last-good-version', 'unknown-field']);
      await place.apply(policy(meta('p'), ALLOW));
      await until((each) => codesOf(each, 'p').length === 0);
      assert.equal(find('AuthorizationPolicy', 'p'), good);
    },
  ],
  [
    'closes what a policy selects that never was good, until it is',
    (meta) => [policy(meta('p'), BROKEN)],
    async ({ place, find, until, meta, source }) => {
      const closed = find('AuthorizationPolicy', 'p');
      assert.ok(closed?.kind === 'BrokenPolicy');
      assert.deepEqual(closed.selector, new Map([['app', 'web']]));
      const codes = [...codesOf(source.state, 'p')].sort();
      assert.deepEqual(codes, ['fails-closed', 'unknown-field']);
      await place.apply(policy(meta('p'), ALLOW));
      await until(() => find('AuthorizationPolicy', 'p')?.kind === 'AuthorizationPolicy');
    },
  ],
  [
    'makes a PeerAuthentication STRICT that never was good',
    (meta) => [policy(meta('p'), { mtlz: { mode: 'PERMISSIVE' } }, 'PeerAuthentication')],
    async ({ find }) => {
      const closed = find('PeerAuthentication', 'p');
      assert.equal(closed?.kind === 'PeerAuthentication' && closed.policy.mode, 'STRICT');
    },
  ],
];

export function testSource({ name, openPlace, skip = false }: SourceSuite): void {
  for (const [claim, before, hold] of CLAIMS) {
    test(`${name} ${claim}`, { skip }, async (t: TestContext) => {
      const place = await openPlace();
      t.after(() => place[Symbol.asyncDispose]());
      const { namespace } = place;
      const meta = (of: string) => ({ name: of, namespace });
      for (const manifest of before(meta)) await place.apply(manifest);
      const source = await place.open();
      t.after(() => source[Symbol.asyncDispose]());
      await hold({
        place,
        source,
        meta,
        find: (kind, of) => source.state.snapshot.objects.get(`${kind}/${namespace}/${of}`),
        until: (holds) => untilState(source, holds),
      });
    });
  }
}
