// What a credential is in the sidecar, and how one is read off the wire: closed where anything about it is unclear.
import { isToken, RESERVED_FIELDS } from '@weft/model/http-fields';
import type { Injection, InjectionScheme } from '@weft/model/credentials/types';
import { isDnsLabel } from '@weft/model/identity';
import { messageOf, messagesOf, textOf, textsOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';

/** A way in which a credential leaves the sidecar. */
export type Way = 'injected' | 'url' | 'files';

export interface Credential {
  readonly name: string;
  readonly version: string;
  readonly values: ReadonlyMap<string, Buffer>;
  readonly ways: ReadonlySet<Way>;
  readonly injections: readonly Injection[];
}

/** 1 MiB, as Kubernetes' Secrets have it. */
const MAX_VALUES_BYTES = 1_048_576;
const MAX_KEYS = 256;
/** As keys of Kubernetes' Secrets. */
const MAX_KEY_LENGTH = 253;
const MAX_VERSION_LENGTH = 128;
const MAX_INJECTIONS = 64;
const MAX_HOSTS = 64;
const MAX_HOST_LENGTH = 260;

const WAYS: ReadonlyMap<unknown, Way> = new Map([
  ['WAY_INJECTED', 'injected'],
  ['WAY_URL', 'url'],
  ['WAY_FILES', 'files'],
]);

export const wireWayOf = (way: Way): string => {
  switch (way) {
    case 'injected':
      return 'WAY_INJECTED';
    case 'url':
      return 'WAY_URL';
    case 'files':
      return 'WAY_FILES';
    default:
      return way satisfies never;
  }
};

/** Whether a key can be a file's name and a segment of a path as it stands. */
export function isKeyName(text: string): boolean {
  if (text.length === 0 || text.length > MAX_KEY_LENGTH || text.startsWith('.')) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isLetter = (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a;
    const isDigit = code >= 0x30 && code <= 0x39;
    if (!isLetter && !isDigit && code !== 0x2d && code !== 0x2e && code !== 0x5f) return false;
  }
  return true;
}

export type ReadCredential =
  | { readonly ok: true; readonly credential: Credential }
  /** `name` is empty where it is what is wrong; the reason holds no value. */
  | { readonly ok: false; readonly name: string; readonly reason: string };

/** Reads a `weft.credentials.v1.Credential`. A way that is not known is none; nothing else is guessed. */
export function readCredential(message: PlainMessage): ReadCredential {
  const name = textOf(message, 'name');
  if (!isDnsLabel(name)) return { ok: false, name: '', reason: 'its name is no DNS label' };
  const refuse = (reason: string): ReadCredential => ({ ok: false, name, reason });
  const version = textOf(message, 'version');
  if (version === '' || version.length > MAX_VERSION_LENGTH || !isToken(version))
    return refuse('its version is no token');
  const values = readValues(messageOf(message, 'values'));
  if (typeof values === 'string') return refuse(values);
  const ways = new Set<Way>();
  for (const text of textsOf(message, 'ways')) {
    const way = WAYS.get(text);
    if (way !== undefined) ways.add(way);
  }
  const injections: Injection[] = [];
  const wanted = messagesOf(message, 'injections');
  if (wanted.length > MAX_INJECTIONS)
    return refuse(`it has more than ${MAX_INJECTIONS} injections`);
  for (const one of wanted) {
    const injection = readInjection(one, values);
    if (typeof injection === 'string') return refuse(injection);
    injections.push(injection);
  }
  return { ok: true, credential: { name, version, values, ways, injections } };
}

function readValues(message: PlainMessage | undefined): ReadonlyMap<string, Buffer> | string {
  const entries = Object.entries(message ?? {});
  if (entries.length > MAX_KEYS) return `it has more than ${MAX_KEYS} keys`;
  const values = new Map<string, Buffer>();
  let bytes = 0;
  for (const [key, value] of entries) {
    if (!isKeyName(key)) return 'a key of it is no file name';
    if (!(value instanceof Uint8Array)) return `its key ${key} has no bytes`;
    bytes += value.length;
    /** A copy: a part of the message's buffer would keep all of that. */
    values.set(key, Buffer.from(value));
  }
  if (bytes > MAX_VALUES_BYTES) return `it is larger than ${MAX_VALUES_BYTES} bytes`;
  return values;
}

function readInjection(
  message: PlainMessage,
  values: ReadonlyMap<string, Buffer>,
): Injection | string {
  const hosts = textsOf(message, 'hosts').map((host) => host.toLowerCase());
  if (hosts.length === 0) return 'an injection names no host';
  if (hosts.length > MAX_HOSTS) return `an injection names more than ${MAX_HOSTS} hosts`;
  const bad = hosts.find((host) => host === '' || host.length > MAX_HOST_LENGTH || host === '*');
  if (bad !== undefined) return `an injection names a host that is none: "${bad.slice(0, 80)}"`;
  const scheme = readScheme(message);
  if (typeof scheme === 'string') return scheme;
  const missing = keysOf(scheme).find((key) => !values.has(key));
  if (missing !== undefined)
    return `an injection takes its key ${missing.slice(0, 80)}, which it has not`;
  return { hosts, scheme, allowPlaintext: message['allow_plaintext'] === true };
}

function readScheme(message: PlainMessage): InjectionScheme | string {
  const header = messageOf(message, 'header');
  const basic = messageOf(message, 'basic');
  const bearer = messageOf(message, 'bearer');
  if (header !== undefined) {
    const written = textOf(header, 'name');
    const name = written.toLowerCase();
    if (!isToken(written) || NEVER_INJECTED.has(name))
      return `an injection cannot set header "${name.slice(0, 80)}"`;
    return { kind: 'header', name, key: textOf(header, 'key'), prefix: textOf(header, 'prefix') };
  }
  if (basic !== undefined) {
    const userKey = textOf(basic, 'user_key');
    return { kind: 'basic', userKey, passwordKey: textOf(basic, 'password_key') };
  }
  if (bearer !== undefined) return { kind: 'bearer', key: textOf(bearer, 'key') };
  return 'an injection says not how';
}

export const keysOf = (scheme: InjectionScheme): readonly string[] =>
  scheme.kind === 'basic' ? [scheme.userKey, scheme.passwordKey] : [scheme.key];

/** They frame or route the message, and are the engine's own business. */
const NEVER_INJECTED: ReadonlySet<string> = new Set([
  ...RESERVED_FIELDS,
  'expect',
  'x-forwarded-for',
]);
