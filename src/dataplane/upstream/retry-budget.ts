// How many retries a destination may have under way: a share of its requests, so that an outage is not multiplied.
import { DEFAULT_RETRY_BUDGET, type RetryBudget } from '@weft/xds/resources/cluster';

export class RetryAllowance {
  /** Requests under way to the destination, retries among them. */
  readonly #requests: () => number;
  #budget = DEFAULT_RETRY_BUDGET;
  #underWay = 0;

  constructor(requests: () => number) {
    this.#requests = requests;
  }

  setBudget(budget: RetryBudget = DEFAULT_RETRY_BUDGET): void {
    this.#budget = budget;
  }

  /** @returns whether one more may begin; it then counts until `end`. */
  tryBegin(): boolean {
    const { percent, minConcurrency } = this.#budget;
    const share = Math.floor((this.#requests() * percent) / 100);
    if (this.#underWay >= Math.max(share, minConcurrency)) return false;
    this.#underWay++;
    return true;
  }

  end(): void {
    this.#underWay--;
  }
}
