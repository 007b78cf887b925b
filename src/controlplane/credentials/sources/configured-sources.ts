// Finds for a binding's source where to read it: which source, which place in it, and whether this namespace may.
import { readFile } from 'node:fs/promises';
import type { CredentialSourceRef } from '@weft/model/credentials/types';
import type { Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import { openFolderSource } from './folder-source.ts';
import type { CredentialSource } from './source.ts';
import type { SourceConfig, VaultConfig } from './source-config.ts';

export type FoundSource =
  | { readonly ok: true; readonly source: CredentialSource; readonly place: string }
  | { readonly ok: false; readonly reason: string; readonly cure: string };

export interface ConfiguredSources extends AsyncDisposable {
  /** @param namespace the binding's */
  find(namespace: string, ref: CredentialSourceRef): FoundSource;
}

export interface ConfiguredSourcesOptions {
  readonly configs: readonly SourceConfig[];
  /** Where there is a cluster. Disposed of with the others. */
  readonly secrets?: CredentialSource;
  readonly clock: Clock;
}

/** @throws Error that names the file or folder when one cannot be read. */
export async function openConfiguredSources(
  options: ConfiguredSourcesOptions,
): Promise<ConfiguredSources> {
  const { configs, secrets, clock } = options;
  await using stack = new AsyncDisposableStack();
  if (secrets !== undefined) stack.use(secrets);
  const opened = new Map<
    string,
    { readonly config: SourceConfig; readonly source: CredentialSource }
  >();
  for (const config of configs) {
    const { at, name } = config;
    const source = stack.use(
      at.kind === 'folder'
        ? await openFolderSource({ directory: at.path, clock })
        : await openVault(at, clock),
    );
    opened.set(name, { config, source });
  }
  const owned = stack.move();
  return {
    find(namespace, ref) {
      if (ref.kind === 'secret') {
        return secrets === undefined
          ? refused('this control plane has no cluster with Secrets', 'use from and path')
          : { ok: true, source: secrets, place: `${namespace}/${ref.name}` };
      }
      const found = opened.get(ref.source);
      if (found === undefined) {
        const known = [...opened.keys()].join(', ') || 'none';
        const cure = `the operator of the mesh sets sources up; there are: ${known}`;
        return refused(`no source ${ref.source} is set up`, cure);
      }
      return placeIn(found, namespace, ref.path);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const refused = (reason: string, cure: string): FoundSource => ({ ok: false, reason, cure });

function placeIn(
  { config, source }: { readonly config: SourceConfig; readonly source: CredentialSource },
  namespace: string,
  path: string,
): FoundSource {
  const { namespaces, name, prefix, isByNamespace } = config;
  if (!namespaces.has('*') && !namespaces.has(namespace)) {
    const cure = 'the operator of the mesh says whose bindings may use it';
    return refused(`bindings of namespace ${namespace} may not use source ${name}`, cure);
  }
  const parts = [prefix, isByNamespace ? namespace : '', path].filter((part) => part !== '');
  return { ok: true, source, place: parts.join('/') };
}

/** Loaded where there is one. */
async function openVault(config: VaultConfig, clock: Clock): Promise<CredentialSource> {
  const [{ createVaultHttp }, { createVaultSession }, { createVaultSource }] = await Promise.all([
    import('./vault/vault-http.ts'),
    import('./vault/vault-session.ts'),
    import('./vault/vault-source.ts'),
  ]);
  const { server, caFile, namespace, authMount, role, jwtFile, mount, address } = config;
  const http = createVaultHttp({
    server,
    ca: caFile === undefined ? undefined : await readCa(caFile),
    namespace,
  });
  const session = createVaultSession({ http, authMount, role, jwtFile, clock });
  const source = createVaultSource({ session, mount, clock, description: `Vault at ${address}` });
  return {
    description: source.description,
    follow: (place, onReading) => source.follow(place, onReading),
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      http[Symbol.dispose]();
    },
  };
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const why = errorText(cause);
    throw new Error(`Cannot read the roots of a source's certificate in ${path}: ${why}`, {
      cause,
    });
  }
}
