// A request as people write it down, and what rules see of it.
import { parseIp } from '../ip.ts';
import { pathOnly, type DecisionInput } from './evaluate.ts';
import type { PlainObject } from './reader.ts';

export interface DecisionRequest {
  readonly protocol: 'http' | 'tcp';
  /** `TD/ns/NS/sa/SA`; null: a plaintext peer. */
  readonly srcPrincipal: string | null;
  readonly srcIP?: string;
  readonly dstIP?: string;
  readonly port: number;
  readonly sni?: string;
  readonly remoteIP?: string;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** The claims of a valid token. */
  readonly jwt?: PlainObject | null;
  readonly metadata?: Readonly<Record<string, PlainObject>>;
}

/** Claims that are always lists of words, as Istio has them. */
const SPACE_DELIMITED: readonly string[] = ['scope', 'permission'];

/** @param target normalised, with its query. */
export function decisionInputOf(
  request: DecisionRequest,
  target: string,
  spaceDelimitedClaims: readonly string[] = SPACE_DELIMITED,
): DecisionInput {
  const isHttp = request.protocol === 'http';
  const headers = new Map(
    Object.entries(request.headers ?? {}).map(([name, value]) => [
      name.toLowerCase(),
      typeof value === 'string' ? [value] : value,
    ]),
  );
  const claims = splitClaims(request.jwt ?? {}, spaceDelimitedClaims);
  const metadata: Readonly<Record<string, unknown>> = {
    ...request.metadata,
    'envoy.filters.http.jwt_authn': { payload: claims },
  };
  const ipOf = (text: string | undefined) => (text === undefined ? undefined : parseIp(text));
  return {
    peerUri: request.srcPrincipal === null ? undefined : `spiffe://${request.srcPrincipal}`,
    sourceIp: ipOf(request.srcIP),
    remoteIp: ipOf(request.remoteIP ?? request.srcIP),
    destinationIp: ipOf(request.dstIP),
    destinationPort: request.port,
    serverName: request.sni ?? '',
    method: isHttp ? request.method : undefined,
    path: isHttp ? pathOnly(target) : undefined,
    target: isHttp ? target : undefined,
    authority: isHttp ? request.host : undefined,
    header: (name) => (isHttp ? headers.get(name) : undefined),
    metadata: (filter, path) => valueAt(metadata[filter], path),
  };
}

/** A value by its path through mappings; own properties alone. */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key))
      return undefined;
    current = (current as PlainObject)[key];
  }
  return current;
}

/** Claims that hold several words become lists of them. */
function splitClaims(claims: PlainObject, names: readonly string[]): PlainObject {
  const split: Record<string, unknown> = { ...claims };
  for (const name of [...SPACE_DELIMITED, ...names]) {
    const value = claims[name];
    if (typeof value === 'string') split[name] = value.split(' ').filter((word) => word.length > 0);
  }
  return split;
}
