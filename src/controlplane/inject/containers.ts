// What injection puts into a Pod: the sidecar, the step that turns traffic to it, and their volumes. Each with no more rights than it needs.
import { REGION_LABEL, ZONE_LABEL } from '@weft/model/mesh/locality';
import type { PlainObject } from '@weft/model/policy/reader';
import { SIDECAR_PORTS } from './annotation-values.ts';
import type { PodAnnotations } from './annotations.ts';
import {
  CREDENTIALS_VOLUME,
  credentialsFlags,
  credentialsVolumes,
  sidecarMounts,
} from './credentials-volume.ts';
import {
  ENVOY_RESOURCES,
  ENVOY_VOLUME,
  envoyFlags,
  envoyMounts,
  envoyVolumes,
  hasEnvoy,
} from './envoy-parts.ts';
import {
  AGENT_RESOURCES,
  GRPC_VOLUME,
  grpcFlags,
  grpcMounts,
  grpcUser,
  grpcVolumes,
  hasNoProxy,
} from './grpc-parts.ts';
import type { AppProbe } from './probes.ts';
import { type InjectionSettings, SIDECAR_UID } from './settings.ts';
import {
  WORKLOAD_API_VOLUME,
  workloadApiFlags,
  workloadApiMounts,
  workloadApiVolumes,
} from './workload-api-volume.ts';

export const SIDECAR_NAME = 'weft-sidecar';
export const CAPTURE_NAME = 'weft-capture';
const TOKEN_VOLUME = 'weft-token';
const BUNDLE_VOLUME = 'weft-bundle';
const NO_API_TOKEN_VOLUME = 'weft-no-api-token';

const TOKEN_FOLDER = '/var/run/secrets/weft';
const BUNDLE_FOLDER = '/var/run/weft/bundle';
/** Where Kubernetes puts a token for its API into every container that has nothing mounted there. */
const API_TOKEN_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

export const TOKEN_AUDIENCE = 'weft-ca';
const TOKEN_SECONDS = 3_600;
export const BUNDLE_CONFIG_MAP = 'weft-trust-bundle';
export const CONTROL_PLANE_SERVICE = 'weft-control-plane';
const XDS_PORT = 15_012;
const ENROLMENT_PORT = 15_013;

/** How long the application waits for a classic sidecar before the container counts as failed, and is started anew. */
const HOLD = '60s';
/** One try a second: a Pod may wait this long for the control plane before its sidecar is started anew. */
const STARTUP_TRIES = 600;

export interface InjectedParts {
  /** Absent where something else sets the redirect, or nothing is redirected. */
  readonly capture: PlainObject | undefined;
  readonly sidecar: PlainObject;
  readonly volumes: readonly PlainObject[];
}

export interface PartsInput {
  readonly settings: InjectionSettings;
  readonly asked: PodAnnotations;
  /** Of the Pod, without anything of Weft's. */
  readonly spec: PlainObject;
  readonly probes: ReadonlyMap<string, AppProbe>;
}

export const buildParts = (input: PartsInput): InjectedParts => ({
  capture:
    input.asked.capture === 'none' || hasNoProxy(input.asked) ? undefined : buildCapture(input),
  sidecar: buildSidecar(input),
  volumes: [
    ...volumes(),
    ...credentialsVolumes(input.asked),
    ...workloadApiVolumes(input.asked),
    ...envoyVolumes(input.asked),
    ...grpcVolumes(input.asked),
  ],
});

/** Nothing of the Pod's own security context reaches these containers but what is not named here. */
const locked = (user: PlainObject, capabilities: PlainObject): PlainObject => ({
  ...user,
  privileged: false,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities,
  seccompProfile: { type: 'RuntimeDefault' },
});

const imageOf = (image: string, { imagePullPolicy }: InjectionSettings): PlainObject =>
  imagePullPolicy === undefined ? { image } : { image, imagePullPolicy };

/** Where the token for Kubernetes' API would be is an empty folder: neither container has a use for it. */
const noApiToken: PlainObject = {
  name: NO_API_TOKEN_VOLUME,
  mountPath: API_TOKEN_FOLDER,
  readOnly: true,
};

