// Finds in a Pod what is not as it should be, twice from one description: here in the process, and as CEL for the API server.
import type { PlainObject } from '../policy/reader.ts';
import { isWeftCapture, WEFT_CAPTURE_CEL } from './weft-capture.ts';
import { containersOf, listIn, objectIn, type PodContainer } from './workload.ts';

/** What is looked at. */
export interface PodView {
  readonly spec: PlainObject;
  readonly annotations: PlainObject;
  /** Of Weft's step that redirects traffic, where it may have what it needs. */
  readonly captureImage: string | undefined;
}

/** What was found: `container "web": securityContext.privileged is true`. */
export interface Found {
  /** `pod`, `container "web"`, `volume "logs"`. */
  readonly where: string;
  readonly container?: string;
  readonly field: string;
  readonly value: string;
}

/** The same text as the CEL makes. */
export const foundText = ({ where, field, value }: Found): string =>
  `${where}: ${field} is ${value}`;

/**
 * One way to look. `cel` is a list of the texts of what it finds; it may use `variables.spec`, `.annotations`,
 * `.volumes`, `.containers`, `.lasting` (all but ephemeral ones) and `.own` (all but Weft's step, where that may).
 */
export interface Finder {
  find(pod: PodView): readonly Found[];
  readonly cel: string;
}

/** Says of one value that may be absent whether it is wrong, and what to say of it. */
export interface Test {
  isBad(value: unknown): boolean;
  /** @param optional an expression whose value is an optional */
  celIsBad(optional: string): string;
  readonly type: 'text' | 'plain';
}

export const quote = (text: string): string => JSON.stringify(text);
export const quoteAll = (texts: readonly (string | number)[]): string => JSON.stringify(texts);

/** JSON's null is how some write what is absent. */
const given = (value: unknown): unknown => (value === null ? undefined : value);

/** Must be there, and be that. */
export const mustBe = (wanted: boolean): Test => ({
  isBad: (value) => value !== wanted,
  celIsBad: (optional) => `${optional}.orValue(${!wanted}) != ${wanted}`,
  type: 'plain',
});

export const absentOr = (wanted: boolean): Test => ({
  isBad: (value) => value !== undefined && value !== wanted,
  celIsBad: (optional) => `${optional}.orValue(${wanted}) != ${wanted}`,
  type: 'plain',
});

export const oneOf = (allowed: readonly string[]): Test => ({
  isBad: (value) => typeof value !== 'string' || !allowed.includes(value),
  celIsBad: (optional) =>
    `(!${optional}.hasValue() || !(${optional}.value() in ${quoteAll(allowed)}))`,
  type: 'text',
});

export const absentOrOneOf = (allowed: readonly string[]): Test => ({
  isBad: (value) => value !== undefined && (typeof value !== 'string' || !allowed.includes(value)),
  celIsBad: (optional) =>
    `(${optional}.hasValue() && !(${optional}.value() in ${quoteAll(allowed)}))`,
  type: 'text',
});

export const notZero: Test = {
  isBad: (value) => value === 0,
  celIsBad: (optional) => `${optional}.orValue(1) == 0`,
  type: 'plain',
};

export const valueAt = (owner: PlainObject, path: readonly string[]): unknown => {
  const [last = '', ...before] = path.toReversed();
  return given(objectIn(owner, ...before.toReversed())[last]);
};

export const optionalAt = (owner: string, path: readonly string[]): string =>
  `${owner}${path.map((key) => `.?${key}`).join('')}`;

const NOT_SET = 'not set';

function shownValue(value: unknown): string {
  if (value === undefined) return NOT_SET;
  return typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? NOT_SET);
}

const celShown = (optional: string, { type }: Test): string => {
  const text =
    type === 'text' ? `"\\"" + ${optional}.value() + "\\""` : `string(${optional}.value())`;
  return `(${optional}.hasValue() ? ${text} : ${quote(NOT_SET)})`;
};

