// Logins by name and password on the wire: Weft's own filter, and before it rules that close for proxies that do not know it.
import { parseHtpasswd } from '@weft/model/login/htpasswd';
import { LOGIN_FILTER } from '@weft/model/login/types';
import type { PlainMessage } from '../registry.ts';
import { type BasicAuth, guardRulesOf } from '../resources/basic-auth.ts';
import type { HttpFilter } from '../resources/listener.ts';
import { flag, messages, type Read, report, requiredText, text, texts } from './fields.ts';
import { encodeRbac } from './rbac.ts';
import type { TwinFilter } from './traffic-twins.ts';
import type { Extension } from './well-known.ts';

export const BASIC_AUTH_TYPE = { name: LOGIN_FILTER, typeName: 'weft.login.v1.BasicAuth' } as const;

export const encodeBasicAuth = (login: BasicAuth): PlainMessage => ({
  source: login.source,
  realm: login.realm,
  users: login.users.map(({ name, hash }) => ({ name, hash: hash.reveal() })),
  exempt_paths: [...login.exemptPaths],
  keep_credential: login.keepsCredential || undefined,
  user_header: login.userHeader,
  allow_plaintext: login.allowsPlaintext || undefined,
});

export const BASIC_AUTH: Extension<HttpFilter> = {
  ...BASIC_AUTH_TYPE,
  read: (fields) => {
    const login = readBasicAuth(fields);
    return login && { kind: 'basicAuth', login };
  },
};

const readBasicAuth: Read<BasicAuth> = (fields) => {
  const userHeader = text(fields, 'user_header');
  const entries = messages(fields, 'users', (user) => ({
    name: requiredText(user, 'name'),
    hash: requiredText(user, 'hash'),
  }));
  // Each by the reader of lists, so that what it would refuse lets nobody in. What it says is not repeated.
  const users = entries.flatMap(({ name, hash }) =>
    parseHtpasswd(`${name}:${hash}`).users.filter((user) => user.name === name),
  );
  const isWhole = users.length === entries.length;
  if (!isWhole || new Set(users.map(({ name }) => name)).size < users.length)
    return report(fields, 'users', 'unknown-value', 'holds a user or a hash that is not taken');
  return {
    source: requiredText(fields, 'source'),
    realm: requiredText(fields, 'realm'),
    users,
    exemptPaths: texts(fields, 'exempt_paths'),
    keepsCredential: flag(fields, 'keep_credential'),
    ...(userHeader !== '' && { userHeader }),
    allowsPlaintext: flag(fields, 'allow_plaintext'),
  };
};

/** For Envoys, which know no bcrypt: nothing but the exempt paths is let through. */
export const loginTwinsOf = (login: BasicAuth): readonly TwinFilter[] => [
  {
    name: 'weft.twin/basic_auth',
    typeName: 'envoy.extensions.filters.http.rbac.v3.RBAC',
    config: { rules: encodeRbac(guardRulesOf(login)) },
  },
];
