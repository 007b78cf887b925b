// The volumes of one Pod on this machine's disk: made before its containers start, and kept up with their sources.
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pod, Projection, Volume } from './pod.ts';
import {
  downwardFiles,
  type Found,
  type PodPlace,
  sourceFiles,
  type Sources,
} from './projection.ts';
import type { TokenSource } from './token-source.ts';
import { writeVolume } from './volume-files.ts';

const TOKEN_SECONDS = 3_600;
const FILE_MODE = 0o644;
/** What is asked for in memory is there, where this machine has such a folder. */
const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

type Files = Found<ReadonlyMap<string, Buffer>>;

const ok = (files: ReadonlyMap<string, Buffer>): Files => ({ ok: true, value: files });

export interface PodVolumesOptions {
  readonly folder: string;
  readonly pod: Pod;
  readonly place: PodPlace;
  readonly sources: Sources;
  readonly tokens: Pick<TokenSource, 'token'>;
}

export class PodVolumes implements Disposable {
  #memory: string | undefined;
  readonly #options: PodVolumesOptions;
  #pod: Pod;
  #writing: Promise<Found<undefined>> = Promise.resolve({ ok: true, value: undefined });

  constructor(options: PodVolumesOptions) {
    this.#options = options;
    this.#pod = options.pod;
  }

  /** Of a volume of the Pod: what is mounted. */
  path(name: string): string | undefined {
    const volume = this.#pod.spec.volumes?.find((volume) => volume.name === name);
    if (volume === undefined) return undefined;
    return volume.hostPath?.path ?? this.#folderOf(volume);
  }

  #folderOf({ name, emptyDir }: Volume): string {
    if (emptyDir?.medium !== 'Memory') return join(this.#options.folder, name);
    this.#memory ??= mkdtempSync(join(MEMORY, 'weft-pod-'));
    return join(this.#memory, name);
  }

  /** What is in memory; the rest is in a folder that is its owner's. */
  [Symbol.dispose](): void {
    if (this.#memory !== undefined) rmSync(this.#memory, { recursive: true, force: true });
  }

  /** Makes all that are not there and brings the others up to date, or says what is missing. */
  write(pod: Pod = this.#pod): Promise<Found<undefined>> {
    this.#pod = pod;
    this.#writing = this.#writing
      .then(() => this.#writeAll())
      .catch((error: unknown) => ({ ok: false, reason: String(error) }));
    return this.#writing;
  }

  async #writeAll(): Promise<Found<undefined>> {
    for (const volume of this.#pod.spec.volumes ?? []) {
      const written = await this.#writeOne(volume);
      if (!written.ok) {
        const reason = `MountVolume.SetUp failed for volume "${volume.name}": ${written.reason}`;
        return { ok: false, reason };
      }
    }
    return { ok: true, value: undefined };
  }

  async #writeOne(volume: Volume): Promise<Found<undefined>> {
    const done: Found<undefined> = { ok: true, value: undefined };
    if (volume.hostPath !== undefined) return done;
    const folder = this.#folderOf(volume);
    const group = this.#pod.spec.securityContext?.fsGroup;
    const isNew = mkdirSync(folder, { recursive: true }) !== undefined;
    if (volume.emptyDir !== undefined) {
      if (isNew) {
        if (group !== undefined) chownSync(folder, 0, group);
        chmodSync(folder, group === undefined ? 0o777 : 0o2777);
      }
      return done;
    }
    if (isNew) chmodSync(folder, 0o755);
    const files = await this.#filesOf(volume);
    if (!files.ok) return files;
    const { configMap, secret, downwardAPI, projected } = volume;
    const from = configMap ?? secret ?? downwardAPI ?? projected;
    writeVolume(folder, files.value, { mode: from?.defaultMode ?? FILE_MODE, group });
    return done;
  }

  async #filesOf({ name, configMap, secret, downwardAPI, projected }: Volume): Promise<Files> {
    const { sources, place } = this.#options;
    if (configMap !== undefined) return sourceFiles(sources, 'configMap', configMap);
    if (secret !== undefined) {
      return sourceFiles(sources, 'secret', { ...secret, name: secret.secretName });
    }
    if (downwardAPI !== undefined) return downwardFiles(this.#pod, place, downwardAPI.items ?? []);
    if (projected === undefined) {
      return { ok: false, reason: `this node does not know the kind of volume ${name}` };
    }
    const all = new Map<string, Buffer>();
    for (const projection of projected.sources ?? []) {
      const files = await this.#projected(projection);
      if (!files.ok) return files;
      for (const [path, content] of files.value) all.set(path, content);
    }
    return ok(all);
  }

  async #projected(projection: Projection): Promise<Files> {
    const { sources, place, tokens } = this.#options;
    const { serviceAccountToken, configMap, secret, downwardAPI } = projection;
    if (configMap !== undefined) return sourceFiles(sources, 'configMap', configMap);
    if (secret !== undefined) return sourceFiles(sources, 'secret', secret);
    if (downwardAPI !== undefined) return downwardFiles(this.#pod, place, downwardAPI.items ?? []);
    if (serviceAccountToken === undefined) {
      return { ok: false, reason: 'this node does not know a kind of projection' };
    }
    const { audience, expirationSeconds = TOKEN_SECONDS, path } = serviceAccountToken;
    try {
      const token = await tokens.token({ audience, expirationSeconds });
      return ok(new Map([[path, Buffer.from(token)]]));
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }
}
