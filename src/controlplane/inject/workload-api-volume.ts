// What a Pod gets whose application is served SPIFFE's Workload API: a volume in memory with the socket, and the variable that names it.
import type { PlainObject } from '@weft/model/policy/reader';
import { ANNOTATIONS, type PodAnnotations } from './annotations.ts';
import type { PodCheck } from './check-pod.ts';
import { containersOf, listAt, objectAt, statedUsers, textAt, withPart } from './pod-shape.ts';

export const WORKLOAD_API_VOLUME = 'weft-workload-api';
export const WORKLOAD_API_FOLDER = '/var/run/weft/workload-api';
const ENDPOINT = `unix:${WORKLOAD_API_FOLDER}/socket`;
/** Where SPIFFE's libraries look it up. */
const VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';
/** A socket has no content. */
const SIZE_LIMIT = '1Mi';

const isAsked = ({ workloadApi }: PodAnnotations): boolean => workloadApi === true;

/** Anybody in the Pod may connect: the kernel says who it is, and the users decide. */
export function workloadApiFlags(
  asked: PodAnnotations,
  spec: PlainObject,
): readonly (readonly [string, string])[] {
  if (!isAsked(asked)) return [];
  const users = asked.workloadApiUsers ?? statedUsers(spec) ?? [];
  return [
    ['--workload-api', ENDPOINT],
    ['--workload-api-mode', '0666'],
    ...users.map((uid) => ['--workload-api-allow', `uid=${uid}`] as const),
  ];
}

export const workloadApiVolumes = (asked: PodAnnotations): readonly PlainObject[] =>
  isAsked(asked)
    ? [{ name: WORKLOAD_API_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: SIZE_LIMIT } }]
    : [];

/** The sidecar alone may write to it: nobody else puts a socket there. */
export const workloadApiMounts = (asked: PodAnnotations): readonly PlainObject[] =>
  isAsked(asked) ? [{ name: WORKLOAD_API_VOLUME, mountPath: WORKLOAD_API_FOLDER }] : [];

export function withWorkloadApi(container: PlainObject, asked: PodAnnotations): PlainObject {
  if (!isAsked(asked)) return container;
  const mount = { name: WORKLOAD_API_VOLUME, mountPath: WORKLOAD_API_FOLDER, readOnly: true };
  return {
    ...container,
    env: [...listAt(container, 'env'), { name: VARIABLE, value: ENDPOINT }],
    volumeMounts: [...listAt(container, 'volumeMounts'), mount],
  };
}

const isOwnMount = (mount: PlainObject): boolean => textAt(mount, 'name') === WORKLOAD_API_VOLUME;
const isOwnVariable = (entry: PlainObject): boolean =>
  textAt(entry, 'name') === VARIABLE && textAt(entry, 'value') === ENDPOINT;

export function withoutWorkloadApi(container: PlainObject): PlainObject {
  const mounts = listAt(container, 'volumeMounts');
  if (!mounts.some(isOwnMount)) return container;
  const env = listAt(container, 'env').filter((entry) => !isOwnVariable(entry));
  return withPart(
    withPart(container, 'env', env),
    'volumeMounts',
    mounts.filter((mount) => !isOwnMount(mount)),
  );
}

export function checkWorkloadApi({ pod, asked, reader }: PodCheck): void {
  if (!isAsked(asked)) return;
  const spec = objectAt(pod, 'spec');
  const { name } = ANNOTATIONS.workloadApiUsers;
  if ((asked.workloadApiUsers ?? statedUsers(spec)) === undefined) {
    reader.error(
      `metadata.annotations.${name}`,
      'no-users',
      'a container does not say as which user it runs, and the Workload API answers named users alone',
      `set runAsUser, or name the users in ${name}`,
    );
  }
  for (const { container, field } of containersOf(spec)) {
    listAt(container, 'env').forEach((entry, index) => {
      if (textAt(entry, 'name') !== VARIABLE) return;
      const message = `${VARIABLE} is set already, and injection sets it`;
      const cure = `take it away, or ${ANNOTATIONS.workloadApi.name}`;
      reader.error(`${field}.env[${index}]`, 'workload-api-variable', message, cure);
    });
    listAt(container, 'volumeMounts').forEach((mount, index) => {
      const path = textAt(mount, 'mountPath') ?? '';
      if (path !== WORKLOAD_API_FOLDER && !path.startsWith(`${WORKLOAD_API_FOLDER}/`)) return;
      const message = `${path} is where the Workload API will be`;
      const at = `${field}.volumeMounts[${index}].mountPath`;
      reader.error(at, 'workload-api-folder', message, 'mount it elsewhere');
    });
  }
}
