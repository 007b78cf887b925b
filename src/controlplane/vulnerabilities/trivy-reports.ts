// Follows the VulnerabilityReports that Trivy Operator writes into a cluster, and finds the one about an image.
import type { KubeClient } from '@weft/kube/kube-api';
import { type ListWatch, startListWatch } from '@weft/kube/list-watch';
import { type KubeResource, resource } from '@weft/kube/resource';
import type { Vulnerability, VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import type { Clock } from '@weft/model/clock';
import { Listeners } from '@weft/model/listeners';
import type { Logger } from 'pino';
import { keyOfReport, readTrivyReport, type TrivyReport } from './read-trivy-report.ts';
import type { ImageInUse, VulnerabilitySource } from './source.ts';

export const VULNERABILITY_REPORTS: KubeResource = resource(
  'aquasecurity.github.io/v1alpha1',
  'VulnerabilityReport',
  'vulnerabilityreports',
  'namespaced',
);

export interface TrivyReportsOptions {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  /** Absent: the whole cluster. */
  readonly namespaces?: readonly string[];
  readonly clock: Clock;
  readonly random?: () => number;
  readonly log?: Logger;
}

/** Reports that are kept; with 300 vulnerabilities each they are some 100 MB. */
const MAX_REPORTS = 20_000;
/** Vulnerabilities that reports share; beyond, each report has its own. */
const MAX_SHARED = 200_000;
/** A report may be a megabyte. */
const PAGE_SIZE = 20;

/** Reports found by digest and by who runs the image: the part without a watch. */
export class ReportIndex {
  readonly #byKey = new Map<string, TrivyReport>();
  /** Keys of reports. */
  readonly #byDigest = new Map<string, Set<string>>();
  readonly #byRunner = new Map<string, Set<string>>();
  readonly #shared = new Map<string, Vulnerability>();
  #left = 0;

  /** Reports that were too many. */
  get left(): number {
    return this.#left;
  }

  get size(): number {
    return this.#byKey.size;
  }

  readonly share = (one: Vulnerability): Vulnerability => {
    const key = `${one.id} ${one.severity} ${one.isFixable} ${one.publishedMs}`;
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    if (this.#shared.size < MAX_SHARED) this.#shared.set(key, one);
    return one;
  };

  /** All that there is in a namespace, or anywhere. */
  replace(reports: readonly TrivyReport[], namespace: string | undefined): void {
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const now = new Set(reports.map(({ key }) => key));
    this.#left = 0;
    for (const key of this.#byKey.keys()) {
      if (key.startsWith(prefix) && !now.has(key)) this.delete(key);
    }
    for (const report of reports) this.set(report);
  }

  set(report: TrivyReport): void {
    this.delete(report.key);
    if (this.#byKey.size >= MAX_REPORTS) {
      this.#left++;
      return;
    }
    this.#byKey.set(report.key, report);
    add(this.#byDigest, report.digest, report.key);
    add(this.#byRunner, report.runBy, report.key);
  }

  delete(key: string): void {
    const known = this.#byKey.get(key);
    if (known === undefined) return;
    this.#byKey.delete(key);
    take(this.#byDigest, known.digest, key);
    take(this.#byRunner, known.runBy, key);
    if (this.#byKey.size === 0) this.#shared.clear();
  }

  /**
   * The newest about the image itself; where nobody knows its digest the newest about who runs it. Reports of its own
   * namespace come first: who may write them elsewhere has the last word only where there are none.
   */
  find({ namespace, digests, reference, runBy }: ImageInUse): VulnerabilityReport | undefined {
    const prefix = `${namespace}/`;
    let near: TrivyReport | undefined;
    let far: TrivyReport | undefined;
    for (const digest of digests) {
      for (const key of this.#byDigest.get(digest) ?? NO_KEYS) {
        const report = this.#byKey.get(key);
        if (key.startsWith(prefix)) near = newerOf(near, report);
        else far = newerOf(far, report);
      }
    }
    const found = near ?? far;
    if (found !== undefined) return found.report;
    if (runBy === undefined || reference === undefined) return undefined;
    const { workloads, container } = runBy;
    const repository = `${reference.registry}/${reference.repository}`;
    const own = workloads
      .flatMap((workload) =>
        this.#reports(this.#byRunner.get(`${namespace}/${workload}/${container}`)),
      )
      // It may be of another version of who runs it, by another image.
      .filter((report) => report.repository === repository && isSameTag(report, reference.tag));
    return own.reduce<TrivyReport | undefined>(newerOf, undefined)?.report;
  }

  #reports(keys: Iterable<string> = []): readonly TrivyReport[] {
    return [...keys].flatMap((key) => this.#byKey.get(key) ?? []);
  }
}

const isSameTag = (report: TrivyReport, tag: string | undefined): boolean =>
  report.tag === undefined || report.tag === '' || report.tag === (tag ?? 'latest');

const NO_KEYS: ReadonlySet<string> = new Set();

const newerOf = (
  a: TrivyReport | undefined,
  b: TrivyReport | undefined,
): TrivyReport | undefined =>
  a === undefined || (b !== undefined && b.report.madeAtMs > a.report.madeAtMs) ? b : a;

function add(map: Map<string, Set<string>>, at: string | undefined, key: string): void {
  if (at === undefined) return;
  const known = map.get(at);
  if (known === undefined) map.set(at, new Set([key]));
  else known.add(key);
}

function take(map: Map<string, Set<string>>, at: string | undefined, key: string): void {
  const known = at === undefined ? undefined : map.get(at);
  if (at === undefined || known === undefined) return;
  known.delete(key);
  if (known.size === 0) map.delete(at);
}

/** Runs until it is disposed of. Without Trivy Operator it looks now and then whether it has come. */
export class TrivyReports implements VulnerabilitySource {
  readonly #options: TrivyReportsOptions;
  readonly #index = new ReportIndex();
  readonly #watches: readonly ListWatch[];
  readonly #listeners = new Listeners();
  /** Places of which something was heard: that all is listed, or why not. */
  readonly #heard = new Set<string>();
  readonly #problems = new Map<string, string>();

  constructor(options: TrivyReportsOptions) {
    this.#options = options;
    const places = options.namespaces ?? [undefined];
    this.#watches = places.map((namespace) => this.#follow(namespace));
  }

  get isRead(): boolean {
    return this.#heard.size === this.#watches.length;
  }

  get problem(): string | undefined {
    const [first] = this.#problems.values();
    if (first !== undefined) return first;
    return this.#index.left > 0 ? `there are more than ${MAX_REPORTS} reports` : undefined;
  }

  find(image: ImageInUse): VulnerabilityReport | undefined {
    return this.#index.find(image);
  }

  subscribe(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  #follow(namespace: string | undefined): ListWatch {
    const { client, clock, random, log } = this.#options;
    const place = namespace ?? '';
    const changed = (): void => {
      this.#listeners.tell();
    };
    return startListWatch<TrivyReport>({
      client,
      clock,
      ...(random && { random }),
      ...(log && { log }),
      resources: [VULNERABILITY_REPORTS],
      namespace,
      pageSize: PAGE_SIZE,
      read: (object) => readTrivyReport(object, this.#index.share),
      onListed: (reports) => {
        this.#index.replace(reports, namespace);
        this.#heard.add(place);
        changed();
      },
      onChanged: (report) => {
        this.#index.set(report);
        changed();
      },
      onDeleted: (object) => {
        this.#index.delete(keyOfReport(object));
        changed();
      },
      onStatus: (status) => {
        if (status.kind === 'starting') return;
        if (status.kind === 'good') this.#problems.delete(place);
        else {
          const { code, message } = status.failure;
          this.#problems.set(place, code === 404 ? NOBODY : message);
          // Its definition is gone, and the reports with it.
          if (code === 404) this.#index.replace([], namespace);
          this.#heard.add(place);
        }
        changed();
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
    await Promise.all(this.#watches.map((watch) => watch[Symbol.asyncDispose]()));
  }
}

const NOBODY =
  'there are no VulnerabilityReports in this cluster: install Trivy Operator (aquasecurity.github.io)';
