// The section for logins by name and password: a BasicAuthentication whose users stand in a file beside the sidecar's own.
import { parseHtpasswd } from '@weft/model/login/htpasswd';
import { DEFAULT_USERS_KEY } from '@weft/model/login/parse-basic-authentication';
import { isPlainObject } from '@weft/model/policy/reader';
import { isSpec } from './section-policies.ts';
import { manifestOf, NO_PARTS, type Section } from './section.ts';

const KEY = 'basicAuthentication';
const NAME = 'basicauthentication-0';

/** As the kind's spec, but `users` names a file: `users: {file: users.htpasswd}`. Read anew whenever it changes. */
export const BASIC_AUTHENTICATION: Section = {
  key: KEY,
  async read(value, context) {
    if (!isSpec(value, KEY, context) || !isPlainObject(value)) return NO_PARTS;
    const { namespace } = context;
    const { users, ...rest } = value;
    const field = `${KEY}.users`;
    const cure = 'write users: {file: users.htpasswd}';
    if (!isPlainObject(users) || Object.keys(users).some((key) => key !== 'file')) {
      context.problem(field, 'bad-users', 'expected a mapping with file alone', cure);
      return NO_PARTS;
    }
    const bytes = await context.readFile(users['file'], `${field}.file`);
    if (bytes === undefined) return NO_PARTS;
    const text = bytes.toString('utf8');
    // A list of which some cannot log in is half a list: the last good one is better.
    for (const { code, message, cure: advice } of parseHtpasswd(text).problems) {
      context.problem(`${field}.file`, code, message, advice);
    }
    const spec = { ...rest, users: { secretName: NAME } };
    const login = {
      apiVersion: 'security.weft.dev/v1',
      kind: 'BasicAuthentication',
      name: NAME,
    };
    const secret = { apiVersion: 'v1', kind: 'Secret', name: NAME };
    const stringData = { [DEFAULT_USERS_KEY]: text };
    return {
      objects: [
        { manifest: manifestOf(login, namespace, { spec }), at: KEY },
        { manifest: manifestOf(secret, namespace, { stringData }), at: `${field}.file` },
      ],
    };
  },
};
