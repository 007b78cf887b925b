// Random Pods that an API server takes, with settings on both sides of what policies ask for.
import type { PlainObject } from '@weft/model/policy/reader';
import fc from 'fast-check';

/** A field that is there or not: half of the time it is not. */
const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> =>
  fc.option(fc.constantFrom(...values), { nil: undefined });

const often = <T>(wanted: T, others: readonly (T | undefined)[]): fc.Arbitrary<T | undefined> =>
  fc.oneof(
    { arbitrary: fc.constant<T | undefined>(wanted), weight: 8 },
    { arbitrary: fc.constantFrom(...others), weight: 1 },
  );

/** Without what is absent, and without mappings that are empty for it. */
function pruned(owner: Readonly<Record<string, unknown>>): PlainObject | undefined {
  const entries = Object.entries(owner).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

const seLinuxOptions = fc
  .record({
    type: often<string>('container_t', [undefined, 'container_engine_t', 'spc_t', '']),
    user: often<string | undefined>(undefined, ['system_u', '']),
    role: often<string | undefined>(undefined, ['sysadm_r']),
  })
  .map(pruned);

const profile = (types: readonly string[]): fc.Arbitrary<PlainObject | undefined> =>
  often<string | undefined>('RuntimeDefault', [undefined, ...types]).map((type) =>
    type === undefined
      ? undefined
      : { type, ...(type === 'Localhost' && { localhostProfile: 'a' }) },
  );
const PROFILES = ['Unconfined', 'Localhost'];

const shared = {
  runAsNonRoot: often<boolean>(true, [undefined, false]),
  runAsUser: often<number | undefined>(undefined, [0, 1000]),
  seccompProfile: profile(PROFILES),
  appArmorProfile: often<PlainObject | undefined>(undefined, [
    { type: 'RuntimeDefault' },
    { type: 'Unconfined' },
  ]),
  seLinuxOptions: fc.option(seLinuxOptions, { nil: undefined, freq: 3 }),
};

const capabilities = fc
  .record({
    drop: often<string[]>(['ALL'], [undefined, ['NET_RAW'], ['NET_RAW', 'ALL'], []]),
    add: often<string[] | undefined>(undefined, [
      ['NET_BIND_SERVICE'],
      ['CHOWN'],
      ['NET_ADMIN', 'CHOWN'],
      ['SYS_ADMIN'],
      [],
    ]),
  })
  .map(pruned);

const containerContext = fc
  .record({
    ...shared,
    readOnlyRootFilesystem: often<boolean>(true, [undefined, false]),
    privileged: often<boolean | undefined>(undefined, [false, true]),
    allowPrivilegeEscalation: often<boolean>(false, [undefined, true]),
    capabilities: fc.option(capabilities, { nil: undefined, freq: 8 }),
    procMount: often<string | undefined>(undefined, ['Default', 'Unmasked']),
  })
  .map((context) =>
    // The API server takes neither with privilege, or with escalation forbidden.
    context.privileged === true || context.capabilities?.['add']?.toString().includes('SYS_ADMIN')
      ? { ...context, allowPrivilegeEscalation: undefined }
      : context,
  )
  .map(pruned);

const probe = maybe([
  { httpGet: { path: '/', port: 8080 } },
  { httpGet: { path: '/', port: 8080, host: '10.0.0.1' } },
  { tcpSocket: { port: 8080, host: 'db' } },
]);

const resources = maybe([
  { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  { limits: { cpu: '1', memory: '64Mi' } },
  { requests: { cpu: '10m' } },
]);

const containerOf = (name: string, volumes: readonly string[]): fc.Arbitrary<PlainObject> =>
  fc
    .record({
      securityContext: fc.option(containerContext, { nil: undefined, freq: 12 }),
      ports: often<PlainObject[] | undefined>(undefined, [
        [{ containerPort: 8080 }],
        [{ containerPort: 8080, hostPort: 8080 }, { containerPort: 9090 }],
      ]),
      ...(name.startsWith('app') && { livenessProbe: probe }),
      resources,
      volumeMounts: fc
        .array(fc.record({ name: fc.constantFrom(...volumes, ''), readOnly: fc.boolean() }), {
          maxLength: 2,
        })
        .map((mounts) =>
          mounts.flatMap((mount, index) =>
            volumes.includes(mount.name) ? [{ ...mount, mountPath: `/m${index}` }] : [],
          ),
        ),
    })
    .map((fields) => ({ name, image: 'example.test/app:1', ...pruned(fields) }));

const VOLUMES: readonly PlainObject[] = [
  { emptyDir: {} },
  {},
  { configMap: { name: 'c' } },
  { hostPath: { path: '/var/log/pods' } },
  { hostPath: { path: '/var/logs' } },
  { hostPath: { path: '/' } },
  { nfs: { server: 's', path: '/' } },
  { secret: { secretName: 's' } },
];

const podContext = fc
  .record({
    ...shared,
    sysctls: often<PlainObject[] | undefined>(undefined, [
      [{ name: 'net.ipv4.tcp_syncookies', value: '1' }],
      [{ name: 'net.ipv4.tcp_rmem', value: '1 2 3' }],
      [{ name: 'kernel.msgmax', value: '1' }],
    ]),
  })
  .map(pruned);

const podSpec = fc
  .array(fc.constantFrom(...VOLUMES), { maxLength: 2 })
  .chain((sources) => {
    const volumes = sources.map((source, index) => ({ name: `v${index}`, ...source }));
    const names = volumes.map(({ name }) => name);
    return fc.record({
      volumes: fc.constant(volumes.length === 0 ? undefined : volumes),
      containers: fc.oneof(
        fc.tuple(containerOf('app', names)),
        fc.tuple(containerOf('app', names), containerOf('app-2', names)),
      ),
      initContainers: fc.option(fc.tuple(containerOf('init', names)), { nil: undefined }),
      securityContext: fc.option(podContext, { nil: undefined, freq: 6 }),
      hostNetwork: often<boolean | undefined>(undefined, [false, true]),
      hostPID: often<boolean | undefined>(undefined, [true]),
      hostIPC: often<boolean | undefined>(undefined, [true]),
      hostUsers: often<boolean | undefined>(undefined, [false, true]),
      automountServiceAccountToken: often<boolean>(false, [undefined, true]),
    });
  })
  .map((spec) => pruned(spec) ?? {});

const annotations = often<PlainObject | undefined>(undefined, [
  { 'container.apparmor.security.beta.kubernetes.io/app': 'runtime/default' },
  { other: 'x' },
]);
const labels = maybe([{ app: 'web' }, { app: 'other' }]);

/** Whole but for its namespace. A part of them is refused by the API server for what they ask together. */
export const podArbitrary: fc.Arbitrary<PlainObject> = fc
  .record({ spec: podSpec, annotations, labels })
  .map(({ spec, ...metadata }) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', ...pruned(metadata) },
    spec,
  }));
