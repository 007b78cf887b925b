// What the sidecar's container has besides where its proxy is an Envoy: options, a folder in memory, and room for two programs.
import type { PlainObject } from '@weft/model/policy/reader';
import { ANNOTATIONS, type PodAnnotations } from './annotations.ts';
import type { PodCheck } from './check-pod.ts';

export const ENVOY_VOLUME = 'weft-envoy';
const FOLDER = '/var/run/weft/envoy';
/** The bootstrap and a few sockets. */
const SIZE_LIMIT = '4Mi';

/** An Envoy and the agent beside it take 90 to 130 MB in a small mesh (docs/envoy.md). */
export const ENVOY_RESOURCES = { memory: '160Mi', memoryLimit: '512Mi' } as const;

export const hasEnvoy = ({ proxy }: PodAnnotations): boolean => proxy === 'envoy';

export const envoyFlags = (asked: PodAnnotations): readonly (readonly [string, string])[] =>
  hasEnvoy(asked)
    ? [
        ['--proxy', 'envoy'],
        ['--envoy', '/usr/local/bin/envoy'],
        ['--envoy-folder', `${FOLDER}/run`],
      ]
    : [];

export const envoyVolumes = (asked: PodAnnotations): readonly PlainObject[] =>
  hasEnvoy(asked)
    ? [{ name: ENVOY_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: SIZE_LIMIT } }]
    : [];

/** Credentials are put into requests, and handed over, by Weft's own sidecar alone. */
export function checkEnvoy({ asked, reader }: PodCheck): void {
  if (!hasEnvoy(asked) || asked.credentials === undefined) return;
  const { credentials, proxy } = ANNOTATIONS;
  reader.error(
    `metadata.annotations.${credentials.name}`,
    'not-with-envoy',
    "credentials are handed over by Weft's own sidecar, and this Pod asks for an Envoy",
    `take it away, or ${proxy.name}`,
  );
}

/** The sidecar's alone. */
export const envoyMounts = (asked: PodAnnotations): readonly PlainObject[] =>
  hasEnvoy(asked) ? [{ name: ENVOY_VOLUME, mountPath: FOLDER }] : [];
