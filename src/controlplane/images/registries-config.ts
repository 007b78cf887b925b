// Reads the file in which the operator of the mesh says how registries are reached: logins, roots, private networks.
import { parseCidr } from '@weft/model/ip';
import { isPlainObject, type PlainObject, Reader, shown } from '@weft/model/policy/reader';
import type { Result } from '@weft/model/problem';

export interface RegistriesConfig {
  /** `HOST[:PORT]` of registries that are spoken to without TLS. */
  readonly plain: readonly string[];
  /** Networks that are not public and may be called all the same. */
  readonly networks: readonly string[];
  /** Further roots, PEM. */
  readonly caFile: string | undefined;
  /** As of a Secret of the type kubernetes.io/dockerconfigjson. */
  readonly dockerConfigFile: string | undefined;
}

export const NO_REGISTRIES: RegistriesConfig = {
  plain: [],
  networks: [],
  caFile: undefined,
  dockerConfigFile: undefined,
};

const MAX_ENTRIES = 64;

/** @param value the file as it was parsed */
export function parseRegistriesConfig(value: unknown): Result<RegistriesConfig> {
  const reader = new Reader();
  const file = reader.object(value, '', ['plain', 'networks', 'caFile', 'dockerConfigFile']) ?? {};
  const plain = reader.strings(file['plain'], 'plain', MAX_ENTRIES);
  const networks = reader.strings(file['networks'], 'networks', MAX_ENTRIES);
  networks.forEach((network, index) => {
    if (parseCidr(network) !== undefined) return;
    const message = `${shown(network)} is no network`;
    reader.error(`networks[${index}]`, 'bad-network', message, 'write for example 10.0.0.0/8');
  });
  const caFile = reader.string(file['caFile'], 'caFile');
  const dockerConfigFile = reader.string(file['dockerConfigFile'], 'dockerConfigFile');
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return { ok: true, value: { plain, networks, caFile, dockerConfigFile }, problems: [] };
}

/** What a docker `config.json` says of a registry, `USER:PASSWORD`. */
export type CredentialsOf = (registry: string) => string | undefined;

/** @throws Error when it is none; never with anything of what is in it. */
export function readDockerConfig(text: string): CredentialsOf {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('Cannot read logins of registries: the file is no JSON');
  }
  const auths = isPlainObject(value) ? value['auths'] : undefined;
  if (!isPlainObject(auths)) {
    throw new Error('Cannot read logins of registries: the file has no auths');
  }
  const known = new Map(
    Object.entries(auths).flatMap(([name, entry]) => {
      const login = isPlainObject(entry) ? loginOf(entry) : undefined;
      return login === undefined ? [] : [[registryOf(name), login] as const];
    }),
  );
  return (registry) => known.get(registry);
}

function loginOf({ auth, username, password }: PlainObject): string | undefined {
  if (typeof auth === 'string') return Buffer.from(auth, 'base64').toString('utf8');
  return typeof username === 'string' && typeof password === 'string'
    ? `${username}:${password}`
    : undefined;
}

/** Docker Hub's entry is `https://index.docker.io/v1/`. */
function registryOf(name: string): string {
  const bare = name.startsWith('https://') ? name.slice('https://'.length) : name;
  const [host = ''] = bare.split('/');
  return host === 'index.docker.io' ? 'docker.io' : host.toLowerCase();
}
