// Reads files and folders of manifests once and compiles the mesh that a control plane would make of them.
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { withSupposedPods } from '@weft/controlplane/compile/supposed-pods';
import { EMPTY_FOLDER, mergeFolder } from '@weft/controlplane/registry/file/merge';
import { readManifest } from '@weft/controlplane/registry/file/read-manifest';
import {
  scanFolder,
  signatureOf,
  type ScannedFile,
} from '@weft/controlplane/registry/file/scan-folder';
import { readTemplatePod } from '@weft/controlplane/registry/read-pod';
import type { ReadFile } from '@weft/controlplane/registry/read-objects';
import { parseTrustDomain } from '@weft/model/identity';
import type { Registry } from '@weft/model/mesh/addressees';
import type { PodObject, Snapshot } from '@weft/model/mesh/objects';
import { isPlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import type { Command } from 'commander';
import { parseAllDocuments } from 'yaml';

/** What a control plane is started with, and decides what policies mean. */
export interface MeshFlags {
  readonly trustDomain: string;
  readonly rootNamespace: string;
}

export interface Manifests {
  readonly files: readonly ReadFile[];
  readonly snapshot: Snapshot;
  /** Of reading; those of compiling are the mesh's. */
  readonly problems: readonly Problem[];
}

export const addMeshOptions = (command: Command): Command =>
  command
    .option('--trust-domain <name>', 'of every identity', 'cluster.local')
    .option('--root-namespace <name>', 'whose policies hold for the whole mesh', 'weft-system');

/**
 * @param choices `without`: absolute paths that are passed over.
 * @throws Error when there is no such file or folder; what is wrong inside is among the problems.
 */
export async function loadManifests(
  paths: readonly string[],
  { without = [] }: { readonly without?: readonly string[] } = {},
): Promise<Manifests> {
  const scanned = new Map<string, ScannedFile>();
  const problems: Problem[] = [];
  for (const path of paths) {
    const stats = await stat(path, { bigint: true }).catch((cause: unknown) => {
      throw new Error(`Cannot read ${path}: there is no such file or folder`, { cause });
    });
    if (!stats.isDirectory()) {
      const signature = signatureOf(stats);
      scanned.set(path, { path, signature, modifiedMs: 0, obstacle: undefined });
      continue;
    }
    const folder = await scanFolder(path);
    problems.push(...folder.problems);
    for (const [name, file] of folder.files) {
      if (!without.includes(resolve(path, name))) scanned.set(join(path, name), file);
    }
  }
  const files: ReadFile[] = [];
  for (const [name, file] of scanned) files.push((await readManifest(name, file, undefined)).file);
  const { snapshot, problems: found } = mergeFolder(EMPTY_FOLDER, {
    read: files,
    gone: [],
    problems,
  });
  const objects = new Map(snapshot.objects);
  for (const { path } of scanned.values()) {
    for (const pod of await templatePodsOf(path)) {
      objects.set(`Pod/${pod.meta.namespace}/${pod.meta.name}`, pod);
    }
  }
  return { files, snapshot: { ...snapshot, objects }, problems: found };
}

const TEMPLATED: ReadonlySet<string> = new Set(['Deployment', 'StatefulSet', 'DaemonSet']);

/** Pods that the cluster would make. What cannot be read is passed over: it is a problem of the reading already. */
async function templatePodsOf(path: string): Promise<readonly PodObject[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  if (![...TEMPLATED].some((kind) => text.includes(kind))) return [];
  const documents = parseAllDocuments(text, { logLevel: 'silent' });
  const values: unknown[] = [...documents].flatMap((document) =>
    document.errors.length > 0 ? [] : [document.toJS({ maxAliasCount: 100 }) as unknown],
  );
  const objects = values.flatMap((value) => {
    const items = isPlainObject(value) ? value['items'] : undefined;
    return Array.isArray(items) ? (items as unknown[]) : [value];
  });
  return objects.flatMap((object) => {
    const isTemplated = isPlainObject(object) && TEMPLATED.has(String(object['kind']));
    return isTemplated ? (readTemplatePod(object) ?? []) : [];
  });
}

export interface CompileChoices {
  /** Pods are supposed where the manifests name some and have none. */
  readonly isSupposing: boolean;
  /** Another version that it is compared with. */
  readonly other?: Snapshot;
}

export function compileManifests(
  snapshot: Snapshot,
  flags: MeshFlags,
  { isSupposing, other }: CompileChoices,
): Registry {
  const trustDomain = parseTrustDomain(flags.trustDomain);
  if (trustDomain === undefined) {
    throw new Error(
      `--trust-domain "${flags.trustDomain}" is no trust domain; write a DNS name: cluster.local`,
    );
  }
  const { rootNamespace } = flags;
  const whole = isSupposing ? withSupposedPods(snapshot, rootNamespace, other) : snapshot;
  return { mesh: compileMesh(whole, { trustDomain, rootNamespace }), snapshot: whole };
}