export function all(...finders: readonly Finder[]): Finder {
  return {
    find: (pod) => finders.flatMap((finder) => finder.find(pod)),
    cel: finders.length === 0 ? '[]' : finders.map(({ cel }) => cel).join(' + '),
  };
}

/** What exempts a whole Pod from a check, as the standards have it. */
export type Guard = 'windows' | 'user-namespace';

const GUARDS: Readonly<Record<Guard, { holds(spec: PlainObject): boolean; cel: string }>> = {
  windows: {
    holds: (spec) => valueAt(spec, ['os', 'name']) === 'windows',
    cel: 'variables.spec.?os.?name.orValue("") == "windows"',
  },
  'user-namespace': {
    holds: (spec) => given(spec['hostUsers']) === false,
    cel: 'variables.spec.?hostUsers.orValue(true) == false',
  },
};

export function unless(guards: readonly Guard[], finder: Finder): Finder {
  return guards.reduce<Finder>((inner, name) => {
    const guard = GUARDS[name];
    return {
      find: (pod) => (guard.holds(pod.spec) ? [] : inner.find(pod)),
      cel: `(${guard.cel} ? [] : ${inner.cel})`,
    };
  }, finder);
}

export function onPod(path: readonly string[], test: Test): Finder {
  const field = path.join('.');
  const optional = optionalAt('variables.spec', path);
  return {
    find({ spec }) {
      const value = valueAt(spec, path);
      return test.isBad(value) ? [{ where: 'pod', field, value: shownValue(value) }] : [];
    },
    cel: `(${test.celIsBad(optional)} ? [${quote(`pod: ${field} is `)} + ${celShown(optional, test)}] : [])`,
  };
}

/** `own`: all but Weft's own step, where the policy lets it have what it needs. `lasting`: all but ephemeral ones. */
export type Which = 'containers' | 'own' | 'lasting';

function chosen(pod: PodView, which: Which): readonly PodContainer[] {
  const containers = containersOf(pod.spec);
  if (which === 'lasting') return containers.filter(({ list }) => list !== 'ephemeralContainers');
  if (which === 'containers' || pod.captureImage === undefined) return containers;
  return containers.filter((one) => !isWeftCapture(one, pod.captureImage));
}

const ofContainer = (name: string): { readonly where: string; readonly container: string } => ({
  where: `container "${name}"`,
  container: name,
});

const celContainer = (field: string): string =>
  `"container \\"" + c.name + ${quote(`": ${field} is `)}`;

export interface ContainerOptions {
  readonly which?: Which;
  /** What a container says nothing of, the Pod may say for all. */
  readonly inherits?: boolean;
}

export function onContainers(
  path: readonly string[],
  test: Test,
  { which = 'containers', inherits = false }: ContainerOptions = {},
): Finder {
  const field = path.join('.');
  const own = optionalAt('c', path);
  const optional = inherits ? `${own}.or(${optionalAt('variables.spec', path)})` : own;
  return {
    find: (pod) =>
      chosen(pod, which).flatMap(({ name, container }) => {
        const said = valueAt(container, path);
        const value = inherits && said === undefined ? valueAt(pod.spec, path) : said;
        return test.isBad(value) ? [{ ...ofContainer(name), field, value: shownValue(value) }] : [];
      }),
    cel: `variables.${which}.filter(c, ${test.celIsBad(optional)}).map(c, ${celContainer(field)} + ${celShown(optional, test)})`,
  };
}

export interface ListLook {
  readonly field: string;
  /** Said before the list. */
  readonly before?: string;
  readonly which?: Which;
  /** What of the container stands against it, as texts. */
  bad(container: PlainObject, spec: PlainObject): readonly string[];
  /** The same as a list of texts; `c` is the container. */
  readonly cel: string;
}

