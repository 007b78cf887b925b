// Reads manifests, blobs and referrers from OCI registries: from those that a policy names, within bounds, with what digests promise.
import { createHash } from 'node:crypto';
import type { HttpUri } from '@weft/model/http-uri';
import { type ImageReference, isSha256 } from '@weft/model/admission/image-reference';
import { type GuardedAnswer, requestGuarded, type Resolve } from '../fetch/guarded-request.ts';
import { bearerChallenge, type Challenge, readToken, redirected } from './registry-token.ts';

export interface RegistryOptions {
  readonly isAllowed: (address: string) => boolean;
  /** `USER:PASSWORD` of a registry; absent: anybody's. */
  readonly credentialsOf: (registry: string) => string | undefined;
  /** Registries, `HOST[:PORT]`, that are spoken to without TLS. */
  readonly plainRegistries: readonly string[];
  readonly resolve?: Resolve;
  readonly ca?: string;
}

export type Place = Pick<ImageReference, 'registry' | 'repository'>;

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  /** `absent`: the registry says that there is none. `unavailable`: it cannot be asked. */
  | { readonly ok: false; readonly kind: 'absent' | 'unavailable'; readonly reason: string };

export interface Manifest {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** The specification asks registries to take 4 MiB; signatures are small. */
const MAX_MANIFEST_BYTES = 4 * 1_048_576;
const MAX_BLOB_BYTES = 1_048_576;
const MAX_TOKEN_BYTES = 65_536;
const MAX_REDIRECTS = 2;
const MANIFEST_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');

const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_HOST = 'registry-1.docker.io';

export class Registry {
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** @param name a tag, or a digest, which the bytes then have. */
  async manifest(place: Place, name: string, signal: AbortSignal): Promise<Read<Manifest>> {
    const answer = await this.#get(place, `manifests/${name}`, {
      accept: MANIFEST_TYPES,
      maxBytes: MAX_MANIFEST_BYTES,
      signal,
    });
    if (!answer.ok) return answer;
    const digest = digestOf(answer.value);
    if (isSha256(name) && name !== digest) {
      return unavailable(`${place.registry} answers ${name} with other bytes`);
    }
    return { ok: true, value: { digest, bytes: answer.value } };
  }

  async blob(place: Place, digest: string, signal: AbortSignal): Promise<Read<Buffer>> {
    const answer = await this.#get(place, `blobs/${digest}`, {
      accept: '*/*',
      maxBytes: MAX_BLOB_BYTES,
      signal,
    });
    if (!answer.ok || digestOf(answer.value) === digest) return answer;
    return unavailable(`${place.registry} answers ${digest} with other bytes`);
  }

  /** The index of what refers to a manifest. A registry that does not know of such things has none. */
  async referrers(place: Place, digest: string, signal: AbortSignal): Promise<Read<Buffer>> {
    return this.#get(place, `referrers/${digest}`, {
      accept: 'application/vnd.oci.image.index.v1+json',
      maxBytes: MAX_MANIFEST_BYTES,
      signal,
    });
  }

  async #get(
    place: Place,
    what: string,
    how: { readonly accept: string; readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<Read<Buffer>> {
    const uri = this.#uriOf(place, what);
    const headers = { accept: how.accept };
    let answer = await this.#ask(uri, { ...how, headers });
    if (answer.ok && answer.status === 401) {
      const authorization = await this.#authorize(place, answer, how.signal);
      if (typeof authorization !== 'string') return authorization;
      answer = await this.#ask(uri, { ...how, headers: { ...headers, authorization } });
    }
    if (!answer.ok) return unavailable(answer.reason);
    if (answer.status === 200) return { ok: true, value: answer.body };
    const said = `${place.registry} answers ${answer.status}`;
    return answer.status === 404 ? { ok: false, kind: 'absent', reason: said } : unavailable(said);
  }

  /** Blobs may be kept elsewhere; who is sent there takes no credential along. */
  async #ask(
    from: HttpUri,
    how: {
      readonly headers: Readonly<Record<string, string>>;
      readonly maxBytes: number;
      readonly signal: AbortSignal;
    },
  ): Promise<GuardedAnswer> {
    const { isAllowed, resolve, ca } = this.#options;
    let uri = from;
    let { headers } = how;
    for (let hop = 0; ; hop++) {
      const answer = await requestGuarded(uri, {
        ...how,
        headers,
        isAllowed,
        ...(resolve && { resolve }),
        ...(ca !== undefined && { ca }),
      });
      const location = answer.ok ? answer.headers.location : undefined;
      const isRedirect = answer.ok && answer.status >= 300 && answer.status < 400;
      if (!isRedirect || location === undefined) return answer;
      const next = redirected(location, uri);
      if (next === undefined || hop >= MAX_REDIRECTS) {
        return { ok: false, reason: `${from.host} redirects to where nothing is fetched from` };
      }
      const { authorization: _, ...others } = headers;
      headers = others;
      uri = next;
    }
  }

  #uriOf({ registry, repository }: Place, what: string): HttpUri {
    const name = registry === DOCKER_HUB ? DOCKER_HUB_HOST : registry;
    const isTls = !this.#options.plainRegistries.includes(registry);
    const colon = name.lastIndexOf(':');
    const [host, port] =
      colon === -1
        ? [name, isTls ? 443 : 80]
        : [name.slice(0, colon), Number(name.slice(colon + 1))];
    return { isTls, host, port, target: `/v2/${repository}/${what}` };
  }

  /** @returns the value of `Authorization`, or why there is none. */
  async #authorize(
    place: Place,
    { headers }: Extract<GuardedAnswer, { readonly ok: true }>,
    signal: AbortSignal,
  ): Promise<string | Extract<Read<never>, { readonly ok: false }>> {
    const credentials = this.#options.credentialsOf(place.registry);
    const basic =
      credentials === undefined
        ? undefined
        : `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`;
    const asked = headers['www-authenticate'] ?? '';
    const challenge: Challenge | undefined = bearerChallenge(asked);
    if (challenge === undefined) {
      return basic ?? unavailable(`${place.registry} asks for a login`);
    }
    const isPlain = this.#options.plainRegistries.includes(place.registry);
    if (!challenge.realm.isTls && !isPlain) {
      return unavailable(`${place.registry} sends logins where there is no TLS`);
    }
    const answer = await this.#ask(challenge.tokenUri(place.repository), {
      headers: basic === undefined ? {} : { authorization: basic },
      maxBytes: MAX_TOKEN_BYTES,
      signal,
    });
    if (!answer.ok) return unavailable(answer.reason);
    const token = answer.status === 200 ? readToken(answer.body) : undefined;
    return token === undefined
      ? unavailable(`${challenge.realm.host} gives no token`)
      : `Bearer ${token}`;
  }
}

const unavailable = (reason: string): Extract<Read<never>, { readonly ok: false }> => ({
  ok: false,
  kind: 'unavailable',
  reason,
});

const digestOf = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
