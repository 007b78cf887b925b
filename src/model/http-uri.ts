// Reads an http or https address strictly: what it leads to is what it seems to lead to.
import { isIP } from 'node:net';
import { isDnsSubdomain } from './identity.ts';

export interface HttpUri {
  readonly isTls: boolean;
  /** A DNS name in lower case, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** Path and query, beginning with `/`. */
  readonly target: string;
}

const SCHEMES = [
  { prefix: 'https://', isTls: true, port: 443 },
  { prefix: 'http://', isTls: false, port: 80 },
] as const;

/**
 * @returns `undefined` for everything that parsers of addresses disagree about: a user, a fragment, backslashes, white
 * space, bytes that are not ASCII, ports and addresses in other than their plain forms.
 */
export function parseHttpUri(text: string): HttpUri | undefined {
  const scheme = SCHEMES.find(
    ({ prefix }) => text.slice(0, prefix.length).toLowerCase() === prefix,
  );
  if (scheme === undefined || !isPlain(text)) return undefined;
  const rest = text.slice(scheme.prefix.length);
  let end = 0;
  while (end < rest.length && rest[end] !== '/' && rest[end] !== '?') end++;
  const authority = rest.slice(0, end);
  const tail = rest.slice(end);
  const named = splitAuthority(authority);
  if (named === undefined) return undefined;
  const port = named.port === '' ? scheme.port : portOf(named.port);
  const isHost = isIP(named.host) !== 0 || isName(named.host);
  if (port === undefined || !isHost) return undefined;
  const target = tail.startsWith('/') ? tail : `/${tail}`;
  return { isTls: scheme.isTls, host: named.host, port, target };
}

function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f) return false;
    if (FORBIDDEN.includes(text[at] ?? '')) return false;
  }
  return true;
}

const FORBIDDEN = '@#\\<>"^`{|}';

function splitAuthority(
  authority: string,
): { readonly host: string; readonly port: string } | undefined {
  const closing = authority.startsWith('[') ? authority.indexOf(']') : -1;
  if (closing !== -1) {
    const host = authority.slice(1, closing);
    const rest = authority.slice(closing + 1);
    if (host.includes('%') || isIP(host) !== 6 || (rest !== '' && !rest.startsWith(':')))
      return undefined;
    return { host: host.toLowerCase(), port: rest.slice(1) };
  }
  const [host = '', port = '', ...more] = authority.split(':');
  const hasEmptyPort = authority.endsWith(':');
  return more.length > 0 || hasEmptyPort ? undefined : { host: host.toLowerCase(), port };
}

function portOf(text: string): number | undefined {
  const port = Number(text);
  const isPlainNumber = text.length <= 5 && String(port) === text;
  return isPlainNumber && port >= 1 && port <= 65_535 ? port : undefined;
}

/** A last label of digits makes an address of some form to some resolver: `127.1`, `0x7f.1`, `2130706433`. */
function isName(host: string): boolean {
  const last = host.slice(host.lastIndexOf('.') + 1);
  const startsLikeNumber = (last[0] ?? '0') >= '0' && (last[0] ?? '0') <= '9';
  return isDnsSubdomain(host) && !startsLikeNumber;
}
