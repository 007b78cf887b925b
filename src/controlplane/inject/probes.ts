// Which application probes the sidecar makes in the kubelet's stead: under STRICT the kubelet, which has no certificate, would be refused.
import { type PlainObject, isPlainObject } from '@weft/model/policy/reader';
import { SIDECAR_PORTS } from './annotation-values.ts';
import { listAt, type PlacedContainer, textAt } from './pod-shape.ts';

interface HttpCall {
  readonly scheme: 'HTTP' | 'HTTPS';
  readonly port: number;
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

/** What the sidecar is told of one probe: an entry of WEFT_APP_PROBES. */
export type AppProbe = {
  readonly timeoutSeconds: number;
} & (
  | { readonly http: HttpCall }
  | { readonly tcp: { readonly port: number } }
  | { readonly grpc: { readonly port: number; readonly service: string } }
);

export const PROBE_KINDS = ['startup', 'readiness', 'liveness'] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];
export const probeKey = (kind: ProbeKind): string => `${kind}Probe`;

/** Kubernetes' default. */
const TIMEOUT_SECONDS = 1;
/** What the sidecar takes: longer is as good as never. */
const MAX_TIMEOUT_SECONDS = 3_600;
/** What the sidecar takes. */
const MAX_PROBES = 256;
/** What the sidecar sends: a request line and headers that no character can end early. */
const PATH = /^\/[\x21-\x7e]{0,8191}$/;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;
const HANDLERS = ['httpGet', 'tcpSocket', 'grpc'] as const;
type Handler = (typeof HANDLERS)[number];

/** The original handlers of a Pod: `{container: {readiness: {httpGet: …}}}`. */
export type OriginalProbes = Readonly<Record<string, PlainObject>>;

export interface RewrittenProbes {
  /** By `CONTAINER/KIND`. */
  readonly probes: ReadonlyMap<string, AppProbe>;
  readonly originals: OriginalProbes;
  readonly warnings: readonly string[];
  /** The container with its probes turned to the sidecar; by name. */
  readonly containers: ReadonlyMap<string, PlainObject>;
}

/** Where the kubelet reaches the application itself. */
export const probesAsTheyAre: RewrittenProbes = {
  probes: new Map(),
  originals: {},
  warnings: [],
  containers: new Map(),
};

/** @param isDirect ports that are reached without the sidecar: their probes stay as they are */
export function rewriteProbes(
  containers: readonly PlacedContainer[],
  isDirect: (port: number) => boolean,
): RewrittenProbes {
  const probes = new Map<string, AppProbe>();
  const originals: Record<string, PlainObject> = {};
  const warnings: string[] = [];
  const changed = new Map<string, PlainObject>();
  for (const { container, field, name } of containers) {
    for (const kind of PROBE_KINDS) {
      const probe = container[probeKey(kind)];
      if (!isPlainObject(probe)) continue;
      const handler = HANDLERS.find((key) => isPlainObject(probe[key]));
      if (handler === undefined) continue;
      const read = readProbe(container, probe, handler);
      const where = `${field}.${probeKey(kind)}.${handler}`;
      if (read.kind === 'elsewhere') continue;
      if (read.kind === 'unreadable') {
        warnings.push(`${where} is left as it is: ${read.why}`);
        continue;
      }
      if (isDirect(read.port)) continue;
      if (probes.size >= MAX_PROBES) {
        warnings.push(`${where} is left as it is: a sidecar makes at most ${MAX_PROBES} probes`);
        continue;
      }
      probes.set(`${name}/${kind}`, read.probe);
      originals[name] = { ...originals[name], [kind]: { [handler]: probe[handler] } };
      const turned = { ...probeWithout(probe, handler), httpGet: toSidecar(name, kind) };
      changed.set(name, { ...(changed.get(name) ?? container), [probeKey(kind)]: turned });
    }
    warnings.push(...hookWarnings(container, field, isDirect));
  }
  return { probes, originals, warnings, containers: changed };
}

const probeWithout = (probe: PlainObject, handler: string): PlainObject =>
  Object.fromEntries(Object.entries(probe).filter(([key]) => key !== handler));

const toSidecar = (container: string, kind: ProbeKind): PlainObject => ({
  path: `/app-probe/${container}/${kind}`,
  port: SIDECAR_PORTS.probes,
  scheme: 'HTTP',
});

type Read =
  | { readonly kind: 'probe'; readonly probe: AppProbe; readonly port: number }
  /** The kubelet does not ask this Pod. */
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'unreadable'; readonly why: string };

