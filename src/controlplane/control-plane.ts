// The control plane beside a folder of manifests: its source is the folder, its CA a directory, its proof of identity join tokens.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { joinTokenAttestor } from '@weft/ca/attest/join-token';
import { openJoinTokens } from '@weft/ca/join-tokens';
import { openFileStore } from '@weft/ca/store/file';
import { systemClock } from '@weft/model/clock';
import { type Core, type CoreOptions, openCore } from './core/open-core.ts';
import { keepBundlesIn } from './federation/kept-bundles.ts';
import { openFileSource } from './registry/file/file-source.ts';
import type { Source } from './registry/source.ts';

export interface ControlPlaneOptions extends CoreOptions {
  /** Folder of Kubernetes manifests, watched; or a source of its opener's. */
  readonly manifests: string | Source;
  /** The CA's keys, join tokens, the published bundle and the admin socket. */
  readonly stateDir: string;
}

export type ControlPlane = Core;

/** Inside the state directory; mode 0600. */
export const ADMIN_SOCKET = 'admin.sock';

/** @throws Error that names the option when the directory cannot be made. */
export async function makeStateDir(stateDir: string): Promise<void> {
  await mkdir(stateDir, { recursive: true }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot keep state in ${stateDir}: ${why}; --state-dir names a folder`, {
      cause,
    });
  });
}

/**
 * Starts everything; it serves when this returns.
 * @throws Error with the cure when the folder or the state cannot be read, or an address cannot be bound.
 */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  await using stack = new AsyncDisposableStack();
  const { log, clock = systemClock, stateDir, manifests } = options;
  await makeStateDir(stateDir);
  const source =
    typeof manifests === 'string'
      ? stack.use(
          await openFileSource({
            directory: manifests,
            log: log.child({ component: 'registry' }),
            clock,
          }),
        )
      : manifests;
  const store = stack.use(await openFileStore({ stateDir }));
  const tokens = await openJoinTokens({ stateDir, clock });
  const core = stack.use(
    await openCore(
      {
        source,
        store,
        keptBundles: keepBundlesIn(stateDir),
        attestors: [joinTokenAttestor(tokens)],
        adminSocketPath: join(stateDir, ADMIN_SOCKET),
      },
      options,
    ),
  );
  const owned = stack.move();
  return { ...core, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
