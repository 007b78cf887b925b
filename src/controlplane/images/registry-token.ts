// Reads how a registry wants to be logged in to, and the tokens that it gives (the distribution specification's token flow).
import { type HttpUri, parseHttpUri } from '@weft/model/http-uri';
import { parseJsonObject } from '@weft/model/parse-json-object';

export interface Challenge {
  readonly realm: HttpUri;
  /** Where a token to read the repository is had. */
  tokenUri(repository: string): HttpUri;
}

const MAX_TOKEN = 16_384;

/** @returns `undefined` when it is no challenge for a token. */
export function bearerChallenge(text: string): Challenge | undefined {
  if (text.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  const fields = readFields(text.slice(7));
  const realm = parseHttpUri(fields.get('realm') ?? '');
  if (realm === undefined) return undefined;
  const service = fields.get('service');
  return {
    realm,
    tokenUri(repository) {
      const query = new URLSearchParams({
        ...(service !== undefined && { service }),
        scope: `repository:${repository}:pull`,
      });
      const { target } = realm;
      return {
        ...realm,
        target: `${target}${target.includes('?') ? '&' : '?'}${query.toString()}`,
      };
    },
  };
}

/** `name="value", name="value"`; what has another form is not read. */
function readFields(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const equals = text.indexOf('="', at);
    if (equals === -1) break;
    const end = text.indexOf('"', equals + 2);
    if (end === -1) break;
    const name = text.slice(at, equals).replaceAll(',', ' ').trim().toLowerCase();
    fields.set(name, text.slice(equals + 2, end));
    at = end + 1;
  }
  return fields;
}

export function readToken(body: Buffer): string | undefined {
  const value = parseJsonObject(body.toString('utf8'));
  const token = value?.['token'] ?? value?.['access_token'];
  const isToken =
    typeof token === 'string' && token.length <= MAX_TOKEN && token !== '' && isVisible(token);
  return isToken ? token : undefined;
}

/** It goes into a header. */
const isVisible = (text: string): boolean =>
  Array.from(text).every((char) => char > ' ' && char < '\u007f');

/** Where a registry keeps something instead. @returns `undefined` for what is not fetched from. */
export function redirected(location: string, from: HttpUri): HttpUri | undefined {
  if (location.startsWith('/') && !location.startsWith('//')) {
    return { ...from, target: location };
  }
  const next = parseHttpUri(location);
  // TLS is not given up on the way.
  return next === undefined || (from.isTls && !next.isTls) ? undefined : next;
}
