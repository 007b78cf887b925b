// What a BasicAuthentication says: whose user name and password a workload asks for, and on which paths it does not.
import type { SecretText } from '../secret-text.ts';

/** Where a list of users is kept: one key of a Secret of the object's namespace. */
export interface UserSource {
  readonly secret: string;
  readonly key: string;
}

export interface LoginRules {
  /** Shown by browsers. Visible ASCII and blanks. */
  readonly realm: string;
  /** As in AuthorizationPolicy: exact, `/a*`, `*a`, or a template. Requests for these need no login. */
  readonly exemptPaths: readonly string[];
  /** Whether the application gets the Authorization header; else it is taken out. */
  readonly keepsCredential: boolean;
  /** In lower case; absent: the application is told no user. */
  readonly userHeader?: string;
  /** Whether passwords are taken without TLS from other hosts. */
  readonly allowsPlaintext: boolean;
}

export interface BasicAuthentication extends LoginRules {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly selector: ReadonlyMap<string, string> | undefined;
  readonly users: UserSource;
}

export interface BasicUser {
  readonly name: string;
  /** bcrypt's, `$2b$12$…`. Not to be shown: weak passwords can be guessed from it. */
  readonly hash: SecretText;
}

/** What a workload asks of its callers. */
export interface WorkloadLogin extends LoginRules {
  /** `NAMESPACE/NAME` of the object. */
  readonly source: string;
  /** By name; empty where there is no list: nobody can log in then. */
  readonly users: readonly BasicUser[];
}

/** The filter under whose name the user is known to rules; Envoy has none of it, and its rules never match there. */
export const LOGIN_FILTER = 'weft.filters.http.basic_auth';

/** The `when` key of policies for the user. */
export const LOGIN_USER_KEY = 'request.auth.basic.user';
