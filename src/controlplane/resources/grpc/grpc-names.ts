// How gRPC clients and servers without a proxy name what they ask for.
import { parseIp } from '@weft/model/ip';

/** With `%s` for where the server listens: what the bootstrap's `server_listener_resource_name_template` says. */
export const SERVER_LISTENER_TEMPLATE = 'grpc/server?xds.resource.listening_address=%s';
const SERVER_PREFIX = SERVER_LISTENER_TEMPLATE.slice(0, -'%s'.length);
/** `certificate_providers` of the bootstrap: the workload's own certificate, and the bundle. */
export const CERTIFICATE_PROVIDER = 'weft';

const DESTINATION_PREFIX = 'outbound|';
const MAX_PORT = 65_535;

/** Where a server listens, as it says it itself. */
export interface ListeningAddress {
  readonly address: string;
  readonly port: number;
}

export const isServerListener = (name: string): boolean => name.startsWith(SERVER_PREFIX);

/**
 * A server's listener says in its version which inbound listener's rules it carries, so that whoever acknowledged it has
 * acknowledged those.
 */
export const serverVersionOf = (inbound: string, own: string): string => `${inbound}.${own}`;

/** The other way round. */
export const inboundVersionOf = (version: string | undefined): string | undefined =>
  version?.split('.', 1)[0];

/** @returns `undefined` when the name is no server's, or says no address. */
export function listeningAddressOf(name: string): ListeningAddress | undefined {
  if (!name.startsWith(SERVER_PREFIX)) return undefined;
  const text = name.slice(SERVER_PREFIX.length);
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(colon, 0));
  const address = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  const digits = text.slice(colon + 1);
  const port = Number(digits);
  const isPort = String(port) === digits && Number.isInteger(port) && port > 0 && port <= MAX_PORT;
  return isPort && parseIp(address) !== undefined ? { address, port } : undefined;
}

/** `xds:///HOST:PORT`: of a destination's name, `outbound|PORT||HOST`. */
export function clientListenerOf(destination: string): string {
  const [port = '', , host = ''] = destination.slice(DESTINATION_PREFIX.length).split('|');
  return `${host}:${port}`;
}

/** The other way round; what is no such name is the name of nothing. */
export function destinationOf(listener: string): string {
  const colon = listener.lastIndexOf(':');
  return `${DESTINATION_PREFIX}${listener.slice(colon + 1)}||${listener.slice(0, Math.max(colon, 0))}`;
}
