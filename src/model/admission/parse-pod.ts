// Reads what a WorkloadPolicy asks of the fields of Pods: spec.pod.
import { type PlainObject, type Reader, shown } from '../policy/reader.ts';
import type { HostPathAllowance, PodSection, Preset, PresetLevel } from './types.ts';

const MAX_VALUES = 256;
const MAX_PATH = 1_024;
const LEVELS: readonly PresetLevel[] = ['baseline', 'restricted'];
/** The newest minor version of Kubernetes 1 whose standards are known here. */
export const LATEST_MINOR = 36;
/** The first in which Kubernetes itself had them for good. */
export const FIRST_MINOR = 25;

/** What a field must be: it cannot be asked to be unsafe. */
const FIXED = {
  runAsNonRoot: true,
  readOnlyRootFilesystem: true,
  privileged: false,
  allowPrivilegeEscalation: false,
  automountServiceAccountToken: false,
  hostNetwork: false,
  hostPID: false,
  hostIPC: false,
} as const;

const KEYS: readonly string[] = [
  'preset',
  'presetVersion',
  'allowWeftCapture',
  ...Object.keys(FIXED),
  'capabilities',
  'hostPorts',
  'hostPaths',
  'volumeTypes',
  'seccomp',
  'appArmor',
  'seLinux',
  'procMount',
  'sysctls',
  'resources',
];

export function parsePodSection(reader: Reader, value: unknown): PodSection | undefined {
  const field = 'spec.pod';
  const pod = reader.object(value, field, KEYS);
  if (pod === undefined) return undefined;
  const preset = parsePreset(reader, pod);
  const asked = Object.keys(pod).filter((key) => key !== 'allowWeftCapture');
  if (asked.length === 0) {
    const cure = 'set spec.pod.preset: restricted, or single fields';
    reader.error(field, 'empty-section', 'asks for nothing', cure);
  }
  return {
    ...(preset && { preset }),
    allowWeftCapture: parseCapture(reader, pod['allowWeftCapture']),
    ...parseFixed(reader, pod),
    ...parseLists(reader, pod),
  };
}

function parsePreset(reader: Reader, pod: PlainObject): Preset | undefined {
  const text = reader.string(pod['preset'], 'spec.pod.preset');
  const version = reader.string(pod['presetVersion'], 'spec.pod.presetVersion') ?? 'latest';
  if (text === undefined) {
    if (pod['presetVersion'] !== undefined) {
      const message = 'a version goes with a preset';
      reader.error('spec.pod.presetVersion', 'no-preset', message, 'set spec.pod.preset');
    }
    return undefined;
  }
  const level = LEVELS.find((known) => known === text);
  if (level === undefined) {
    const message = `unknown preset ${shown(text)}`;
    reader.error('spec.pod.preset', 'unknown-preset', message, `write ${LEVELS.join(' or ')}`);
  }
  const minor = minorOf(version);
  if (minor === undefined) {
    const message = `the standards of ${shown(version)} are not known here`;
    const cure = `write latest, or v1.${FIRST_MINOR} to v1.${LATEST_MINOR}`;
    reader.error('spec.pod.presetVersion', 'unknown-version', message, cure);
  }
  if (level === undefined || minor === undefined) return undefined;
  return { level, minor, version };
}

function minorOf(version: string): number | undefined {
  if (version === 'latest') return LATEST_MINOR;
  const minor = version.startsWith('v1.') ? Number(version.slice(3)) : Number.NaN;
  const isKnown = Number.isInteger(minor) && minor >= FIRST_MINOR && minor <= LATEST_MINOR;
  return isKnown && version === `v1.${minor}` ? minor : undefined;
}

function parseCapture(reader: Reader, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') {
    reader.error('spec.pod.allowWeftCapture', 'wrong-type', 'expected true or false');
  }
  return value === true;
}

type Fixed = Partial<{ readonly [K in keyof typeof FIXED]: (typeof FIXED)[K] }>;

function parseFixed(reader: Reader, pod: PlainObject): Fixed {
  const asked = Object.entries(FIXED).filter(([key, wanted]) => {
    const value = pod[key];
    if (value === undefined || value === wanted) return value === wanted;
    const message = `can only be ${wanted}: it says what the field of a Pod has to be`;
    const cure = `write ${key}: ${wanted}, or remove it`;
    reader.error(`spec.pod.${key}`, 'not-a-demand', message, cure);
    return false;
  });
  return Object.fromEntries(asked);
}

