// Finds the rules that can concern a request without trying them all: by peer or namespace, then by path, prefix or port.
import type { DecisionInput } from './evaluate.ts';
import {
  boundedUnion,
  MAX_SEGMENTS,
  namespacesOf,
  peerKeys,
  type PeerKey,
  type TargetKey,
  targetKeys,
} from './index-keys.ts';
import type { RbacPolicy } from './rbac.ts';

/** A rule with its place in its set: of several that match, the first is named. */
export interface IndexedRule {
  readonly index: number;
  readonly test: (input: DecisionInput) => boolean;
}

/** Rules of one peer or namespace by what their requests must have; each list in the order of the set. */
class Bucket<R extends IndexedRule> {
  readonly #byPath = new Map<string, R[]>();
  readonly #byPrefix = new Map<string, R[]>();
  readonly #byPort = new Map<number, R[]>();
  readonly #others: R[] = [];

  add(rule: R, keys: ReadonlySet<TargetKey> | undefined): void {
    if (keys === undefined) {
      this.#others.push(rule);
      return;
    }
    for (const key of keys) {
      if (key.startsWith('=')) append(this.#byPath, key.slice(1), rule);
      else if (key.startsWith(':')) append(this.#byPort, Number(key.slice(1)), rule);
      else append(this.#byPrefix, key, rule);
    }
  }

  first(input: DecisionInput, best: R | undefined): R | undefined {
    let found = firstOf(this.#others, input, best);
    if (this.#byPort.size > 0) {
      found = firstOf(this.#byPort.get(input.destinationPort), input, found);
    }
    const { path } = input;
    if (path === undefined) return found;
    if (this.#byPath.size > 0) found = firstOf(this.#byPath.get(path), input, found);
    if (this.#byPrefix.size === 0) return found;
    let segments = 0;
    for (let at = path.indexOf('/', 1); at !== -1; at = path.indexOf('/', at + 1)) {
      found = firstOf(this.#byPrefix.get(path.slice(0, at + 1)), input, found);
      if (++segments === MAX_SEGMENTS) break;
    }
    return found;
  }
}

function append<K, R>(map: Map<K, R[]>, key: K, rule: R): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [rule]);
  else known.push(rule);
}

function firstOf<R extends IndexedRule>(
  rules: readonly R[] | undefined,
  input: DecisionInput,
  best: R | undefined,
): R | undefined {
  if (rules === undefined) return best;
  for (const rule of rules) {
    if (best !== undefined && rule.index > best.index) break;
    if (rule.test(input)) return rule;
  }
  return best;
}

/** Peers × targets under which one rule may stand. */
const MAX_ENTRIES = 1_024;

export class RuleIndex<R extends IndexedRule> {
  readonly #byPeer = new Map<string, Bucket<R>>();
  readonly #byNamespace = new Map<string, Bucket<R>>();
  readonly #anyPeer = new Bucket<R>();

  /** Rules must be added in the order of their set. */
  add(rule: R, policy: RbacPolicy): void {
    const peers = boundedUnion(policy.principals.map(peerKeys));
    const targets = boundedUnion(policy.permissions.map(targetKeys));
    const isTooWide = (peers?.size ?? 1) * (targets?.size ?? 1) > MAX_ENTRIES;
    const kept = isTooWide ? undefined : targets;
    if (peers === undefined) {
      this.#anyPeer.add(rule, kept);
      return;
    }
    for (const key of peers) this.#bucketOf(key).add(rule, kept);
  }

  #bucketOf(key: PeerKey): Bucket<R> {
    const buckets = key.startsWith('=') ? this.#byPeer : this.#byNamespace;
    const name = key.slice(1);
    let bucket = buckets.get(name);
    if (bucket === undefined) buckets.set(name, (bucket = new Bucket<R>()));
    return bucket;
  }

  /** The first rule of the set that matches. */
  find(input: DecisionInput): R | undefined {
    let best = this.#anyPeer.first(input, undefined);
    const { peerUri } = input;
    if (peerUri === undefined) return best;
    const own = this.#byPeer.get(peerUri);
    if (own !== undefined) best = own.first(input, best);
    if (this.#byNamespace.size === 0) return best;
    for (const namespace of namespacesOf(peerUri)) {
      const bucket = this.#byNamespace.get(namespace);
      if (bucket !== undefined) best = bucket.first(input, best);
    }
    return best;
  }
}
