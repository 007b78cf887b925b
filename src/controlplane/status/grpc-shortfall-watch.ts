// Knows what the gRPC servers of now, here and at other control planes, close of policies or do not enforce, and says when there may be others.
import type { Clock } from '@weft/model/clock';
import type { OwnServers } from '@weft/model/policy/explain-calls';
import type { Problem } from '@weft/model/problem';
import { Listeners } from '@weft/model/listeners';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import type { GrpcServer } from '../serve/grpc-servers.ts';
import {
  findShortfalls,
  type PolicyShortfall,
  shortfallProblems,
  type Unenforced,
  unenforcedOf,
} from './grpc-shortfalls.ts';
import { ownServersOf } from './grpc-answers.ts';
import { followGrpcServers } from './grpc-workloads.ts';

/** 200 ms: of a rollout many come together, and are told of together. */
const SETTLE_MS = 200;

interface WatchOptions {
  readonly views: Pick<MeshViews, 'mesh'>;
  readonly ads: Pick<AdsServer, 'grpcServers' | 'onAnswer'>;
  /** Connected to other control planes. */
  readonly elsewhere: () => Iterable<GrpcServer>;
  readonly clock: Clock;
}

export class GrpcShortfallWatch implements Disposable {
  readonly #views: WatchOptions['views'];
  readonly #clock: Clock;
  readonly #servers: ReturnType<typeof followGrpcServers>;
  readonly #listeners = new Listeners();
  readonly #subscription: Disposable;
  #timer: Disposable | undefined;

  constructor({ views, ads, elsewhere, clock }: WatchOptions) {
    this.#views = views;
    this.#clock = clock;
    this.#servers = followGrpcServers({
      workloads: () => views.mesh().workloads,
      connected: () => [...ads.grpcServers(), ...elsewhere()],
    });
    this.#subscription = ads.onAnswer(({ proxy, kind }) => {
      if (proxy.grpc !== undefined && kind === 'listener') this.#soon();
    });
  }

  #soon(): void {
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.#listeners.tell();
    }, SETTLE_MS);
  }

  #found(): readonly PolicyShortfall[] {
    const servers = this.#servers();
    return servers.size === 0 ? [] : findShortfalls(this.#views.mesh(), servers);
  }

  /** For one question: what is read of rules is kept for all workloads that it is about. */
  ownServers(): OwnServers {
    return ownServersOf(this.#views.mesh(), this.#servers());
  }

  problems(): readonly Problem[] {
    return shortfallProblems(this.#found());
  }

  unenforced(): Unenforced {
    return unenforcedOf(this.#found());
  }

  /** Called when a server may have come, or has other rules; that one has gone is told by nothing. */
  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#subscription[Symbol.dispose]();
  }
}
