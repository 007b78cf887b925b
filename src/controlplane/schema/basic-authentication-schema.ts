// What the API server takes for a BasicAuthentication.
import { open, type Schema, selector, text, texts } from './schema.ts';

/** The parser's bounds (parse-basic-authentication.ts). */
const MAX_EXEMPT_PATHS = 64;
const MAX_NAME = 253;
const MAX_HEADER_NAME = 128;
const MAX_REALM = 128;

export const basicAuthenticationSpec: Schema = open(
  'Which users are let in by name and password (RFC 7617), and where nobody is asked.',
  {
    selector: selector('Which workloads. Absent: all of the namespace. The nearest object holds.'),
    users: open(
      'Where they are named, in the format of htpasswd, with bcrypt hashes of cost 8 to 15.',
      {
        secretName: text('A Secret of this namespace.', { minLength: 1, maxLength: MAX_NAME }),
        key: text('The key of the Secret. Default "auth".', { minLength: 1, maxLength: MAX_NAME }),
      },
      { required: ['secretName'] },
    ),
    realm: text('What browsers show. Default "Restricted".', {
      minLength: 1,
      maxLength: MAX_REALM,
    }),
    exemptPaths: texts(
      'Paths that need no login; "*" may begin or end one, {*} and {**} stand for whole segments.',
      MAX_EXEMPT_PATHS,
    ),
    keepCredential: {
      description: 'The application gets the Authorization header as well. Default false.',
      type: 'boolean',
    },
    userHeader: text("A header that tells the application the user's name.", {
      minLength: 1,
      maxLength: MAX_HEADER_NAME,
    }),
    allowPlaintext: {
      description: 'Passwords are taken without TLS from other hosts too. Default false.',
      type: 'boolean',
    },
  },
  { required: ['users'] },
);
