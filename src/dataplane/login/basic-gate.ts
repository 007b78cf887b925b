// The filter that asks for a user's name and password: known ones pass at once, new ones wait for bcrypt, failures for longer and longer.
import { guardRulesOf, type BasicAuth } from '@weft/xds/resources/basic-auth';
import { LOGIN_FILTER } from '@weft/model/login/types';
import { compileRbac, type Evaluator } from '@weft/model/policy/evaluate';
import { formatIp, type IpAddress } from '@weft/model/ip';
import type { BasicUser } from '@weft/model/login/types';
import {
  PASSED,
  type GateOutcome,
  type GateRefusal,
  type GateRequest,
  type RequestGate,
} from '../filters/request-gate.ts';
import { type BasicCredentials, readCredentials } from './basic-credentials.ts';
import type { LoginResult, Logins } from './logins.ts';

export function createBasicGate(login: BasicAuth, logins: Logins): RequestGate {
  return new BasicGate(login, logins);
}

class BasicGate implements RequestGate {
  readonly #login: BasicAuth;
  readonly #logins: Logins;
  readonly #users: ReadonlyMap<string, BasicUser>;
  /** Allows the exempt paths; absent when there are none. */
  readonly #exempt: Evaluator | undefined;
  readonly #challenge: readonly string[];

  constructor(login: BasicAuth, logins: Logins) {
    this.#login = login;
    this.#logins = logins;
    this.#users = new Map(login.users.map((user) => [user.name, user]));
    const guard = guardRulesOf(login);
    this.#exempt = guard.policies.length === 0 ? undefined : compileRbac([guard]);
    this.#challenge = ['www-authenticate', `Basic realm=${quoted(login.realm)}, charset="UTF-8"`];
  }

  check(request: GateRequest): GateOutcome | 'later' {
    const found = this.#begin(request);
    if (found.kind !== 'credentials') return found;
    const { credentials } = found;
    if (!this.#logins.isKnown({ credentials, users: this.#users })) return 'later';
    return this.#accept(request, credentials);
  }

  async checkLater(request: GateRequest): Promise<GateOutcome> {
    const found = this.#begin(request);
    if (found.kind !== 'credentials') return found;
    const { credentials } = found;
    const { remoteIp, sourceIp } = request.facts;
    const address = addressKey(remoteIp ?? sourceIp);
    const result = await this.#logins.tryLogin({ credentials, users: this.#users, address });
    return result.kind === 'right' ? this.#accept(request, credentials) : this.#refusalOf(result);
  }

  /** What can be said without asking whether a password is right. */
  #begin(
    request: GateRequest,
  ): GateOutcome | { readonly kind: 'credentials'; readonly credentials: BasicCredentials } {
    const { facts } = request;
    const { userHeader, allowsPlaintext } = this.#login;
    if (userHeader !== undefined) request.edits().remove(userHeader);
    const found = readCredentials(facts);
    if (this.#exempt?.decide(facts).isAllowed === true) {
      if (found.kind !== 'absent') this.#strip(request);
      return PASSED;
    }
    if (!allowsPlaintext && !facts.isEncrypted && !isLoopback(facts.sourceIp)) {
      return refuse(403, 'passwords are taken over TLS alone', 'login-plaintext');
    }
    if (found.kind === 'credentials') return found;
    return this.#ask(found.kind === 'absent' ? 'login-missing' : 'login-malformed');
  }

  #accept(request: GateRequest, { user }: BasicCredentials): GateOutcome {
    const { userHeader } = this.#login;
    request.facts.setMetadata(LOGIN_FILTER, { user });
    this.#strip(request);
    if (userHeader !== undefined) request.edits().set(userHeader, headerText(user));
    return PASSED;
  }

  #strip(request: GateRequest): void {
    if (!this.#login.keepsCredential) request.edits().remove('authorization');
  }

  #ask(reasonCode: string): GateRefusal {
    return { ...refuse(401, 'login required', reasonCode), headers: this.#challenge };
  }

  #refusalOf(result: Exclude<LoginResult, { readonly kind: 'right' }>): GateRefusal {
    switch (result.kind) {
      case 'wait': {
        const seconds = String(Math.ceil(result.waitMs / 1_000));
        const refusal = refuse(429, 'too many failed logins', 'login-throttled');
        return { ...refusal, headers: ['retry-after', seconds] };
      }
      case 'busy':
        return {
          ...refuse(503, 'too many logins at once', 'login-busy'),
          headers: ['retry-after', '1'],
        };
      case 'failed':
        return refuse(503, 'nobody can log in now', 'login-failed');
      default:
        return this.#ask('login-wrong');
    }
  }
}

const refuse = (status: number, body: string, reasonCode: string): GateRefusal => ({
  kind: 'refuse',
  status,
  body,
  reasonCode,
  headers: [],
});

/** RFC 9110 §5.6.4. */
const quoted = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** Header fields are bytes: a name beyond ASCII goes as UTF-8, one byte a character. */
const headerText = (user: string): string => Buffer.from(user, 'utf8').toString('latin1');

/** Whoever has an IPv6 address has all of its /64. */
function addressKey(ip: IpAddress | undefined): string {
  if (ip === undefined) return 'unknown';
  return ip.family === 4 ? formatIp(ip) : `${ip.words[0]}.${ip.words[1]}`;
}

const LOOPBACK_NETWORK = 127;

const isLoopback = (ip: IpAddress | undefined): boolean =>
  ip?.family === 4
    ? ip.word >>> 24 === LOOPBACK_NETWORK
    : ip?.words.every((word, at) => word === (at === 3 ? 1 : 0)) === true;
