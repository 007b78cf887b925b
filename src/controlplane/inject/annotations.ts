// The table of Pod annotations that steer injection: the one source of what is read, what the reference says and what errors advise.
import { shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import {
  ACCESS_LOGS,
  choice,
  cidrs,
  cpu,
  duration,
  LOG_LEVELS,
  memory,
  ports,
  some,
  truth,
  userId,
  userIds,
  type ValueForm,
} from './annotation-values.ts';

const PREFIX = 'weft.dev/';

interface Annotation<T> extends ValueForm<T> {
  /** With its prefix. */
  readonly name: string;
  /** As the reference shows it; what applies is the mesh's settings. */
  readonly fallback: string;
  readonly doc: string;
}

const annotation = <T>(
  name: string,
  form: ValueForm<T>,
  fallback: string,
  doc: string,
): Annotation<T> => ({ ...form, name: `${PREFIX}${name}`, fallback, doc });

/** Written by injection, read by whoever undoes it. */
export const INJECTED_ANNOTATION = `${PREFIX}injected`;
/** Of a Namespace: `enabled` or `disabled`. */
export const INJECTION_LABEL = `${PREFIX}injection`;

export const ANNOTATIONS = {
  inject: annotation(
    'inject',
    truth,
    "the namespace's label `weft.dev/injection`",
    'Opts this Pod in or out. A label of the same name does the same, and is what opts a Pod in where the namespace is not labelled: webhooks are called by labels. Where the two disagree `false` holds.',
  ),
  sidecarMode: annotation(
    'sidecar-mode',
    choice('native', 'classic'),
    '`native`',
    '`native`: an init container with `restartPolicy: Always`. It starts before and ends after the application, and Jobs complete. `classic`: an ordinary container, the first one; the others start when it is ready.',
  ),
  proxy: annotation(
    'proxy',
    choice('weft', 'envoy', 'none'),
    '`weft`',
    "`weft`: Weft's own sidecar. `envoy`: an Envoy, with Weft's agent beside it in the same container. It has the same identity, the same policies and the same ports; see docs/envoy.md. `none`: nothing stands before the Pod; its gRPC programs take identity, endpoints and policies by xDS themselves, with an agent beside them; see docs/grpc.md.",
  ),
  capture: annotation(
    'capture',
    choice('init', 'none'),
    '`init`',
    '`init`: an init container with NET_ADMIN sets the redirect. `none`: something on the node does (a CNI plugin); the Pod then needs no privilege, and never becomes ready where nothing is redirected.',
  ),
  excludeInboundPorts: annotation(
    'exclude-inbound-ports',
    ports,
    'none',
    'Callers reach these ports without the sidecar: no mutual TLS, no policy.',
  ),
  excludeOutboundPorts: annotation(
    'exclude-outbound-ports',
    ports,
    'none',
    'Calls to these ports leave the Pod without the sidecar, in plain text.',
  ),
  excludeOutboundCidrs: annotation(
    'exclude-outbound-cidrs',
    cidrs,
    'none',
    'Calls to these addresses leave the Pod without the sidecar, in plain text.',
  ),
  logLevel: annotation('log-level', LOG_LEVELS, '`info`', "What the sidecar's own log says."),
  accessLog: annotation(
    'access-log',
    ACCESS_LOGS,
    '`errors`',
    'Requests and connections that are logged. Refusals are among the errors.',
  ),
  sidecarCpu: annotation('sidecar-cpu', cpu, '`50m`', 'CPU that the sidecar requests.'),
  sidecarMemory: annotation(
    'sidecar-memory',
    memory,
    '`96Mi`',
    'Memory that the sidecar requests.',
  ),
  sidecarCpuLimit: annotation(
    'sidecar-cpu-limit',
    cpu,
    'no limit',
    'CPU that the sidecar gets at most. Where it is reached every call waits.',
  ),
  sidecarMemoryLimit: annotation(
    'sidecar-memory-limit',
    memory,
    '`256Mi`',
    'Memory at which the sidecar is killed.',
  ),
  credentials: annotation(
    'credentials',
    some('files', 'url'),
    'none',
    'How the application is handed what CredentialBindings grant it, under `/var/run/weft/credentials`, a volume in memory: `files`: `NAME/KEY`, readable by `fsGroup`, which must be set; `url`: the Unix socket `.socket`. See docs/credentials.md. What is injected into requests needs no annotation.',
  ),
  credentialsUsers: annotation(
    'credentials-users',
    userIds,
    '`runAsUser` of the containers',
    'The users whom that socket answers. Needed where an image says as whom it runs.',
  ),
  workloadApi: annotation(
    'workload-api',
    truth,
    '`false`',
    "Serves SPIFFE's Workload API to the application, at the socket that `SPIFFE_ENDPOINT_SOCKET` names in its containers. See docs/spiffe.md.",
  ),
  workloadApiUsers: annotation(
    'workload-api-users',
    userIds,
    '`runAsUser` of the containers',
    'The users whom it answers. Needed where an image says as whom it runs.',
  ),
  grpcUser: annotation(
    'grpc-user',
    userId,
    '`runAsUser` of the containers',
    'With `weft.dev/proxy: none`: the user whose the certificate and the key are. Needed where an image says as whom it runs, and where containers run as different users: the others have neither.',
  ),
  drainTime: annotation(
    'drain-time',
    duration,
    '`10s`',
    'How long requests in flight may take when the Pod ends. Keep it below `terminationGracePeriodSeconds`.',
  ),
} as const;

type Table = typeof ANNOTATIONS;
type Key = keyof Table;
type ValueOf<K extends Key> = Table[K] extends Annotation<infer T> ? T : never;

/** What a Pod's annotations ask for; absent: the mesh's settings apply. */
export type PodAnnotations = { readonly [K in Key]?: ValueOf<K> };

/** Annotations of Pods with the same prefix that are read elsewhere. */
const OTHERS: ReadonlySet<string> = new Set(
  ['injected', 'pod-ips', 'application', 'path-normalization', 'ambiguous-paths'].map(
    (name) => `${PREFIX}${name}`,
  ),
);

const KEYS = Object.keys(ANNOTATIONS) as readonly Key[];

/**
 * Values that are not understood are errors of `reader`, never ignored.
 * @param field where `annotations` stand: `metadata.annotations`
 * @param warn is told of names with Weft's prefix that mean nothing
 */
export function readAnnotations(
  reader: Reader,
  annotations: PlainObject,
  field: string,
  warn: (message: string) => void,
): PodAnnotations {
  const read: Partial<Record<Key, unknown>> = {};
  for (const key of KEYS) {
    const { name, cure, parse } = ANNOTATIONS[key];
    const text = annotations[name];
    if (text === undefined) continue;
    const value = typeof text === 'string' ? parse(text) : undefined;
    const found = typeof text === 'string' ? shown(text) : JSON.stringify(text);
    if (value === undefined) {
      reader.error(`${field}.${name}`, 'bad-annotation', `${found} is no value of ${name}`, cure);
    } else read[key] = value;
  }
  for (const name of Object.keys(annotations)) {
    if (!name.startsWith(PREFIX) || OTHERS.has(name)) continue;
    if (KEYS.some((key) => ANNOTATIONS[key].name === name)) continue;
    const near = KEYS.map((key) => ANNOTATIONS[key].name).find(
      (known) => known.startsWith(name.toLowerCase()) || name.toLowerCase().startsWith(known),
    );
    const hint = near === undefined ? '' : `: did you mean ${near}?`;
    warn(`${field}.${name.slice(0, 120)} is not known to Weft and has no effect${hint}`);
  }
  return read as PodAnnotations;
}

/** The reference, as a Markdown table. */
export function annotationsReference(): string {
  const rows = KEYS.map((key) => {
    const { name, type, fallback, doc } = ANNOTATIONS[key];
    return `| \`${name}\` | ${type} | ${fallback} | ${doc} |`;
  });
  return ['| annotation | value | default | what it does |', '|---|---|---|---|', ...rows].join(
    '\n',
  );
}
