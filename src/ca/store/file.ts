// Keeps the CA's state in a directory of one machine: `ca/state.json` for its owner alone, `bundle.pem` for everybody.
import { errorText } from '@weft/model/error-text';
import { join } from 'node:path';
import {
  type DiskCalls,
  diskCalls,
  preparePrivateDirectory,
  readPrivateFile,
  replaceFile,
} from './atomic-file.ts';
import { lockDirectory } from './lock.ts';
import { decodeState, encodeState } from './state-codec.ts';
import type { CaState, CaStore, SaveResult } from './store.ts';

export interface FileStoreOptions {
  readonly stateDir: string;
  readonly disk?: DiskCalls;
}

/** @throws when the directory cannot be used, others may read it, or another process has it open. */
export async function openFileStore(options: FileStoreOptions): Promise<CaStore> {
  const { stateDir, disk = diskCalls } = options;
  const directory = join(stateDir, 'ca');
  const statePath = join(directory, 'state.json');
  const bundlePath = join(stateDir, 'bundle.pem');
  await disk.mkdir(stateDir, { recursive: true });
  await preparePrivateDirectory(disk, directory);
  const lock = await lockDirectory(disk, join(directory, 'lock'));
  return {
    load: () => loadState(disk, { statePath, bundlePath, directory }),
    save: (state) =>
      attempt(statePath, () =>
        replaceFile(disk, statePath, { text: encodeState(state), mode: 0o600 }),
      ),
    publishBundle: (pem) =>
      attempt(bundlePath, () => replaceFile(disk, bundlePath, { text: pem, mode: 0o644 })),
    [Symbol.asyncDispose]: () => lock[Symbol.asyncDispose](),
  };
}

async function loadState(
  disk: DiskCalls,
  paths: { readonly statePath: string; readonly bundlePath: string; readonly directory: string },
): Promise<CaState | undefined> {
  const { statePath, bundlePath, directory } = paths;
  const cure =
    `restore it from a backup, or, to begin with a new root, remove ${directory} and ${bundlePath}: ` +
    'every workload must then enrol again';
  const text = await readPrivateFile(disk, statePath);
  if (text === undefined) {
    if (!(await disk.readdir(join(directory, '..'))).includes('bundle.pem')) return undefined;
    throw new Error(`Cannot open the CA: ${bundlePath} is there, and ${statePath} is not; ${cure}`);
  }
  const reading = decodeState(text);
  if (!reading.ok) throw new Error(`Cannot read ${statePath}: ${reading.reason}; ${cure}`);
  return reading.state;
}

/** A full or failing disk is something to expect. */
async function attempt(path: string, write: () => Promise<void>): Promise<SaveResult> {
  try {
    await write();
    return { ok: true };
  } catch (error) {
    return {
      ok: false,
      reasonCode: 'store-failed',
      reason: `Cannot write ${path}: ${errorText(error)}`,
    };
  }
}
