// Reads the texts of command-line options: durations, addresses, port mappings. Every refusal says what to write.
import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { formatHostPort } from '@weft/model/host-port';
import { InvalidArgumentError } from 'commander';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

export function parseAbsolutePath(text: string): string {
  if (isAbsolute(text)) return text;
  throw new InvalidArgumentError(`"${text}" is no absolute path; write /run/...`);
}

/** `300ms`, `10s`, `5m`, `1h`, `30d` as milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  const unit = match?.[2] === undefined ? undefined : UNIT_MS.get(match[2]);
  if (match?.[1] === undefined || unit === undefined) {
    throw new InvalidArgumentError(
      `"${text}" is no duration; write a number and a unit: 300ms, 10s, 5m, 1h`,
    );
  }
  return Math.round(Number(match[1]) * unit);
}

/** A TCP port, 0 for any free one. */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw new InvalidArgumentError(`"${text}" is no port; write 0 to 65535`);
  return port;
}

/** `HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone when a host is given to fall back on. */
export function parseHostPort(text: string, defaultHost?: string): HostPort {
  const colon = text.lastIndexOf(':');
  if (colon === -1) {
    if (defaultHost === undefined) {
      throw new InvalidArgumentError(`"${text}" has no port; write HOST:PORT`);
    }
    if (!/^\d+$/.test(text)) {
      throw new InvalidArgumentError(`"${text}" has no port; write HOST:PORT, or PORT alone`);
    }
    return { host: defaultHost, port: parsePort(text) };
  }
  const raw = text.slice(0, colon);
  const host = raw.startsWith('[') && raw.endsWith(']') ? raw.slice(1, -1) : raw;
  if (host.length === 0 || (raw === host && host.includes(':'))) {
    throw new InvalidArgumentError(`"${text}" is no address; write HOST:PORT or [IPv6]:PORT`);
  }
  return { host, port: parsePort(text.slice(colon + 1)) };
}

/** A mapping from the workload's port to where the application listens. */
export interface InboundMapping {
  /** The port others call and policies name. */
  readonly port: number;
  readonly target: HostPort;
}

/** `8080=127.0.0.1:3000`: what is called at port 8080 is passed to the application at 127.0.0.1:3000. */
export function parseInbound(text: string): InboundMapping {
  const [port, target, ...rest] = text.split('=');
  if (port === undefined || target === undefined || rest.length > 0) {
    throw new InvalidArgumentError(
      `"${text}" is no inbound mapping; write PORT=HOST:PORT, for example 8080=127.0.0.1:3000`,
    );
  }
  return { port: parsePort(port), target: parseHostPort(target, '127.0.0.1') };
}

/** A local address at which the application reaches one destination. */
export interface OutboundMapping {
  readonly listen: HostPort;
  readonly destination: HostPort;
}

/** `9001=prices.shop:80`: connections to local port 9001 go to the Service prices in namespace shop. */
export function parseOutbound(text: string): OutboundMapping {
  const [listen, destination, ...rest] = text.split('=');
  if (listen === undefined || destination === undefined || rest.length > 0) {
    throw new InvalidArgumentError(
      `"${text}" is no outbound mapping; write [HOST:]PORT=SERVICE.NAMESPACE:PORT, for example 9001=prices.shop:80`,
    );
  }
  return { listen: parseHostPort(listen, '127.0.0.1'), destination: parseHostPort(destination) };
}

/** A CIDR of either family, `10.0.0.0/8`. */
export function parseCidrText(text: string): string {
  const [address = '', length = '', ...rest] = text.split('/');
  const family = isIP(address);
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (family === 0 || rest.length > 0 || !(bits <= (family === 4 ? 32 : 128))) {
    throw new InvalidArgumentError(`"${text}" is no CIDR; write for example 10.0.0.0/8`);
  }
  return text;
}

/** `NAME=VALUE`, split at the first equals sign. */
export function parsePair(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError(`"${text}" has no value; write NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** An address of either family, without a port. */
export function parseIp(text: string): string {
  if (isIP(text) === 0) {
    throw new InvalidArgumentError(`"${text}" is no IP address; write for example 10.0.0.7`);
  }
  return text;
}

const DNS_PORT = 53;

/** `10.96.0.10`, `127.0.0.1:5353`, `[::1]:53`: as a resolver takes it. */
export function parseDnsServer(text: string): string {
  if (isIP(text) !== 0) return formatHostPort({ host: text, port: DNS_PORT });
  const { host, port } = parseHostPort(text);
  parseIp(host);
  return formatHostPort({ host, port });
}

/** For options that may be given many times. */
export const collect =
  <T>(parse: (text: string) => T) =>
  (text: string, previous: readonly T[] | undefined): readonly T[] => [
    ...(previous ?? []),
    parse(text),
  ];

/** `1337` or `1337:1337`. */
export function parseRunAs(text: string): { readonly uid: number; readonly gid: number } {
  const match = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(text);
  if (match?.[1] === undefined) {
    throw new InvalidArgumentError(`"${text}" is no user; write UID or UID:GID in numbers`);
  }
  return { uid: Number(match[1]), gid: Number(match[2] ?? match[1]) };
}

/** Of tokens: where others find the keys, as the tokens name it. */
export function parseIssuer(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.search === '' && url.hash === '' && url.username === '';
  if (url?.protocol === 'https:' && isPlain && !text.endsWith('/')) return text;
  throw new InvalidArgumentError(
    `"${text}" is no issuer; write https://HOST or https://HOST/PATH, without a closing slash`,
  );
}
