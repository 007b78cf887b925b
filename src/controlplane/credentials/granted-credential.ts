// Makes of a grant and what its source says the credential that a proxy is told, or why there is none. Pure.
import { createHash } from 'node:crypto';
import { credentialText, type Grant } from '@weft/model/credentials/grants';
import type {
  CredentialSpec,
  Injection,
  InjectionScheme,
  Way,
} from '@weft/model/credentials/types';
import type { PlainMessage } from '@weft/xds/registry';
import type { PlaceState } from './credential-broker.ts';

export type Granted =
  | { readonly kind: 'pending' }
  | {
      readonly kind: 'values';
      readonly version: string;
      readonly unavailable: string | undefined;
      /** Made when it is sent, and not kept. */
      readonly message: () => PlainMessage;
    }
  | { readonly kind: 'unavailable'; readonly reason: string }
  | { readonly kind: 'gone'; readonly reason: string };

const WAY_NAMES: Readonly<Record<Way, string>> = {
  inject: 'WAY_INJECTED',
  url: 'WAY_URL',
  files: 'WAY_FILES',
};
const DIGITS = 8;

export function grantedCredential({ credential }: Grant, state: PlaceState): Granted {
  if (state.kind !== 'values') return state;
  const { keys = [...state.values.keys()] } = credential;
  const needed = new Set([...keys, ...injectedKeys(credential)]);
  const missing = [...needed].find((key) => !state.values.has(key));
  if (missing !== undefined) return { kind: 'gone', reason: `its source has no key ${missing}` };
  const version = `${state.version}.${digestOf(credential)}`;
  return {
    kind: 'values',
    version,
    unavailable: state.unavailable,
    message: () => ({
      name: credential.name,
      version,
      values: Object.fromEntries(keys.map((key) => [key, state.values.get(key)])),
      ways: credential.ways.map((way) => WAY_NAMES[way]),
      injections: credential.injections.map(injectionMessage),
    }),
  };
}

const injectedKeys = ({ injections }: CredentialSpec): readonly string[] =>
  injections.flatMap(({ scheme }) =>
    scheme.kind === 'basic' ? [scheme.userKey, scheme.passwordKey] : [scheme.key],
  );

/** Of what the binding says, so that a proxy is told when that is another. */
const digestOf = (credential: CredentialSpec): string =>
  createHash('sha256').update(credentialText(credential)).digest('hex').slice(0, DIGITS);

const injectionMessage = ({ hosts, scheme, allowPlaintext }: Injection): PlainMessage => ({
  hosts,
  ...schemeMessage(scheme),
  allow_plaintext: allowPlaintext,
});

function schemeMessage(scheme: InjectionScheme): PlainMessage {
  switch (scheme.kind) {
    case 'header': {
      const { name, key, prefix } = scheme;
      return { header: { name, key, prefix } };
    }
    case 'basic':
      return { basic: { user_key: scheme.userKey, password_key: scheme.passwordKey } };
    case 'bearer':
      return { bearer: { key: scheme.key } };
    default:
      return scheme satisfies never;
  }
}
