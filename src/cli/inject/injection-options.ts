// The options by which an operator decides about injection for all Pods, and the settings that are made of them.
import {
  defaultInjectionSettings,
  type InjectionSettings,
  settingsProblems,
} from '@weft/controlplane/inject/settings';
import type { TrustDomain } from '@weft/model/identity';
import { Option, type Command } from 'commander';
import { VERSION } from '../version.ts';

export interface InjectionFlags {
  readonly sidecarImage?: string;
  readonly captureImage?: string;
  readonly envoyImage?: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly sidecarCpu?: string;
  readonly sidecarMemory?: string;
  readonly sidecarCpuLimit?: string;
  readonly sidecarMemoryLimit?: string;
  readonly sidecarLogLevel?: string;
  readonly sidecarAccessLog?: string;
  readonly sidecarDrainTime?: string;
}

const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];

export function addInjectionOptions(command: Command): Command {
  return command
    .option('--sidecar-image <image>', `instead of weft/sidecar:${VERSION}`)
    .option('--capture-image <image>', `instead of weft/capture:${VERSION}`)
    .option('--envoy-image <image>', `instead of weft/sidecar-envoy:${VERSION}`)
    .addOption(new Option('--image-pull-policy <policy>', 'of these images').choices(PULL_POLICIES))
    .option('--sidecar-cpu <quantity>', 'that a sidecar asks for')
    .option('--sidecar-memory <quantity>', 'that a sidecar asks for')
    .option('--sidecar-cpu-limit <quantity>', 'that a sidecar may use; default: no limit')
    .option('--sidecar-memory-limit <quantity>', 'that a sidecar may use')
    .option('--sidecar-log-level <level>', 'of sidecars whose Pod says nothing else')
    .option('--sidecar-access-log <mode>', 'off, errors or all')
    .option('--sidecar-drain-time <duration>', 'how long requests in flight may take at the end');
}

/** @throws Error that says what to write. */
export function injectionSettingsOf(
  flags: InjectionFlags,
  mesh: { readonly trustDomain: TrustDomain; readonly rootNamespace: string },
): InjectionSettings {
  const defaults = defaultInjectionSettings({ version: VERSION, ...mesh });
  const { resources } = defaults;
  const cpuLimit = flags.sidecarCpuLimit ?? resources.cpuLimit;
  const memoryLimit = flags.sidecarMemoryLimit ?? resources.memoryLimit;
  const settings: InjectionSettings = {
    ...defaults,
    sidecarImage: flags.sidecarImage ?? defaults.sidecarImage,
    captureImage: flags.captureImage ?? defaults.captureImage,
    envoyImage: flags.envoyImage ?? defaults.envoyImage,
    ...(flags.imagePullPolicy && { imagePullPolicy: flags.imagePullPolicy }),
    resources: {
      cpu: flags.sidecarCpu ?? resources.cpu,
      memory: flags.sidecarMemory ?? resources.memory,
      ...(cpuLimit !== undefined && { cpuLimit }),
      ...(memoryLimit !== undefined && { memoryLimit }),
    },
    logLevel: flags.sidecarLogLevel ?? defaults.logLevel,
    accessLog: flags.sidecarAccessLog ?? defaults.accessLog,
    drainTime: flags.sidecarDrainTime ?? defaults.drainTime,
  };
  const problems = settingsProblems(settings);
  if (problems.length > 0) throw new Error(`Cannot inject: ${problems.join('; ')}`);
  return settings;
}
