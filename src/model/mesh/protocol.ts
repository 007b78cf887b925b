// Which protocol a port speaks, by its appProtocol, its name or its number.

/** `tls`: the application's own TLS, passed through. `auto`: found by looking at the first bytes. */
export type PortProtocol = 'http1' | 'http2' | 'grpc' | 'tcp' | 'tls' | 'auto';

/** Names as Istio reads them, and Kubernetes' standard application protocols. */
const BY_NAME: ReadonlyMap<string, PortProtocol> = new Map([
  ['http', 'http1'],
  ['http1', 'http1'],
  ['http2', 'http2'],
  ['h2c', 'http2'],
  ['grpc', 'grpc'],
  // gRPC-Web is gRPC's messages over plain HTTP: browsers choose the version.
  ['grpc-web', 'http1'],
  ['ws', 'http1'],
  ['wss', 'tls'],
  ['https', 'tls'],
  ['tls', 'tls'],
  ['tcp', 'tcp'],
  ['mongo', 'tcp'],
  ['mongodb', 'tcp'],
  ['mysql', 'tcp'],
  ['redis', 'tcp'],
  ['postgres', 'tcp'],
  ['postgresql', 'tcp'],
  ['amqp', 'tcp'],
  ['kafka', 'tcp'],
  ['smtp', 'tcp'],
  ['imap', 'tcp'],
  ['pop3', 'tcp'],
  ['ftp', 'tcp'],
  ['ssh', 'tcp'],
]);

/** Where the server speaks first by convention: waiting there for the client's first bytes would only delay it. */
const SERVER_FIRST_PORTS: ReadonlySet<number> = new Set([
  21, 22, 25, 110, 143, 587, 3306, 5432, 27_017,
]);

/**
 * `appProtocol` before the name; of a name the part before the first dash counts (`http-metrics`, but also all of
 * `grpc-web`). Names that say nothing are `auto`.
 */
export function detectProtocol(port: {
  readonly name: string;
  readonly port: number;
  readonly appProtocol?: string | undefined;
}): PortProtocol {
  const declared = port.appProtocol?.toLowerCase() ?? '';
  const slash = declared.lastIndexOf('/');
  const byAppProtocol = BY_NAME.get(declared.slice(slash + 1));
  if (byAppProtocol !== undefined) return byAppProtocol;
  const name = port.name.toLowerCase();
  if (name === 'grpc-web' || name.startsWith('grpc-web-')) return 'http1';
  const dash = name.indexOf('-');
  const byName = BY_NAME.get(dash === -1 ? name : name.slice(0, dash));
  if (byName !== undefined) return byName;
  return SERVER_FIRST_PORTS.has(port.port) ? 'tcp' : 'auto';
}

export const isHttp = (protocol: PortProtocol): boolean =>
  protocol === 'http1' || protocol === 'http2' || protocol === 'grpc';
