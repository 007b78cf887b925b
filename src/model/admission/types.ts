// What a WorkloadPolicy asks of Pods and of what makes them, once it was read: plain and immutable.

import type { ImagesSection } from './image-types.ts';
import type { VulnerabilitiesSection } from './vulnerability-types.ts';

/** Where Pods come from: themselves, and the workloads that keep a template of them. */
export const WORKLOAD_KINDS = [
  'Pod',
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ReplicaSet',
  'ReplicationController',
  'Job',
  'CronJob',
  'PodTemplate',
] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

/** `audit` writes down, `warn` tells whoever asks, `enforce` refuses. */
export const ADMISSION_MODES = ['audit', 'warn', 'enforce'] as const;
export type AdmissionMode = (typeof ADMISSION_MODES)[number];

/** What of a Pod's fields can be asked for; the name of each is the one by which exemptions and refusals mean it. */
export const POD_CHECKS = [
  'runAsNonRoot',
  'runAsUser',
  'readOnlyRootFilesystem',
  'privileged',
  'allowPrivilegeEscalation',
  'capabilities',
  'hostNamespaces',
  'hostPorts',
  'hostPaths',
  'hostProbes',
  'volumeTypes',
  'seccomp',
  'appArmor',
  'seLinux',
  'procMount',
  'sysctls',
  'windowsHostProcess',
  'resources',
  'automountServiceAccountToken',
] as const;
export type PodCheckId = (typeof POD_CHECKS)[number];

/** Which workloads a policy is for. What is absent does not narrow it. */
export interface WorkloadMatch {
  readonly kinds: readonly WorkloadKind[];
  /** Of the Pods, all of them. */
  readonly labels: ReadonlyMap<string, string>;
  /** Of a ClusterWorkloadPolicy alone. Absent: all but those that are always left alone. */
  readonly namespaces: readonly string[] | undefined;
  readonly notNamespaces: readonly string[];
  readonly namespaceLabels: ReadonlyMap<string, string>;
}

/** Whom a policy does not hold for, why, and how long. All that is set must be so. */
export interface Exemption {
  readonly namespaces: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly serviceAccounts: readonly string[];
  /** Who asks, as the API server knows them. */
  readonly users: readonly string[];
  readonly groups: readonly string[];
  /** Empty: all of them. */
  readonly checks: readonly string[];
  readonly reason: string;
  readonly expiresAtMs: number;
}

export type PresetLevel = 'baseline' | 'restricted';

/** The Pod Security Standards, as they were in one minor version of Kubernetes 1. */
export interface Preset {
  readonly level: PresetLevel;
  readonly minor: number;
  /** As it was written: `latest` or `v1.34`. */
  readonly version: string;
}

export interface HostPathAllowance {
  /** Itself, and whatever is under it. */
  readonly path: string;
  readonly readOnly: boolean;
}

/** Every field that is there is asked for, beside what the preset asks. */
export interface PodSection {
  readonly preset?: Preset;
  /** Weft's own step that redirects traffic may have what it needs. */
  readonly allowWeftCapture: boolean;
  readonly runAsNonRoot?: true;
  readonly readOnlyRootFilesystem?: true;
  readonly privileged?: false;
  readonly allowPrivilegeEscalation?: false;
  readonly automountServiceAccountToken?: false;
  readonly hostNetwork?: false;
  readonly hostPID?: false;
  readonly hostIPC?: false;
  readonly capabilities?: {
    readonly drop: readonly string[];
    readonly allowAdd: readonly string[];
  };
  readonly hostPorts?: { readonly allow: readonly number[] };
  readonly hostPaths?: { readonly allow: readonly HostPathAllowance[] };
  readonly volumeTypes?: readonly string[];
  readonly seccomp?: { readonly allow: readonly string[] };
  readonly appArmor?: { readonly allow: readonly string[] };
  readonly seLinux?: { readonly allowTypes: readonly string[] };
  readonly procMount?: { readonly allow: readonly string[] };
  readonly sysctls?: { readonly allow: readonly string[] };
  readonly resources?: { readonly requests: readonly string[]; readonly limits: readonly string[] };
}

export type WorkloadPolicyKind = 'WorkloadPolicy' | 'ClusterWorkloadPolicy';

export interface WorkloadPolicy {
  readonly kind: WorkloadPolicyKind;
  /** Empty for a ClusterWorkloadPolicy. */
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly mode: AdmissionMode;
  readonly match: WorkloadMatch;
  readonly exemptions: readonly Exemption[];
  readonly pod: PodSection | undefined;
  readonly images?: ImagesSection;
  readonly vulnerabilities?: VulnerabilitiesSection;
  /** It cannot be read and no good version is known: whatever it selects is refused, with this reason. */
  readonly broken?: string;
}
