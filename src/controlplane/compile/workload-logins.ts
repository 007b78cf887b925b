// Gives each workload its login: the object that holds for it, with the users that its Secret names now.
import { type ComposedLogin, composeLogin, placeOfUsers } from '@weft/model/login/compose';
import { parseHtpasswd, type UserList } from '@weft/model/login/htpasswd';
import type { BasicAuthentication } from '@weft/model/login/types';
import type { DataObject } from '@weft/model/mesh/objects';
import type { WorkloadRef } from '@weft/model/policy/select';
import type { Problem } from '@weft/model/problem';
import { type Place, placeOf } from './object-index.ts';

const NONE: ComposedLogin = { login: undefined, broken: [], problems: [] };

export class WorkloadLogins {
  #policies: readonly BasicAuthentication[] = [];
  #secrets: ReadonlyMap<Place, DataObject> = new Map();
  #lists: ReadonlyMap<string, UserList> = new Map();
  /** By what they say, so that the workloads of one policy have the same objects. */
  readonly #problems = new Map<string, Problem>();

  /** @returns whether a list may be another by now. */
  refresh(
    policies: readonly BasicAuthentication[],
    secrets: ReadonlyMap<Place, DataObject>,
  ): boolean {
    if (policies === this.#policies && secrets === this.#secrets) return false;
    this.#policies = policies;
    this.#secrets = secrets;
    const before = this.#lists;
    const lists = new Map<string, UserList>();
    for (const { namespace, users } of policies) {
      const text = secrets.get(placeOf({ namespace, name: users.secret }))?.values.get(users.key);
      if (text === undefined) continue;
      lists.set(placeOfUsers(namespace, users), parseHtpasswd(text.reveal()));
    }
    this.#lists = lists;
    // Whoever has one of these is composed anew: two objects that say the same would be told twice.
    const isTold = this.#problems.size > 0;
    this.#problems.clear();
    return isTold || before.size + lists.size > 0;
  }

  compose(
    policies: readonly BasicAuthentication[],
    workload: WorkloadRef,
    rootNamespace: string,
  ): ComposedLogin {
    if (policies.length === 0) return NONE;
    const composed = composeLogin(policies, workload, { rootNamespace, users: this.#lists });
    return { ...composed, problems: composed.problems.map((problem) => this.#one(problem)) };
  }

  #one(problem: Problem): Problem {
    const key = JSON.stringify(problem);
    const known = this.#problems.get(key) ?? problem;
    this.#problems.set(key, known);
    return known;
  }
}
