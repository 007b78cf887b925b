// The looks at a Pod that need more than one field: capabilities, ports and paths of the host, volumes, probes and resources.
import {
  type Finder,
  onContainerLists,
  onVolumes,
  optionalAt,
  quote,
  quoteAll,
  textsAt,
  valueAt,
} from './finders.ts';
import type { HostPathAllowance } from './types.ts';
import { containersOf, listIn } from './workload.ts';

const DROP = ['securityContext', 'capabilities', 'drop'];
const ADD = ['securityContext', 'capabilities', 'add'];
const ALL = 'ALL';

/** `ALL` drops every one. */
export function dropped(names: readonly string[]): Finder {
  const list = `${optionalAt('c', DROP)}.orValue([])`;
  const lacking = `${quoteAll(names)}.filter(n, !(n in ${list}) && !("${ALL}" in ${list}))`;
  return onContainerLists({
    field: DROP.join('.'),
    before: 'without ',
    which: 'own',
    bad(container) {
      const found = textsAt(container, DROP);
      return names.filter((name) => !found.includes(name) && !found.includes(ALL));
    },
    cel: lacking,
  });
}

export const addedAtMost = (allowed: readonly string[]): Finder =>
  onContainerLists({
    field: ADD.join('.'),
    which: 'own',
    bad: (container) => textsAt(container, ADD).filter((name) => !allowed.includes(name)),
    cel: `${optionalAt('c', ADD)}.orValue([]).filter(n, !(n in ${quoteAll(allowed)})).map(n, string(n))`,
  });

export const hostPortsAtMost = (allowed: readonly number[]): Finder =>
  onContainerLists({
    field: 'ports.hostPort',
    bad: (container) =>
      listIn(container, 'ports')
        .map(({ hostPort }) => hostPort ?? 0)
        .filter((port) => port !== 0 && !allowed.some((one) => one === port))
        .map(String),
    cel: `c.?ports.orValue([]).filter(p, p.?hostPort.orValue(0) != 0 && !(p.hostPort in ${quoteAll(allowed)})).map(p, string(p.hostPort))`,
  });

/** Everything under the path; one that may only be read must be mounted so everywhere. */
export function hostPathsAtMost(allowed: readonly HostPathAllowance[]): Finder {
  const isUnder = (path: string, root: string): boolean =>
    path === root || path.startsWith(`${root}/`);
  const celIsAllowed = allowed.map(({ path, readOnly }) => {
    const isWithin = `(v.hostPath.path == ${quote(path)} || v.hostPath.path.startsWith(${quote(`${path}/`)}))`;
    if (!readOnly) return isWithin;
    return `(${isWithin} && variables.containers.all(c, c.?volumeMounts.orValue([]).all(m, m.name != v.name || m.?readOnly.orValue(false))))`;
  });
  return onVolumes({
    field: 'hostPath.path',
    bad(volume, spec) {
      const path = valueAt(volume, ['hostPath', 'path']);
      if (volume['hostPath'] === undefined || volume['hostPath'] === null) return undefined;
      const isWritten = containersOf(spec).some(({ container }) =>
        listIn(container, 'volumeMounts').some(
          (mount) => mount['name'] === volume['name'] && mount['readOnly'] !== true,
        ),
      );
      const isAllowed = allowed.some(
        (one) =>
          typeof path === 'string' && isUnder(path, one.path) && !(one.readOnly && isWritten),
      );
      return isAllowed ? undefined : `"${String(path)}"`;
    },
    celIsBad: `has(v.hostPath)${celIsAllowed.map((one) => ` && !${one}`).join('')}`,
    celValue: '"\\"" + v.hostPath.path + "\\""',
  });
}

/** A volume that names no type is an empty folder, as the API server has it. */
export const volumesOf = (types: readonly string[]): Finder =>
  onVolumes({
    field: 'type',
    bad(volume) {
      const named = Object.keys(volume).filter((key) => key !== 'name' && volume[key] !== null);
      const own = named.length === 0 ? ['emptyDir'] : named;
      return own.some((type) => types.includes(type)) ? undefined : own.join(', ');
    },
    celIsBad: `!v.exists(k, k in ${quoteAll(types)}) && !(v.size() == 1 && "emptyDir" in ${quoteAll(types)})`,
    celValue:
      '(v.size() == 1 ? "emptyDir" : v.filter(k, k != "name").map(k, string(k)).join(", "))',
  });

const HANDLERS: readonly (readonly string[])[] = [
  ['livenessProbe'],
  ['readinessProbe'],
  ['startupProbe'],
  ['lifecycle', 'postStart'],
  ['lifecycle', 'preStop'],
];
const HOSTS = HANDLERS.flatMap((path) => [
  [...path, 'httpGet', 'host'],
  [...path, 'tcpSocket', 'host'],
]);

/** A probe of another host has the kubelet ask there from the node's own network. */
export const hostsOfProbes = (): Finder =>
  onContainerLists({
    field: 'host of probes and lifecycle hooks',
    bad: (container) =>
      HOSTS.map((path) => valueAt(container, path))
        .filter((host) => host !== undefined && host !== '')
        .map(String),
    cel: `[${HOSTS.map((path) => `${optionalAt('c', path)}.orValue("")`).join(', ')}].filter(h, h != "").map(h, string(h))`,
  });

/** What a container does not say, the Pod may say for all; a limit is a request as well. */
export function resourcesSet(kind: 'requests' | 'limits', names: readonly string[]): Finder {
  const kinds = kind === 'requests' ? ['requests', 'limits'] : ['limits'];
  const places = kinds.flatMap((key) => ['c', 'variables.spec'].map((owner) => [owner, key]));
  const missing = places.map(
    ([owner = '', key = '']) => `!(n in ${optionalAt(owner, ['resources', key])}.orValue({}))`,
  );
  return onContainerLists({
    field: `resources.${kind}`,
    before: 'without ',
    which: 'lasting',
    bad: (container, spec) =>
      names.filter((name) =>
        kinds.every((key) =>
          [container, spec].every(
            (owner) => valueAt(owner, ['resources', key, name]) === undefined,
          ),
        ),
      ),
    cel: `${quoteAll(names)}.filter(n, ${missing.join(' && ')})`,
  });
}
