// Reads what a sidecar's own file says of addresses: where it listens, where the application is, and its own ports.
import type { PlainObject, Reader } from '@weft/model/policy/reader';
import { shown } from '@weft/model/policy/reader';
import type { AccessLogMode } from '@weft/dataplane/telemetry/access-log';
import { type HostPort, parseHostPort } from '../parse.ts';

/** Ports of one application; each is a socket. */
const MAX_LISTEN = 32;
const LOOPBACK = '127.0.0.1';

/** What a port carries, as `appProtocol` says it. */
export const PROTOCOLS = ['http', 'http2', 'grpc', 'tcp', 'auto'] as const;
export type StaticProtocol = (typeof PROTOCOLS)[number];
const LOG_MODES: readonly AccessLogMode[] = ['off', 'errors', 'all'];

export interface StaticPort {
  /** What policies and the log call it; that of `listen`, or a free one where any port is taken. */
  readonly port: number;
  readonly listen: HostPort;
}

export interface StaticPorts {
  readonly ports: readonly StaticPort[];
  readonly application: HostPort;
  readonly protocol: StaticProtocol;
  readonly admin: HostPort;
  readonly probes: HostPort | undefined;
  readonly metrics: HostPort | undefined;
  readonly accessLog: AccessLogMode;
}

export const PORT_KEYS = [
  'listen',
  'application',
  'protocol',
  'admin',
  'probes',
  'metrics',
  'accessLog',
];

const DEFAULT_ADMIN: HostPort = { host: LOOPBACK, port: 15_000 };

/** @returns `undefined` when something is wrong, which is then among the reader's problems. */
export function readPorts(reader: Reader, file: PlainObject): StaticPorts | undefined {
  const before = reader.problems.length;
  const ports = readListen(reader, file['listen']);
  const application = address(reader, file['application'], 'application');
  if (application === undefined && file['application'] === undefined) {
    const cure = 'write where the application listens: application: 127.0.0.1:3000';
    reader.error('application', 'missing', 'is missing', cure);
  }
  if (application?.port === 0) {
    reader.error('application', 'bad-port', 'port 0 is nobody’s', 'write the application’s port');
  }
  const parts = {
    ports,
    protocol: choice(reader, file, 'protocol', PROTOCOLS) ?? 'http',
    admin: address(reader, file['admin'], 'admin') ?? DEFAULT_ADMIN,
    probes: address(reader, file['probes'], 'probes'),
    metrics: address(reader, file['metrics'], 'metrics'),
    accessLog: choice(reader, file, 'accessLog', LOG_MODES) ?? 'errors',
  };
  if (application === undefined || reader.problems.length > before) return undefined;
  return { ...parts, application };
}

function readListen(reader: Reader, value: unknown): readonly StaticPort[] {
  if (value === undefined) {
    const cure = 'write where clients call: listen: 0.0.0.0:8080';
    reader.error('listen', 'missing', 'is missing', cure);
    return [];
  }
  const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (entries.length === 0 || entries.length > MAX_LISTEN) {
    reader.error(
      'listen',
      'too-many',
      `${entries.length} addresses, 1 to ${MAX_LISTEN} are allowed`,
    );
    return [];
  }
  const all = entries.flatMap((entry, index) => {
    const field = Array.isArray(value) ? `listen[${index}]` : 'listen';
    return address(reader, entry, field) ?? [];
  });
  const taken = new Set(all.map(({ port }) => port));
  return all.map((listen) => {
    if (listen.port !== 0) return { port: listen.port, listen };
    let port = 1;
    while (taken.has(port)) port++;
    taken.add(port);
    return { port, listen };
  });
}

/** Without a host loopback is meant: nobody is to be let in by an omission. */
function address(reader: Reader, value: unknown, field: string): HostPort | undefined {
  const text = typeof value === 'number' ? String(value) : reader.string(value, field);
  if (text === undefined) return undefined;
  try {
    return parseHostPort(text, LOOPBACK);
  } catch (error) {
    const cure = 'write HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080';
    reader.error(
      field,
      'bad-address',
      error instanceof Error ? error.message : String(error),
      cure,
    );
    return undefined;
  }
}

function choice<T extends string>(
  reader: Reader,
  file: PlainObject,
  key: string,
  choices: readonly T[],
): T | undefined {
  const text = reader.string(file[key], key);
  if (text === undefined) return undefined;
  const found = choices.find((one) => one === text);
  if (found === undefined) {
    reader.error(key, 'unknown-value', `${shown(text)} is unknown`, `write ${choices.join(', ')}`);
  }
  return found;
}
