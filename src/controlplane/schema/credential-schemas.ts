// What the API server takes for a CredentialBinding.
import { MAX_CREDENTIALS, MAX_KEYS, WAYS } from '@weft/model/credentials/types';
import { list, open, type Schema, selector, text, texts } from './schema.ts';

/** The parsers' bounds (parse-credential-binding.ts, parse-injections.ts). */
const MAX_SERVICE_ACCOUNTS = 64;
const MAX_INJECTIONS = 16;
const MAX_HOSTS = 32;

const key = (description: string): Schema => text(description, { minLength: 1, maxLength: 253 });

const injection = open(
  'Into which requests it goes, and how.',
  {
    hosts: texts(
      'Hosts that may be told it: api.example.com, *.example.com, with or without a port.',
      MAX_HOSTS,
    ),
    header: open(
      'As a header of its own.',
      {
        name: text("The header's name.", { minLength: 1, maxLength: 128 }),
        key: key('Which value.'),
        prefix: text('Put before the value.', { maxLength: 256 }),
      },
      { required: ['name', 'key'] },
    ),
    basic: open(
      'As Basic authorization.',
      { userKey: key("The user's value."), passwordKey: key("The password's value.") },
      { required: ['userKey', 'passwordKey'] },
    ),
    bearer: open('As Bearer authorization.', { key: key('Which value.') }, { required: ['key'] }),
    allowPlaintext: {
      description: 'Whether it may go to an endpoint without TLS. Default false: it is refused.',
      type: 'boolean',
    },
  },
  { required: ['hosts'] },
);

const credential = open(
  'One credential.',
  {
    name: text('Its name at the workload, which no other credential of it has.', {
      minLength: 1,
      maxLength: 63,
    }),
    source: open('Where its values are.', {
      secret: open(
        'A Secret of this namespace.',
        { name: text("The Secret's name.", { minLength: 1, maxLength: 253 }) },
        { required: ['name'] },
      ),
      from: text('A source that the operator of the mesh has given this name.', { maxLength: 63 }),
      path: text('The place in it: shop/db.', { maxLength: 512 }),
    }),
    keys: texts('These of its values. Absent: all.', MAX_KEYS),
    ways: texts(`How it may reach the application: ${WAYS.join(', ')}.`, WAYS.length),
    inject: list('Into which outbound requests it goes.', injection, { maxItems: MAX_INJECTIONS }),
  },
  { required: ['name', 'source', 'ways'] },
);

export const credentialBindingSpec: Schema = open(
  'Which workloads of this namespace have which credentials.',
  {
    serviceAccounts: texts(
      'Service accounts of this namespace: what certificates prove.',
      MAX_SERVICE_ACCOUNTS,
    ),
    selector: selector('Only Pods of them with these labels. Absent: all.'),
    credentials: list('What they have.', credential, { maxItems: MAX_CREDENTIALS }),
  },
  { required: ['serviceAccounts', 'credentials'] },
);
