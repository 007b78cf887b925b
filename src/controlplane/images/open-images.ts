// Opens what asks registries: as the operator of the mesh has set them up.
import { readFile } from 'node:fs/promises';
import { createAddressGuard } from '../fetch/guard-address.ts';
import { type RegistriesConfig, readDockerConfig } from './registries-config.ts';
import { Registry } from './registry.ts';

/** @throws Error when a file that is named cannot be read. */
export async function openRegistry(config: RegistriesConfig): Promise<Registry> {
  const { plain, networks, caFile, dockerConfigFile } = config;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const credentialsOf =
    dockerConfigFile === undefined
      ? () => undefined
      : readDockerConfig(await readFile(dockerConfigFile, 'utf8'));
  return new Registry({
    isAllowed: createAddressGuard(networks),
    credentialsOf,
    plainRegistries: plain,
    ...(ca !== undefined && { ca }),
  });
}
