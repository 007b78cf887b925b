// Keeps changed routes back until the clusters that they lead to are here, so that no request is lost to the change.
import { clustersOf, type RouteConfiguration } from '@weft/xds/resources/route';

type ByName = ReadonlyMap<string, RouteConfiguration>;

interface RouteUpdate {
  readonly changed: ByName;
  readonly removed: ReadonlySet<string>;
}

export interface RouteNeeds {
  isInForce(route: string): boolean;
  /** Whether a cluster is here with all it needs, or known not to exist. */
  isSettled(cluster: string): boolean;
}

export class WaitingRoutes {
  readonly #needs: RouteNeeds;
  #waiting = new Map<string, RouteConfiguration>();

  constructor(needs: RouteNeeds) {
    this.#needs = needs;
  }

  /** @returns those to put in force at once: that are ready, or that have no version in force to go on with. */
  take({ changed, removed }: RouteUpdate): ByName {
    for (const name of removed) this.#waiting.delete(name);
    const due = new Map<string, RouteConfiguration>();
    for (const [name, route] of changed) {
      this.#waiting.delete(name);
      if (this.#needs.isInForce(name) && !this.#isReady(route)) this.#waiting.set(name, route);
      else due.set(name, route);
    }
    return due;
  }

  /** @returns those that are ready by now, which wait no longer. */
  settle(): ByName {
    const due = new Map([...this.#waiting].filter(([, route]) => this.#isReady(route)));
    for (const name of due.keys()) this.#waiting.delete(name);
    return due;
  }

  get(name: string): RouteConfiguration | undefined {
    return this.#waiting.get(name);
  }

  #isReady(route: RouteConfiguration): boolean {
    for (const cluster of clustersOf(route)) if (!this.#needs.isSettled(cluster)) return false;
    return true;
  }
}
