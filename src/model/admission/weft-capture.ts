// Knows Weft's own step that redirects a Pod's traffic by all that it is: whoever only calls himself so is not taken for it.
import type { PlainObject } from '../policy/reader.ts';
import { listIn, objectIn, type PodContainer } from './workload.ts';

const NAME = 'weft-capture';
/** The one folder that it gets: an empty one, where a token for the API would be. */
const MOUNT = 'weft-no-api-token';
const FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
const BEGINNING = ['capture', 'apply', '--proxy-uid'];
/** What it does not have: anything of these could have it do something else. */
const NEVER = ['command', 'env', 'envFrom', 'volumeDevices', 'lifecycle', 'restartPolicy'] as const;

const isList = (value: unknown, wanted: readonly string[]): boolean =>
  Array.isArray(value) &&
  value.length === wanted.length &&
  wanted.every((text, index) => value[index] === text);

/** @param image the one that the injector uses */
export function isWeftCapture(
  { list, name, container }: PodContainer,
  image: string | undefined,
): boolean {
  if (list !== 'initContainers' || name !== NAME || container['image'] !== image) return false;
  if (NEVER.some((key) => container[key] !== undefined && container[key] !== null)) return false;
  const { args } = container;
  if (!Array.isArray(args) || !isList(args.slice(0, BEGINNING.length), BEGINNING)) return false;
  return isLocked(objectIn(container, 'securityContext')) && areMountsOwn(container);
}

function isLocked(context: PlainObject): boolean {
  const capabilities = objectIn(context, 'capabilities');
  return (
    context['privileged'] === false &&
    context['allowPrivilegeEscalation'] === false &&
    context['readOnlyRootFilesystem'] === true &&
    isList(capabilities['add'], ['NET_ADMIN']) &&
    isList(capabilities['drop'], ['ALL'])
  );
}

const areMountsOwn = (container: PlainObject): boolean =>
  listIn(container, 'volumeMounts').every(
    ({ name, mountPath, readOnly }) => name === MOUNT && mountPath === FOLDER && readOnly === true,
  );

/** The same of `c`, which is an init container. @param image as a CEL text */
export const WEFT_CAPTURE_CEL = (image: string): string =>
  [
    `c.name == "${NAME}"`,
    `c.?image.orValue("") == ${image}`,
    ...NEVER.map((key) => `!has(c.${key})`),
    `c.?args.orValue([]).size() >= ${BEGINNING.length}`,
    ...BEGINNING.map((text, index) => `c.args[${index}] == "${text}"`),
    'c.?securityContext.?privileged.orValue(true) == false',
    'c.?securityContext.?allowPrivilegeEscalation.orValue(true) == false',
    'c.?securityContext.?readOnlyRootFilesystem.orValue(false) == true',
    'c.?securityContext.?capabilities.?add.orValue([]) == ["NET_ADMIN"]',
    'c.?securityContext.?capabilities.?drop.orValue([]) == ["ALL"]',
    `c.?volumeMounts.orValue([]).all(m, m.name == "${MOUNT}" && m.mountPath == "${FOLDER}" && m.?readOnly.orValue(false))`,
  ].join(' && ');