function readProbe(container: PlainObject, probe: PlainObject, handler: Handler): Read {
  const action = probe[handler];
  if (!isPlainObject(action)) return { kind: 'unreadable', why: 'it is no mapping' };
  if (handler !== 'grpc' && (textAt(action, 'host') ?? '') !== '') return { kind: 'elsewhere' };
  const port = portOf(container, action['port']);
  if (port === undefined) {
    const why = `its port ${JSON.stringify(action['port'])} is neither a number nor the name of a port of this container`;
    return { kind: 'unreadable', why };
  }
  const given = probe['timeoutSeconds'];
  const isGiven = typeof given === 'number' && Number.isInteger(given) && given > 0;
  const timeoutSeconds = isGiven ? Math.min(given, MAX_TIMEOUT_SECONDS) : TIMEOUT_SECONDS;
  if (handler === 'tcpSocket') {
    return { kind: 'probe', port, probe: { tcp: { port }, timeoutSeconds } };
  }
  if (handler === 'grpc') {
    const grpc = { port, service: textAt(action, 'service') ?? '' };
    return { kind: 'probe', port, probe: { grpc, timeoutSeconds } };
  }
  const http = readHttp(action, port);
  if (typeof http === 'string') return { kind: 'unreadable', why: http };
  return { kind: 'probe', port, probe: { http, timeoutSeconds } };
}

/** @returns why the sidecar cannot make this call */
function readHttp(action: PlainObject, port: number): HttpCall | string {
  const scheme = textAt(action, 'scheme') ?? 'HTTP';
  if (scheme !== 'HTTP' && scheme !== 'HTTPS') {
    return `its scheme ${JSON.stringify(scheme)} is not known`;
  }
  const path = pathOf(action);
  if (!PATH.test(path)) return 'its path has characters that must be percent-encoded';
  const headers = listAt(action, 'httpHeaders').map((header) => ({
    name: textAt(header, 'name') ?? '',
    value: textAt(header, 'value') ?? '',
  }));
  const bad = headers.find(
    ({ name, value }) => !HEADER_NAME.test(name) || !HEADER_VALUE.test(value),
  );
  if (bad !== undefined) {
    return `its header ${JSON.stringify(bad.name)} has characters that no header may have`;
  }
  return { scheme, port, path, headers };
}

/** As the kubelet reads it: the leading slash may be left out. */
function pathOf(action: PlainObject): string {
  const path = textAt(action, 'path') ?? '/';
  return path.startsWith('/') ? path : `/${path}`;
}

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;

function portOf(container: PlainObject, port: unknown): number | undefined {
  if (isPort(port)) return port;
  if (typeof port !== 'string') return undefined;
  const named = listAt(container, 'ports').find((entry) => entry['name'] === port);
  if (named !== undefined && isPort(named['containerPort'])) return named['containerPort'];
  // "8080" in quotes is a name to Kubernetes' types, and a number to the kubelet.
  const number = /^[0-9]{1,5}$/.test(port) ? Number(port) : undefined;
  return isPort(number) ? number : undefined;
}

/** Where a probe with this handler asks; `undefined` where there is none, or its port is not known. */
export function probedPort(
  container: PlainObject,
  kind: ProbeKind,
  handler: Handler,
): number | undefined {
  const probe = container[probeKey(kind)];
  const action = isPlainObject(probe) ? probe[handler] : undefined;
  return isPlainObject(action) ? portOf(container, action['port']) : undefined;
}

/** The kubelet makes these calls itself: under STRICT they are refused like anybody's without a certificate. */
function hookWarnings(
  container: PlainObject,
  field: string,
  isDirect: (port: number) => boolean,
): readonly string[] {
  const lifecycle = container['lifecycle'];
  if (!isPlainObject(lifecycle)) return [];
  return ['postStart', 'preStop'].flatMap((hook) => {
    const action = lifecycle[hook];
    const call = isPlainObject(action) ? action['httpGet'] : undefined;
    if (!isPlainObject(call)) return [];
    const port = portOf(container, call['port']);
    if (port !== undefined && isDirect(port)) return [];
    return [
      `${field}.lifecycle.${hook} is an HTTP call of the kubelet, which STRICT refuses: use exec, or exclude its port by weft.dev/exclude-inbound-ports`,
    ];
  });
}

/** A container with the probes it had before `rewriteProbes`. */
export function restoreProbes(container: PlainObject, originals: OriginalProbes): PlainObject {
  const kept = originals[textAt(container, 'name') ?? ''];
  if (!isPlainObject(kept)) return container;
  let restored = container;
  for (const kind of PROBE_KINDS) {
    const handler = kept[kind];
    const probe = restored[probeKey(kind)];
    if (!isPlainObject(handler) || !isPlainObject(probe)) continue;
    const timing = HANDLERS.reduce(probeWithout, probe);
    restored = { ...restored, [probeKey(kind)]: { ...timing, ...handler } };
  }
  return restored;
}
