// Knows what signers whom a policy trusts have attested of images: asked of their registries, remembered, and asked again while it is wanted.
import { LRUCache } from 'lru-cache';
import type { SignatureRule } from '@weft/model/admission/image-types';
import { fitsPattern } from '@weft/model/admission/image-reference';
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import { readAttestation, VULNERABILITY_PREDICATE } from './read-attestation.ts';
import type { Place, Registry } from './registry.ts';
import { findStatements } from './stored-signatures.ts';

export interface AttestedReportsOptions {
  readonly registry: Registry;
  readonly nowMs: () => number;
}

/** An image by its digest, and whom to believe about it. */
export interface AttestedQuestion {
  readonly place: Place;
  readonly digest: string;
  readonly rule: SignatureRule;
}

interface Known {
  readonly atMs: number;
  /** Absent: nobody who is trusted has said anything. */
  readonly report: VulnerabilityReport | undefined;
  /** A registry that could not be asked said nothing; what was known before is known still. */
  readonly isAnswered: boolean;
}

const ASK_MS = 5_000;
const MAX_KEPT = 10_000;
/** An image that runs is scanned again and again, and new attestations come under the same digest. */
const FRESH_MS = 600_000;
const RETRY_MS = 30_000;
const MAX_ASKING = 8;

export class AttestedReports {
  readonly #options: AttestedReportsOptions;
  readonly #known = new LRUCache<string, Known>({ max: MAX_KEPT });
  readonly #asking = new Map<string, Promise<void>>();
  readonly #numbers = new WeakMap<SignatureRule, number>();
  readonly #listeners = new Set<() => void>();
  #lastNumber = 0;

  constructor(options: AttestedReportsOptions) {
    this.#options = options;
  }

  /** What is known by now; of what is not, or was long ago, a registry is asked, and listeners are told. */
  find(question: AttestedQuestion): VulnerabilityReport | undefined {
    if (!isFor(question)) return undefined;
    const key = this.#keyOf(question);
    if (this.#isDue(key) && this.#asking.size < MAX_ASKING) void this.#ask(key, question);
    return this.#known.get(key)?.report;
  }

  /** As `find`, once the registry has answered or could not. */
  async know(question: AttestedQuestion): Promise<VulnerabilityReport | undefined> {
    if (!isFor(question)) return undefined;
    const key = this.#keyOf(question);
    if (this.#isDue(key)) await this.#ask(key, question);
    return this.#known.get(key)?.report;
  }

  subscribe(listener: () => void): Disposable {
    const own = (): void => listener();
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  #isDue(key: string): boolean {
    const known = this.#known.get(key);
    if (known === undefined) return true;
    const keptMs = known.isAnswered ? FRESH_MS : RETRY_MS;
    return this.#options.nowMs() - known.atMs >= keptMs;
  }

  #ask(key: string, question: AttestedQuestion): Promise<void> {
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#look(key, question).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  async #look(key: string, { place, digest, rule }: AttestedQuestion): Promise<void> {
    const { registry, nowMs } = this.#options;
    const kept = this.#known.get(key);
    const before = kept?.report;
    const atMs = nowMs();
    const unanswered: Known = { atMs, report: before, isAnswered: false };
    let known = unanswered;
    try {
      const found = await findStatements(registry, place, digest, AbortSignal.timeout(ASK_MS));
      if (found.ok) {
        const { isBelieved, statementOf } = await import('./verify-signature.ts');
        let report: VulnerabilityReport | undefined;
        for (const bundle of found.value) {
          const statement = statementOf(bundle, digest);
          if (statement?.predicateType !== VULNERABILITY_PREDICATE) continue;
          if (!isBelieved(bundle, rule, atMs)) continue;
          const origin = `attestation of ${place.registry}/${place.repository}@${digest}`;
          report = newest(report, readAttestation(statement.predicate, origin));
        }
        // An attestation that is gone, or that somebody has pushed over, takes back nothing that was known to be bad.
        known = { atMs, report: newest(before, report), isAnswered: true };
      }
    } catch {
      // What it sent can be made no sense of: as a registry that does not answer.
      known = unanswered;
    }
    this.#known.set(key, known);
    // Who was not asked for too many that were is asked in the next round.
    if (known.report === before && kept !== undefined) return;
    for (const listener of this.#listeners) listener();
  }

  #keyOf({ place, digest, rule }: AttestedQuestion): string {
    let number = this.#numbers.get(rule);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(rule, number);
    }
    return `${number} ${place.registry}/${place.repository}@${digest}`;
  }
}

const isFor = ({ place, rule }: AttestedQuestion): boolean =>
  rule.images.some((pattern) => fitsPattern(place, pattern));

/** Of two scans the later holds. */
export const newest = (
  a: VulnerabilityReport | undefined,
  b: VulnerabilityReport | undefined,
): VulnerabilityReport | undefined =>
  a === undefined || b === undefined ? (a ?? b) : b.madeAtMs > a.madeAtMs ? b : a;
