// Opens what looks at images: registries as the operator has set them up, and the look that asks them.
import { readFile } from 'node:fs/promises';
import { createAddressGuard } from '../fetch/guard-address.ts';
import { ImageSignatures, type ImageSignaturesOptions } from './image-signatures.ts';
import { type RegistriesConfig, readDockerConfig } from './registries-config.ts';
import { Registry } from './registry.ts';

export type ImagesOptions = Pick<ImageSignaturesOptions, 'nowMs' | 'onLooked'>;

/** @throws Error when a file that is named cannot be read. */
export async function openImages(
  config: RegistriesConfig,
  options: ImagesOptions,
): Promise<ImageSignatures> {
  const { plain, networks, caFile, dockerConfigFile } = config;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const credentialsOf =
    dockerConfigFile === undefined
      ? () => undefined
      : readDockerConfig(await readFile(dockerConfigFile, 'utf8'));
  const registry = new Registry({
    isAllowed: createAddressGuard(networks),
    credentialsOf,
    plainRegistries: plain,
    ...(ca !== undefined && { ca }),
  });
  return new ImageSignatures({ registry, ...options });
}
