// Follows one resource in one namespace or all: what it brings goes on a shelf of its own, and how it fares can be told.
import type { KubeFailure } from '@weft/kube/kube-api';
import { type ListWatch, type ListWatchStatus, startListWatch } from '@weft/kube/list-watch';
import type { ListWatchOptions } from '@weft/kube/list-watch';
import { resourceName } from '@weft/kube/resource';
import type { Clock } from '@weft/model/clock';
import type { Problem } from '@weft/model/problem';
import { type ClusterState, emptyShelf } from './cluster-state.ts';
import type { FollowedKind } from './followed-kinds.ts';
import {
  type ClusterObject,
  nameClusterObject,
  readClusterObject,
  type Reads,
} from './read-cluster-object.ts';

export interface FeedOptions
  extends Pick<ListWatchOptions<ClusterObject>, 'client' | 'namespace' | 'log' | 'random'> {
  readonly clock: Clock;
  readonly followed: FollowedKind;
  readonly state: ClusterState;
  readonly share: Reads['share'];
  /** Whether the server has the kind at all; absent when nobody knows. */
  readonly isInstalled: () => boolean | undefined;
  /** After each change of the state, or of how this fares. */
  readonly onChange: () => void;
  /** The API server, which was away, has answered. */
  readonly onBack: () => void;
}

export interface Feed extends AsyncDisposable {
  /** All that there is was read once, or there is known to be none. */
  readonly isRead: boolean;
  /** `resources` of the CRDs that it waits for. */
  readonly names: readonly string[];
  /** The API server could not be reached when it was last asked. */
  readonly isAway: boolean;
  problem(): FeedProblem | undefined;
  retryNow(): void;
}

export interface FeedProblem {
  readonly failure: KubeFailure;
  readonly problem: Problem;
}

/** Answers in a row that there is no such kind, until its objects are taken to be gone. */
const MISSES = 3;
/** From the definition of a kind to its service: the server takes a moment. */
const INSTALLING_MS = 1_000;
/** More of such moments it does not take: then the definition serves no version that is known here. */
const MOMENTS = 10;
/** One failure is over before anybody has read of it. */
const FAILURES_TOLD = 2;

export function startFeed(options: FeedOptions): Feed {
  const { followed, state, share, onChange, onBack, isInstalled, clock, ...rest } = options;
  const { kind, need, resources, fieldSelector } = followed;
  const shelf = emptyShelf();
  let isRead = false;
  let misses = 0;
  let isAway = false;
  let soon: Disposable | undefined;
  const onMissing = (): void => {
    misses++;
    if (isInstalled() === true) {
      soon?.[Symbol.dispose]();
      if (misses <= MOMENTS) soon = clock.setTimeout(() => listWatch.retryNow(), INSTALLING_MS);
      return;
    }
    // One such answer may be a flaw of a server that starts, and no reason to drop what restricts.
    if (isRead && isInstalled() === undefined && misses < MISSES) return;
    isRead = true;
    state.replace(shelf, []);
  };
  const isMissing = (status: ListWatchStatus): boolean =>
    need !== 'always' && status.kind === 'failing' && status.failure.code === 404;
  const onStatus = (status: ListWatchStatus): void => {
    if (isMissing(status)) onMissing();
    else misses = 0;
    const wasAway = isAway;
    isAway = status.kind === 'failing' && status.failure.kind === 'unreachable';
    if (wasAway && !isAway) onBack();
    onChange();
  };
  const listWatch: ListWatch = startListWatch<ClusterObject>({
    ...rest,
    clock,
    resources,
    fieldSelector,
    read: (object, resource) => readClusterObject({ kind, share }, object, resource),
    onListed: (items) => {
      isRead = true;
      state.replace(shelf, items);
      onChange();
    },
    onChanged: (item) => {
      state.put(shelf, item);
      onChange();
    },
    onDeleted: (object, resource) => {
      state.remove(shelf, nameClusterObject(kind, object, resource));
      onChange();
    },
    onStatus,
  });
  return {
    get isRead() {
      return isRead || need === 'advisory';
    },
    get isAway() {
      return isAway;
    },
    names: need === 'always' ? [] : [...new Set(resources.map(resourceName))],
    problem() {
      const { status } = listWatch;
      if (status.kind !== 'failing') return undefined;
      const { failure, failures } = status;
      if (isMissing(status) && isInstalled() !== true) return undefined;
      const isForOperator = failure.code === 403 || (failure.code === 404 && need === 'always');
      if (isRead && !isForOperator && failures < FAILURES_TOLD) return undefined;
      return { failure, problem: problemOf(followed, failure, isRead) };
    },
    retryNow: () => listWatch.retryNow(),
    [Symbol.asyncDispose]: () => {
      soon?.[Symbol.dispose]();
      return listWatch[Symbol.asyncDispose]();
    },
  };
}

function problemOf({ need }: FollowedKind, failure: KubeFailure, isRead: boolean): Problem {
  const effect = isRead
    ? 'what was read last stays in force'
    : 'nothing is served before it is read';
  const message = need === 'advisory' ? failure.message : `${failure.message}; ${effect}`;
  const severity = isRead || need === 'advisory' ? 'warning' : 'error';
  const problem: Problem = { severity, code: codeOf(failure), message };
  if (failure.code !== 404) return problem;
  const cure =
    need === 'always'
      ? 'install the CustomResourceDefinitions that came with this version'
      : 'have its CustomResourceDefinition serve a version that is known here, or remove it';
  return { ...problem, cure };
}

function codeOf({ kind, code }: KubeFailure): string {
  if (kind === 'unreachable') return 'api-server-unreachable';
  if (code === 403) return 'not-permitted';
  return code === 404 ? 'not-installed' : 'not-followed';
}