function buildCapture({ settings, asked }: PartsInput): PlainObject {
  const flags = (name: string, values: readonly (string | number)[] | undefined): string[] =>
    (values ?? []).flatMap((value) => [name, String(value)]);
  return {
    name: CAPTURE_NAME,
    ...imageOf(settings.captureImage, settings),
    args: [
      'capture',
      'apply',
      '--proxy-uid',
      String(SIDECAR_UID),
      ...flags('--exclude-inbound-port', asked.excludeInboundPorts),
      ...flags('--exclude-outbound-port', asked.excludeOutboundPorts),
      ...flags('--exclude-cidr', asked.excludeOutboundCidrs),
    ],
    resources: {
      requests: { cpu: '10m', memory: '32Mi' },
      limits: { memory: '128Mi' },
    },
    securityContext: locked(
      { runAsUser: 0, runAsGroup: 0, runAsNonRoot: false },
      { drop: ['ALL'], add: ['NET_ADMIN'] },
    ),
    volumeMounts: [noApiToken],
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

function buildSidecar(input: PartsInput): PlainObject {
  const { settings, asked } = input;
  const isClassic = asked.sidecarMode === 'classic';
  return {
    name: SIDECAR_NAME,
    ...imageOf(hasEnvoy(asked) ? settings.envoyImage : settings.sidecarImage, settings),
    ...(isClassic
      ? {
          lifecycle: { postStart: { exec: { command: ['weft', 'ready', '--wait', HOLD] } } },
        }
      : { restartPolicy: 'Always' }),
    args: sidecarArgs(input),
    env: sidecarEnv(input),
    ports: [{ name: 'weft-metrics', containerPort: SIDECAR_PORTS.metrics, protocol: 'TCP' }],
    ...sidecarProbes(asked),
    resources: sidecarResources(settings, asked),
    securityContext: locked(sidecarUser(input), { drop: ['ALL'] }),
    volumeMounts: [
      { name: TOKEN_VOLUME, mountPath: TOKEN_FOLDER, readOnly: true },
      { name: BUNDLE_VOLUME, mountPath: BUNDLE_FOLDER, readOnly: true },
      noApiToken,
      ...sidecarMounts(asked),
      ...workloadApiMounts(asked),
      ...envoyMounts(asked),
      ...grpcMounts(asked),
    ],
    // What the sidecar said last is what `kubectl describe pod` shows first.
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

/** Its own, that of no application; without a proxy the application's: what it writes is for that user. */
function sidecarUser({ asked, spec }: PartsInput): PlainObject {
  const uid = hasNoProxy(asked) ? (grpcUser(asked, spec) ?? SIDECAR_UID) : SIDECAR_UID;
  return { runAsUser: uid, runAsGroup: uid, runAsNonRoot: uid !== 0 };
}

function sidecarArgs({ settings, asked, spec }: PartsInput): readonly string[] {
  const host = `${CONTROL_PLANE_SERVICE}.${settings.rootNamespace}.svc`;
  const isProxy = !hasNoProxy(asked);
  const accessLog = ['--access-log', asked.accessLog ?? settings.accessLog] as const;
  const flags: readonly (readonly [string, string])[] = [
    ['--service-account-token-file', `${TOKEN_FOLDER}/token`],
    ['--bundle', `${BUNDLE_FOLDER}/bundle.pem`],
    ['--enrolment', `${host}:${ENROLMENT_PORT}`],
    ['--xds', `${host}:${XDS_PORT}`],
    ['--trust-domain', settings.trustDomain],
    ['--root-namespace', settings.rootNamespace],
    ['--probes', `[::]:${SIDECAR_PORTS.probes}`],
    ['--metrics', `[::]:${SIDECAR_PORTS.metrics}`],
    ['--log-level', asked.logLevel ?? settings.logLevel],
    ...(isProxy ? [accessLog] : []),
    ['--drain-limit', asked.drainTime?.text ?? settings.drainTime],
    ...credentialsFlags(asked, spec),
    ...workloadApiFlags(asked, spec),
    ...envoyFlags(asked),
    ...grpcFlags(asked),
  ];
  return ['sidecar', ...(isProxy ? ['--transparent'] : []), ...flags.flat()];
}

function sidecarEnv({ probes }: PartsInput): readonly PlainObject[] {
  const field = (name: string, fieldPath: string): PlainObject => ({
    name,
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
  });
  const env = [
    field('WEFT_POD', 'metadata.name'),
    field('WEFT_NAMESPACE', 'metadata.namespace'),
    field('WEFT_POD_IP', 'status.podIP'),
    // Of Kubernetes 1.35 and later; empty where nobody has set them.
    field('WEFT_REGION', `metadata.labels['${REGION_LABEL}']`),
    field('WEFT_ZONE', `metadata.labels['${ZONE_LABEL}']`),
  ];
  if (probes.size === 0) return env;
  const value = JSON.stringify(Object.fromEntries(probes));
  // A name in round brackets after a dollar sign would be replaced by Kubernetes; two dollar signs stand for one.
  return [...env, { name: 'WEFT_APP_PROBES', value: value.replaceAll('$', '$$$$') }];
}

function sidecarProbes(asked: PodAnnotations): PlainObject {
  const { probes, captureProof } = SIDECAR_PORTS;
  const get = (path: string, port: number): PlainObject => ({
    httpGet: { path, port, scheme: 'HTTP' },
  });
  return {
    startupProbe: {
      ...get('/healthz/ready', probes),
      periodSeconds: 1,
      timeoutSeconds: 3,
      failureThreshold: STARTUP_TRIES,
    },
    readinessProbe: {
      // Arrives only where inbound traffic is turned to the sidecar: the kubelet itself proves it, again and again.
      ...get('/healthz/ready', hasNoProxy(asked) ? probes : captureProof),
      periodSeconds: 5,
      timeoutSeconds: 3,
      failureThreshold: 3,
    },
    livenessProbe: {
      ...get('/healthz/live', probes),
      periodSeconds: 10,
      timeoutSeconds: 3,
      failureThreshold: 3,
    },
  };
}

/** Before the Pod's own word. */
export const defaultResources = (
  { resources }: InjectionSettings,
  asked: PodAnnotations,
): InjectionSettings['resources'] => ({
  ...resources,
  ...(hasEnvoy(asked) && ENVOY_RESOURCES),
  ...(hasNoProxy(asked) && AGENT_RESOURCES),
});

function sidecarResources(settings: InjectionSettings, asked: PodAnnotations): PlainObject {
  const resources = defaultResources(settings, asked);
  const cpuLimit = asked.sidecarCpuLimit?.text ?? resources.cpuLimit;
  const memoryLimit = asked.sidecarMemoryLimit?.text ?? resources.memoryLimit;
  const limits = {
    ...(cpuLimit === undefined ? {} : { cpu: cpuLimit }),
    ...(memoryLimit === undefined ? {} : { memory: memoryLimit }),
  };
  const requests = {
    cpu: asked.sidecarCpu?.text ?? resources.cpu,
    memory: asked.sidecarMemory?.text ?? resources.memory,
  };
  return Object.keys(limits).length === 0 ? { requests } : { requests, limits };
}

/** Default modes are written out, as the API server would: a Pod read back equals the Pod sent. */
const volumes = (): readonly PlainObject[] => [
  {
    name: TOKEN_VOLUME,
    projected: {
      defaultMode: 0o644,
      sources: [
        {
          serviceAccountToken: {
            audience: TOKEN_AUDIENCE,
            expirationSeconds: TOKEN_SECONDS,
            path: 'token',
          },
        },
      ],
    },
  },
  { name: BUNDLE_VOLUME, configMap: { name: BUNDLE_CONFIG_MAP, defaultMode: 0o644 } },
  { name: NO_API_TOKEN_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
];

/** Names that only injection may use. */
export const RESERVED_CONTAINERS: readonly string[] = [CAPTURE_NAME, SIDECAR_NAME];
export const RESERVED_VOLUMES: readonly string[] = [
  TOKEN_VOLUME,
  BUNDLE_VOLUME,
  NO_API_TOKEN_VOLUME,
  CREDENTIALS_VOLUME,
  WORKLOAD_API_VOLUME,
  ENVOY_VOLUME,
  GRPC_VOLUME,
];
