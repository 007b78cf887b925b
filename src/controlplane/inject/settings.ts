// What a mesh's operator decides about injection once for all Pods; a Pod's annotations may change part of it.
import { isDnsLabel, type TrustDomain } from '@weft/model/identity';
import { shown } from '@weft/model/policy/reader';
import {
  ACCESS_LOGS,
  cpu,
  duration,
  LOG_LEVELS,
  memory,
  type ValueForm,
} from './annotation-values.ts';

export interface InjectionSettings {
  /** Of Weft: written into the Pod, so that Pods of an older template can be told. */
  readonly version: string;
  readonly trustDomain: TrustDomain;
  /** Where the control plane lives; its Pods are never injected. */
  readonly rootNamespace: string;
  readonly sidecarImage: string;
  readonly captureImage: string;
  /** Of sidecars with an Envoy. */
  readonly envoyImage: string;
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
    envoyImage: `weft/sidecar-envoy:${mesh.version}`,
    // A sidecar takes 70 to 100 MB under load (docs/benchmarks.md): room for twice that before it is killed.
    resources: { cpu: '50m', memory: '96Mi', memoryLimit: '256Mi' },
    logLevel: 'info',
    accessLog: 'errors',
    drainTime: '10s',
  };
}

/** What is wrong with an operator's choices, each with its cure: they become command lines and objects of every Pod. */
export function settingsProblems(settings: InjectionSettings): readonly string[] {
  const problems: string[] = [];
  const check = (what: string, text: string | undefined, { parse, cure }: ValueForm<unknown>) => {
    if (text === undefined || parse(text) !== undefined) return;
    problems.push(`${what} ${shown(text)} is not understood; ${cure}`);
  };
  const { resources } = settings;
  check("the sidecar's CPU", resources.cpu, cpu);
  check("the sidecar's limit of CPU", resources.cpuLimit, cpu);
  check("the sidecar's memory", resources.memory, memory);
  check("the sidecar's limit of memory", resources.memoryLimit, memory);
  check("the sidecar's log level", settings.logLevel, LOG_LEVELS);
  check("the sidecar's access log", settings.accessLog, ACCESS_LOGS);
  check("the sidecar's drain time", settings.drainTime, duration);
  check('the image of the sidecar', settings.sidecarImage, image);
  check('the image of the capture step', settings.captureImage, image);
  check('the image of sidecars with an Envoy', settings.envoyImage, image);
  if (!isDnsLabel(settings.rootNamespace)) {
    problems.push(`the root namespace ${shown(settings.rootNamespace)} is no name of a namespace`);
  }
  return problems;
}

/** Registries judge the rest. */
const image: ValueForm<string> = {
  type: 'image',
  cure: 'write REGISTRY/NAME:TAG',
  parse: (text) => (/^[\x21-\x7e]{1,512}$/.test(text) ? text : undefined),
};

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
