// Keeps fetched bundles over a restart, so that a mesh whose partner is away meanwhile goes on believing it, and none goes back in time.
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { diskCalls, errorCode, replaceFile } from '@weft/ca/store/atomic-file';
import {
  readBundleDocument,
  rootsPem,
  type SpiffeBundle,
} from '@weft/model/federation/bundle-document';
import type { FederatedTrustDomain } from '@weft/model/federation/types';
import { isPlainObject } from '@weft/model/policy/reader';

export interface KeptBundle {
  readonly bundle: SpiffeBundle;
  readonly document: string;
  readonly fetchedAtMs: number;
}

export interface KeptBundles {
  /** @returns what was kept of exactly this configuration; `undefined` when that is nothing, or nothing good. */
  load(federation: FederatedTrustDomain): Promise<KeptBundle | undefined>;
  /** Those that are not given are forgotten. @throws Error when they cannot be kept. */
  save(kept: ReadonlyMap<FederatedTrustDomain, KeptBundle>): Promise<void>;
}

const FILE = 'federation.json';
/** Public, and of nobody's business but ours. */
const MODE = 0o600;
/** 32 trust domains of 64 KiB, each escaped as JSON. */
const MAX_FILE_BYTES = 8 * 1_024 * 1_024;

/** Whoever asks elsewhere, or is told of other keys to begin with, begins anew. */
export function configurationOf({ trustDomain, url, profile }: FederatedTrustDomain): string {
  const proof =
    profile.kind === 'https_spiffe'
      ? [profile.spiffeId, rootsPem(profile.initial.x509Authorities)]
      : [];
  const text = JSON.stringify([trustDomain, url, profile.kind, ...proof]);
  return createHash('sha256').update(text).digest('hex');
}

/** In the state directory, which is this process's alone. */
export function keepBundlesIn(stateDir: string): KeptBundles {
  const path = join(stateDir, FILE);
  return {
    async load(federation) {
      const entries = await readEntries(path);
      const entry = entries[configurationOf(federation)];
      if (!isPlainObject(entry)) return undefined;
      const { document, fetchedAtMs } = entry;
      if (typeof document !== 'string' || typeof fetchedAtMs !== 'number') return undefined;
      const read = readBundleDocument(document, federation.trustDomain);
      return read.ok ? { bundle: read.bundle, document, fetchedAtMs } : undefined;
    },
    async save(kept) {
      const entries = [...kept].map(([federation, { document, fetchedAtMs }]) => [
        configurationOf(federation),
        { trustDomain: federation.trustDomain, document, fetchedAtMs },
      ]);
      const text = `${JSON.stringify(Object.fromEntries(entries))}\n`;
      await replaceFile(diskCalls, path, { text, mode: MODE });
    },
  };
}

/** A file that is damaged holds nothing: everything in it can be fetched again. */
async function readEntries(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) return {};
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isPlainObject(parsed) ? parsed : {};
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) === 'ENOENT') return {};
    throw error;
  }
}
