// What a mesh's operator decides about injection once for all Pods; a Pod's annotations may change part of it.
import type { TrustDomain } from '@weft/model/identity';

export interface InjectionSettings {
  /** Of Weft: written into the Pod, so that Pods of an older template can be told. */
  readonly version: string;
  readonly trustDomain: TrustDomain;
  /** Where the control plane lives; its Pods are never injected. */
  readonly rootNamespace: string;
  readonly sidecarImage: string;
  readonly captureImage: string;
  /** Absent: Kubernetes' default for the image's tag. */
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  /** Quantities as Kubernetes takes them. */
  readonly resources: {
    readonly cpu: string;
    readonly memory: string;
    readonly cpuLimit?: string;
    readonly memoryLimit?: string;
  };
  readonly logLevel: string;
  readonly accessLog: string;
  /** How long requests in flight may take at the end, as the command line takes it: `10s`. */
  readonly drainTime: string;
}

/** The sidecar's user: its own traffic is not redirected, so nothing else may run as it. */
export const SIDECAR_UID = 1337;

export function defaultInjectionSettings(mesh: {
  readonly version: string;
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
}): InjectionSettings {
  return {
    ...mesh,
    sidecarImage: `weft/sidecar:${mesh.version}`,
    captureImage: `weft/capture:${mesh.version}`,
    // A sidecar takes 70 to 100 MB under load (docs/benchmarks.md): room for twice that before it is killed.
    resources: { cpu: '50m', memory: '96Mi', memoryLimit: '256Mi' },
    logLevel: 'info',
    accessLog: 'errors',
    drainTime: '10s',
  };
}

/** Namespaces of Kubernetes itself: a sidecar that cannot start there could keep a cluster from starting. */
const SYSTEM_NAMESPACES: ReadonlySet<string> = new Set([
  'kube-system',
  'kube-public',
  'kube-node-lease',
]);

/** Why no Pod of a namespace is ever injected; absent where Pods may be. */
export function whyNever(namespace: string, settings: InjectionSettings): string | undefined {
  if (SYSTEM_NAMESPACES.has(namespace)) return `${namespace} is a namespace of Kubernetes itself`;
  if (namespace === settings.rootNamespace) return `${namespace} is where the control plane lives`;
  return undefined;
}
