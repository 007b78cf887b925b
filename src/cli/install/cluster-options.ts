// The options that install, check, upgrade and uninstall share: which cluster, which values, how long to wait.
import { connect } from '@weft/kube/connect';
import { createKubeClient } from '@weft/kube/https-client';
import type { KubeClient } from '@weft/kube/kube-api';
import { Option, type Command } from 'commander';
import { parseDuration } from '../parse.ts';
import type { RenderOptions } from './render.ts';
import { DEFAULT_NAMESPACE } from './render.ts';

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string;
}

export interface ValueFlags {
  readonly helm?: string;
  readonly values: readonly string[];
  readonly set: readonly string[];
}

export interface WaitFlags {
  readonly timeout: number;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export const addClusterOptions = (command: Command): Command =>
  command
    .option('--kubeconfig <file>', "instead of kubectl's own")
    .option('--context <name>', 'of the kubeconfig')
    .option('-n, --namespace <name>', 'where the control plane lives', DEFAULT_NAMESPACE);

export const addValueOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('-f, --values <file>', 'values of the chart; may be given again')
        .argParser(collect)
        .default([], 'the defaults'),
    )
    .addOption(
      new Option('--set <name=value>', 'one value, over those of files; may be given again')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--helm <path>', 'that renders the chart; default: on the PATH');

export const addWaitOption = (command: Command): Command =>
  command.addOption(
    new Option('--timeout <duration>', 'how long to wait for the control plane')
      .argParser(parseDuration)
      .default(300_000, '5m'),
  );

export const clientOf = ({ kubeconfig, context }: ClusterFlags): KubeClient =>
  createKubeClient(
    connect({
      ...(kubeconfig !== undefined && { kubeconfig }),
      ...(context !== undefined && { context }),
    }),
  );

export const renderOptionsOf = (flags: ClusterFlags & ValueFlags): RenderOptions => ({
  ...(flags.helm !== undefined && { helm: flags.helm }),
  namespace: flags.namespace,
  values: flags.values,
  set: flags.set,
});
