// What the name of an image says: registry, repository, tag and digest, as container runtimes complete it.

export interface ImageReference {
  /** `docker.io` where none is written; with a port where one is. */
  readonly registry: string;
  /** `library/nginx`. */
  readonly repository: string;
  /** Absent: `latest` where there is no digest either. */
  readonly tag: string | undefined;
  /** `sha256:…`, lower case. */
  readonly digest: string | undefined;
}

/** The bounds of the distribution specification, and of names of hosts with a port. */
const MAX_REPOSITORY = 255;
const MAX_TAG = 128;
const MAX_REGISTRY = 259;
const DOCKER_HUB = 'docker.io';
const SHA256 = 'sha256:';
const HEX_DIGITS = 64;

const all = (text: string, isGood: (char: string) => boolean): boolean =>
  text !== '' && Array.from(text).every(isGood);
const isDigit = (char: string): boolean => char >= '0' && char <= '9';
const isLower = (char: string): boolean => char >= 'a' && char <= 'z';
const isLetter = (char: string): boolean => isLower(char) || (char >= 'A' && char <= 'Z');

export const isSha256 = (text: string): boolean =>
  text.startsWith(SHA256) &&
  text.length === SHA256.length + HEX_DIGITS &&
  all(text.slice(SHA256.length), (char) => isDigit(char) || (char >= 'a' && char <= 'f'));

/** A first part with a dot or a colon, or `localhost`, names a registry; any other is of Docker Hub. */
const isRegistry = (part: string): boolean =>
  part.includes('.') || part.includes(':') || part === 'localhost';

function isHostPort(text: string): boolean {
  const [host = '', port, ...more] = text.split(':');
  if (more.length > 0 || text.length > MAX_REGISTRY) return false;
  if (port !== undefined && !(all(port, isDigit) && Number(port) > 0 && Number(port) < 65_536)) {
    return false;
  }
  return host
    .split('.')
    .every(
      (label) =>
        all(label, (char) => isLetter(char) || isDigit(char) || char === '-') &&
        !label.startsWith('-') &&
        !label.endsWith('-'),
    );
}

/** Parts of lower-case letters and digits, with `.`, `_` and `-` within. */
function isRepository(text: string): boolean {
  const isInner = (char: string): boolean => '._-'.includes(char);
  return (
    text.length <= MAX_REPOSITORY &&
    text
      .split('/')
      .every(
        (part) =>
          all(part, (char) => isLower(char) || isDigit(char) || isInner(char)) &&
          !isInner(part[0] ?? '.') &&
          !isInner(part.at(-1) ?? '.'),
      )
  );
}

const isTag = (text: string): boolean =>
  text.length <= MAX_TAG &&
  all(text, (char) => isLetter(char) || isDigit(char) || '._-'.includes(char)) &&
  !'.-'.includes(text[0] ?? '.');

function splitName(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  if (!isRegistry(first)) {
    return { registry: DOCKER_HUB, repository: slash === -1 ? `library/${name}` : name };
  }
  const rest = name.slice(slash + 1);
  const isHub = first === DOCKER_HUB || first === `index.${DOCKER_HUB}`;
  if (!isHub) return { registry: first.toLowerCase(), repository: rest };
  return { registry: DOCKER_HUB, repository: rest.includes('/') ? rest : `library/${rest}` };
}

/** @returns `undefined` when it is no name of an image that every runtime reads alike. */
export function parseImageReference(text: string): ImageReference | undefined {
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isSha256(digest)) return undefined;
  const named = at === -1 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !isTag(tag)) return undefined;
  const { registry, repository } = splitName(hasTag ? named.slice(0, colon) : named);
  if (!isHostPort(registry) || !isRepository(repository)) return undefined;
  return { registry, repository, tag, digest };
}

/** One repository, or with `/*` at its end all below it. The registry is always written. */
export interface ImagePattern {
  readonly registry: string;
  /** Empty: all of the registry. */
  readonly repository: string;
  readonly isPrefix: boolean;
}

/** @returns `undefined` when it is none: above all when it would leave open which registry is meant. */
export function parseImagePattern(text: string): ImagePattern | undefined {
  const isPrefix = text.endsWith('/*');
  const body = isPrefix ? text.slice(0, -2) : text;
  const slash = body.indexOf('/');
  const registry = slash === -1 ? body : body.slice(0, slash);
  if (!isRegistry(registry) || !isHostPort(registry)) return undefined;
  const name = slash === -1 ? '' : body.slice(slash + 1);
  if (name === '') return isPrefix && slash === -1 ? completed(registry, '', true) : undefined;
  if (!isRepository(name)) return undefined;
  return completed(registry, name, isPrefix);
}

const completed = (registry: string, repository: string, isPrefix: boolean): ImagePattern => {
  const host = registry.toLowerCase();
  if (host !== DOCKER_HUB && host !== `index.${DOCKER_HUB}`) {
    return { registry: host, repository, isPrefix };
  }
  const isShort = repository !== '' && !repository.includes('/') && !isPrefix;
  return {
    registry: DOCKER_HUB,
    repository: isShort ? `library/${repository}` : repository,
    isPrefix,
  };
};

export function fitsPattern(
  { registry, repository }: Pick<ImageReference, 'registry' | 'repository'>,
  pattern: ImagePattern,
): boolean {
  if (registry !== pattern.registry) return false;
  if (!pattern.isPrefix) return repository === pattern.repository;
  return pattern.repository === '' || repository.startsWith(`${pattern.repository}/`);
}