/** One finding for each container that has anything of the kind. */
export function onContainerLists(look: ListLook): Finder {
  const { field, before = '', which = 'containers' } = look;
  return {
    find: (pod) =>
      chosen(pod, which).flatMap(({ name, container }) => {
        const bad = look.bad(container, pod.spec);
        return bad.length === 0
          ? []
          : [{ ...ofContainer(name), field, value: `${before}[${bad.join(', ')}]` }];
      }),
    cel: `variables.${which}.filter(c, (${look.cel}).size() > 0).map(c, ${celContainer(field)} + ${quote(`${before}[`)} + (${look.cel}).join(", ") + "]")`,
  };
}

export interface VolumeLook {
  readonly field: string;
  /** What stands against it; absent: nothing. */
  bad(volume: PlainObject, spec: PlainObject): string | undefined;
  /** Whether `v` is wrong, and its value as a text. */
  readonly celIsBad: string;
  readonly celValue: string;
}

export function onVolumes(look: VolumeLook): Finder {
  return {
    find: ({ spec }) =>
      listIn(spec, 'volumes').flatMap((volume) => {
        const value = look.bad(volume, spec);
        const where = `volume "${String(volume['name'])}"`;
        return value === undefined ? [] : [{ where, field: look.field, value }];
      }),
    cel: `variables.volumes.filter(v, ${look.celIsBad}).map(v, "volume \\"" + v.name + ${quote(`": ${look.field} is `)} + ${look.celValue})`,
  };
}

/** Names of `spec.securityContext.sysctls` that are not among those. */
export function onSysctls(allowed: readonly string[]): Finder {
  const field = 'securityContext.sysctls';
  return {
    find: ({ spec }) =>
      listIn(objectIn(spec, 'securityContext'), 'sysctls').flatMap(({ name }) =>
        typeof name === 'string' && allowed.includes(name)
          ? []
          : [{ where: 'pod', field, value: shownValue(name) }],
      ),
    cel: `variables.spec.?securityContext.?sysctls.orValue([]).filter(s, !(s.name in ${quoteAll(allowed)})).map(s, ${quote(`pod: ${field} is "`)} + s.name + "\\"")`,
  };
}

const APP_ARMOR = 'container.apparmor.security.beta.kubernetes.io/';

/** The annotations that said what the field says now; old clients still write them. */
export function onAppArmorAnnotations(): Finder {
  const isBad = (value: unknown): boolean =>
    typeof value !== 'string' ||
    (value !== '' && value !== 'runtime/default' && !value.startsWith('localhost/'));
  return {
    find: ({ annotations }) =>
      Object.entries(annotations).flatMap(([key, value]) =>
        key.startsWith(APP_ARMOR) && isBad(value)
          ? [{ where: 'pod', field: `annotations.${key}`, value: shownValue(value) }]
          : [],
      ),
    cel: `variables.annotations.filter(k, k.startsWith(${quote(APP_ARMOR)}) && !(variables.annotations[k] in ["", "runtime/default"]) && !variables.annotations[k].startsWith("localhost/")).map(k, "pod: annotations." + k + " is \\"" + variables.annotations[k] + "\\"")`,
  };
}

/** What all of these expressions stand on. */
export function celVariables(
  captureImage: string | undefined,
): readonly { readonly name: string; readonly expression: string }[] {
  const init = 'variables.spec.?initContainers.orValue([])';
  const own =
    captureImage === undefined
      ? 'variables.containers'
      : `${init}.filter(c, !(${WEFT_CAPTURE_CEL(quote(captureImage))})) + variables.spec.containers + variables.spec.?ephemeralContainers.orValue([])`;
  return [
    { name: 'volumes', expression: 'variables.spec.?volumes.orValue([])' },
    { name: 'lasting', expression: `${init} + variables.spec.containers` },
    {
      name: 'containers',
      expression: 'variables.lasting + variables.spec.?ephemeralContainers.orValue([])',
    },
    { name: 'own', expression: own },
  ];
}

/** Texts of a list at `path` of a container; what is no text is left out. */
export function textsAt(owner: PlainObject, path: readonly string[]): readonly string[] {
  const value = valueAt(owner, path);
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}
