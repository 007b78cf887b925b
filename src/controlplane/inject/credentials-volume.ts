// What a Pod gets whose application is to be handed credentials: one volume in memory, written by the sidecar and read by the others.
import type { PlainObject } from '@weft/model/policy/reader';
import { ANNOTATIONS, type PodAnnotations } from './annotations.ts';
import type { PodCheck } from './check-pod.ts';
import { containersOf, listAt, objectAt, statedUsers, textAt, withPart } from './pod-shape.ts';

export const CREDENTIALS_VOLUME = 'weft-credentials';
/** `NAME/KEY` under it is a value; the socket is hidden, so that no credential has its name. */
export const CREDENTIALS_FOLDER = '/var/run/weft/credentials';
const SOCKET = `${CREDENTIALS_FOLDER}/.socket`;
/** Keys and passwords, of which the sidecar holds two versions while it changes them. */
const SIZE_LIMIT = '16Mi';

const isAsked = ({ credentials }: PodAnnotations): boolean => credentials !== undefined;

export function credentialsFlags(
  asked: PodAnnotations,
  spec: PlainObject,
): readonly (readonly [string, string])[] {
  const { credentials = [], credentialsUsers } = asked;
  const users = credentialsUsers ?? statedUsers(spec) ?? [];
  return [
    ...(credentials.includes('files') ? [['--credentials-dir', CREDENTIALS_FOLDER] as const] : []),
    ...(credentials.includes('url')
      ? [
          ['--credentials-socket', SOCKET] as const,
          ...users.map((uid) => ['--credentials-allow', `uid=${uid}`] as const),
        ]
      : []),
  ];
}

export const credentialsVolumes = (asked: PodAnnotations): readonly PlainObject[] =>
  isAsked(asked)
    ? [{ name: CREDENTIALS_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: SIZE_LIMIT } }]
    : [];

/** The sidecar alone may write to it: whoever else could would lead it elsewhere by links. */
export const sidecarMounts = (asked: PodAnnotations): readonly PlainObject[] =>
  isAsked(asked) ? [{ name: CREDENTIALS_VOLUME, mountPath: CREDENTIALS_FOLDER }] : [];

export function withCredentials(container: PlainObject, asked: PodAnnotations): PlainObject {
  if (!isAsked(asked)) return container;
  const mount = { name: CREDENTIALS_VOLUME, mountPath: CREDENTIALS_FOLDER, readOnly: true };
  return { ...container, volumeMounts: [...listAt(container, 'volumeMounts'), mount] };
}

const isOwnMount = (mount: PlainObject): boolean => textAt(mount, 'name') === CREDENTIALS_VOLUME;

export function withoutCredentials(container: PlainObject): PlainObject {
  const mounts = listAt(container, 'volumeMounts');
  if (!mounts.some(isOwnMount)) return container;
  return withPart(
    container,
    'volumeMounts',
    mounts.filter((mount) => !isOwnMount(mount)),
  );
}

export function checkCredentials({ pod, asked, reader }: PodCheck): void {
  if (!isAsked(asked)) return;
  const spec = objectAt(pod, 'spec');
  const { credentials = [], credentialsUsers } = asked;
  const group = objectAt(spec, 'securityContext')['fsGroup'];
  if (credentials.includes('files') && typeof group !== 'number') {
    reader.error(
      'spec.securityContext.fsGroup',
      'no-group',
      `${ANNOTATIONS.credentials.name} asks for files, which the sidecar's group alone could read`,
      "set fsGroup to a group of the application's: files are readable by it and by nobody else",
    );
  }
  if (credentials.includes('url') && (credentialsUsers ?? statedUsers(spec)) === undefined) {
    reader.error(
      `metadata.annotations.${ANNOTATIONS.credentialsUsers.name}`,
      'no-users',
      'a container does not say as which user it runs, and the socket answers named users alone',
      `set runAsUser, or name the users in ${ANNOTATIONS.credentialsUsers.name}`,
    );
  }
  for (const { container, field } of containersOf(spec)) {
    listAt(container, 'volumeMounts').forEach((mount, index) => {
      const path = textAt(mount, 'mountPath') ?? '';
      if (path !== CREDENTIALS_FOLDER && !path.startsWith(`${CREDENTIALS_FOLDER}/`)) return;
      const message = `${path} is where credentials will be`;
      const cure = 'mount it elsewhere';
      reader.error(
        `${field}.volumeMounts[${index}].mountPath`,
        'credentials-folder',
        message,
        cure,
      );
    });
  }
}
