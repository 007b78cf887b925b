// What whoever verifies the mesh's tokens asks for: the keys, and the OpenID Connect discovery document that says where they are.
import type { TokenAuthority } from '@weft/ca/token-authority';

const KEYS_PATH = '/keys';

/** By path. Without an issuer's address there is no discovery: nobody could find it. */
export function tokenDocuments(
  tokens: Pick<TokenAuthority, 'keys' | 'issuer'>,
): ReadonlyMap<string, () => unknown> {
  const { issuer } = tokens;
  const documents = new Map<string, () => unknown>([[KEYS_PATH, () => ({ keys: tokens.keys() })]]);
  if (issuer !== undefined) {
    documents.set('/.well-known/openid-configuration', () => ({
      issuer,
      jwks_uri: `${issuer}${KEYS_PATH}`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    }));
  }
  return documents;
}
