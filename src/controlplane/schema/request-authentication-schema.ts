// What the API server takes for a RequestAuthentication.
import { ONE_SCOPE, targets } from './policy-schemas.ts';
import { list, MAX_TEXT, open, type Schema, selector, text, texts } from './schema.ts';

/** The parser's bounds (parse-request-authentication.ts). */
const MAX_RULES = 4_096;
const MAX_ENTRIES = 64;
const MAX_URI = 2_048;
const MAX_NAME = 128;

const header = (description: string): Schema =>
  text(description, { minLength: 1, maxLength: MAX_NAME });
const uri = text('Where its keys are, https://host/path. Default: by discovery at the issuer.', {
  minLength: 1,
  maxLength: MAX_URI,
});

const rule = open(
  'Tokens of one issuer.',
  {
    issuer: text('The "iss" of its tokens.', { minLength: 1 }),
    audiences: texts('A token must be for one of these. Absent: for anybody.', MAX_ENTRIES),
    jwksUri: uri,
    jwks_uri: { ...uri, description: 'As jwksUri.' },
    jwks: text('Its public keys, a JSON Web Key Set.', { minLength: 1, maxLength: MAX_TEXT }),
    fromHeaders: list(
      'Headers that carry the token. Default: Authorization with "Bearer ".',
      open(
        'One header.',
        { name: header('Its name.'), prefix: text('What stands before the token.') },
        { required: ['name'] },
      ),
      { maxItems: MAX_ENTRIES },
    ),
    fromParams: texts('Query parameters that carry it.', MAX_ENTRIES, { maxLength: MAX_NAME }),
    fromCookies: texts('Cookies that carry it.', MAX_ENTRIES, { maxLength: MAX_NAME }),
    outputPayloadToHeader: header('A header that tells the application the claims, in base64url.'),
    outputClaimToHeaders: list(
      'Headers that tell the application single claims.',
      open(
        'One claim.',
        { header: header('The header.'), claim: text('The claim.', { minLength: 1 }) },
        { required: ['header', 'claim'] },
      ),
      { maxItems: MAX_ENTRIES },
    ),
    forwardOriginalToken: {
      description: 'The application gets the token as well.',
      type: 'boolean',
    },
    timeout: text('How long fetching keys may take, up to 60s. Default 5s.', { minLength: 1 }),
    spaceDelimitedClaims: texts(
      'Claims that are lists, written as words with spaces.',
      MAX_ENTRIES,
    ),
  },
  {
    'x-kubernetes-validations': [
      {
        rule: '!has(self.jwks) || !(has(self.jwksUri) || has(self.jwks_uri))',
        message: 'only one of jwks and jwksUri can be set',
      },
      {
        rule: 'has(self.issuer) || has(self.jwksUri) || has(self.jwks_uri)',
        message: 'a rule needs an issuer: write the "iss" of its tokens',
      },
    ],
  },
);

export const requestAuthenticationSpec: Schema = open(
  'Which tokens requests may carry. A token that is bad is refused; none at all is not: an AuthorizationPolicy asks for it.',
  {
    selector: selector(
      'Pods of this namespace it holds for. Absent: all; in the root namespace, all of the mesh.',
    ),
    ...targets,
    jwtRules: list('The issuers; a token belongs to one of them.', rule, { maxItems: MAX_RULES }),
  },
  { default: {}, 'x-kubernetes-validations': [ONE_SCOPE] },
);
