// What all logins of a proxy share: who was right lately, who failed, and the thread that compares passwords.
import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { BasicUser } from '@weft/model/login/types';
import { SecretText } from '@weft/model/secret-text';
import { FailureLedger } from './failure-ledger.ts';
import { type Checked, PasswordChecker } from './password-checker.ts';
import type { BasicCredentials } from './basic-credentials.ts';

/** Credentials that were right and are remembered. */
const MAX_REMEMBERED = 1_000;
/** Afterwards bcrypt is asked again. */
const REMEMBERED_MS = 300_000;
/** Comparisons of one address at a time: the others are not to wait behind it. */
const MAX_PENDING_BY_ADDRESS = 8;
/** bcrypt reads no further: what comes after would not count. */
const MAX_PASSWORD_BYTES = 72;
/** Of a list without users. */
const DEFAULT_COST = 10;

export type LoginResult =
  | { readonly kind: 'right' | 'wrong' | 'busy' | 'failed' }
  | { readonly kind: 'wait'; readonly waitMs: number };

export interface LoginAttempt {
  readonly credentials: BasicCredentials;
  /** The list that they have to be in, by name. */
  readonly users: ReadonlyMap<string, BasicUser>;
  /** Of the client, as failures are counted. */
  readonly address: string;
}

export class Logins implements Disposable {
  /** Known to nobody, so that what is remembered tells nothing of passwords. */
  readonly #key = randomBytes(32);
  /** By a digest of the credentials: the digest of the hash that they fit. */
  readonly #right = new LRUCache<string, string>({ max: MAX_REMEMBERED, ttl: REMEMBERED_MS });
  /** Requests with the same credentials wait for the same answer. */
  readonly #pending = new Map<string, Promise<LoginResult>>();
  readonly #pendingByAddress = new Map<string, number>();
  /** Apart, so that whoever has many addresses does not have a name forgotten. */
  readonly #failures = { byName: new FailureLedger(), byAddress: new FailureLedger() };
  readonly #checker = new PasswordChecker();
  readonly #now: () => number;

  constructor(options: { readonly now?: () => number } = {}) {
    this.#now = options.now ?? Date.now;
  }

  /** Whether they were right lately, and still would be by this list. */
  isKnown({ credentials, users }: Pick<LoginAttempt, 'credentials' | 'users'>): boolean {
    const user = users.get(credentials.user);
    return user !== undefined && this.#right.get(this.#digest(credentials)) === user.hash.digest;
  }

  /**
   * Takes as long for a name that is not in the list as for one that is. Failures make the name and the address wait,
   * known credentials never. Never rejects.
   */
  async tryLogin(attempt: LoginAttempt): Promise<LoginResult> {
    if (this.isKnown(attempt)) return { kind: 'right' };
    const { credentials, users } = attempt;
    const user = users.get(credentials.user);
    const hash = user?.hash ?? this.#nobodysHash(credentials.user, users);
    const digest = this.#digest(credentials);
    const key = `${digest} ${hash.digest}`;
    const waiting = this.#pending.get(key);
    if (waiting !== undefined) return waiting;
    const compare = async (): Promise<Checked> => {
      const checked = await this.#checker.check(credentials.password, hash.reveal());
      if (checked !== 'right') return checked;
      if (user === undefined || !isWhole(credentials.password)) return 'wrong';
      this.#right.set(digest, hash.digest);
      return 'right';
    };
    const login = this.#counted(attempt, compare);
    this.#pending.set(key, login);
    try {
      return await login;
    } finally {
      this.#pending.delete(key);
    }
  }

  async #counted(
    { credentials, address }: LoginAttempt,
    compare: () => Promise<Checked>,
  ): Promise<LoginResult> {
    const { byName, byAddress } = this.#failures;
    const counted = [
      { ledger: byName, key: this.#nameKey(credentials.user) },
      { ledger: byAddress, key: address },
    ];
    const waitMs = Math.max(...counted.map(({ ledger, key }) => ledger.waitMs(key, this.#now())));
    if (waitMs > 0) return { kind: 'wait', waitMs };
    const pending = this.#pendingByAddress.get(address) ?? 0;
    if (pending >= MAX_PENDING_BY_ADDRESS) return { kind: 'busy' };
    this.#pendingByAddress.set(address, pending + 1);
    for (const { ledger, key } of counted) ledger.begin(key, this.#now());
    const kind = await compare();
    const left = (this.#pendingByAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#pendingByAddress.set(address, left);
    else this.#pendingByAddress.delete(address);
    const isFailure = kind === 'wrong';
    for (const { ledger, key } of counted) ledger.end(key, { isFailure, nowMs: this.#now() });
    return { kind };
  }

  #digest({ user, password }: BasicCredentials): string {
    return createHmac('sha256', this.#key)
      .update(user)
      .update('\0')
      .update(password)
      .digest('base64');
  }

  /** Names of any length are counted in as little space. */
  #nameKey(name: string): string {
    return createHmac('sha256', this.#key).update('name').update(name).digest('base64');
  }

  /**
   * A hash that no password is known for, at the cost of one of the list's: always the same one for a name, so that time
   * does not tell who is in it.
   */
  #nobodysHash(name: string, users: ReadonlyMap<string, BasicUser>): SecretText {
    const digest = createHmac('sha256', this.#key).update('nobody').update(name).digest();
    const at = users.size === 0 ? 0 : digest.readUInt32BE(0) % users.size;
    const model = [...users.values()][at]?.hash.reveal().slice(4, 6) ?? String(DEFAULT_COST);
    return new SecretText(`$2b$${model}$${NOBODYS_TAIL}`);
  }

  [Symbol.dispose](): void {
    this.#checker[Symbol.dispose]();
  }
}

/** Salt and hash of a password that was made of random bytes and thrown away. */
const NOBODYS_TAIL = '76R6ujOVrSN53v8cFXDR1u.FwA7KkZjaWL2.B.wa5RVQ.YugyUNam';

const isWhole = (password: string): boolean =>
  Buffer.byteLength(password, 'utf8') <= MAX_PASSWORD_BYTES;