type Lists = Omit<PodSection, keyof typeof FIXED | 'preset' | 'allowWeftCapture'>;

function parseLists(reader: Reader, pod: PlainObject): Lists {
  const section = (key: string, keys: readonly string[]): PlainObject | undefined =>
    reader.object(pod[key], `spec.pod.${key}`, keys);
  const texts = (owner: PlainObject, key: string, name: string): readonly string[] =>
    reader.strings(owner[name], `spec.pod.${key}.${name}`, MAX_VALUES);
  const allowed = (key: string): { readonly allow: readonly string[] } | undefined => {
    const owner = section(key, ['allow']);
    return owner && { allow: texts(owner, key, 'allow') };
  };
  const capabilities = section('capabilities', ['drop', 'allowAdd']);
  const seLinux = section('seLinux', ['allowTypes']);
  const resources = section('resources', ['requests', 'limits']);
  const hostPorts = section('hostPorts', ['allow']);
  const hostPaths = section('hostPaths', ['allow']);
  const volumeTypes = pod['volumeTypes'];
  const lists = {
    seccomp: allowed('seccomp'),
    appArmor: allowed('appArmor'),
    procMount: allowed('procMount'),
    sysctls: allowed('sysctls'),
    capabilities: capabilities && {
      drop: texts(capabilities, 'capabilities', 'drop'),
      allowAdd: texts(capabilities, 'capabilities', 'allowAdd'),
    },
    seLinux: seLinux && { allowTypes: texts(seLinux, 'seLinux', 'allowTypes') },
    resources: resources && {
      requests: texts(resources, 'resources', 'requests'),
      limits: texts(resources, 'resources', 'limits'),
    },
    hostPorts: hostPorts && { allow: parsePorts(reader, hostPorts['allow']) },
    hostPaths: hostPaths && { allow: parsePaths(reader, hostPaths['allow']) },
    volumeTypes:
      volumeTypes === undefined
        ? undefined
        : reader.strings(volumeTypes, 'spec.pod.volumeTypes', MAX_VALUES),
  };
  return Object.fromEntries(Object.entries(lists).filter(([, value]) => value !== undefined));
}

function parsePorts(reader: Reader, value: unknown): readonly number[] {
  const field = 'spec.pod.hostPorts.allow';
  const entries = reader.list(value, field, MAX_VALUES) ?? [];
  return entries.flatMap((entry, index) => {
    const isPort =
      typeof entry === 'number' && Number.isInteger(entry) && entry >= 1 && entry <= 65_535;
    if (isPort) return [entry];
    const cure = 'write a number from 1 to 65535';
    reader.error(`${field}[${index}]`, 'bad-port', 'this is no port', cure);
    return [];
  });
}

function parsePaths(reader: Reader, value: unknown): readonly HostPathAllowance[] {
  const entries = reader.list(value, 'spec.pod.hostPaths.allow', MAX_VALUES) ?? [];
  return entries.flatMap((entry, index) => {
    const field = `spec.pod.hostPaths.allow[${index}]`;
    const object = reader.object(entry ?? [], field, ['path', 'readOnly']);
    if (object === undefined) return [];
    const path = reader.string(object['path'], `${field}.path`) ?? '';
    const isWhole = path.startsWith('/') && path.length <= MAX_PATH;
    if (!isWhole || path.split('/').some((part) => part === '..' || part === '.')) {
      const message = `${shown(path)} is no whole path`;
      reader.error(`${field}.path`, 'bad-path', message, 'write it from "/" on, without ".."');
    }
    const { readOnly } = { readOnly: object['readOnly'] };
    if (readOnly !== undefined && typeof readOnly !== 'boolean') {
      reader.error(`${field}.readOnly`, 'wrong-type', 'expected true or false');
    }
    return [{ path: withoutEnd(path), readOnly: readOnly !== false }];
  });
}

/** `/var/log/` is `/var/log`; the root itself becomes empty. */
const withoutEnd = (path: string): string => (path.endsWith('/') ? path.slice(0, -1) : path);
