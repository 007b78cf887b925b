// The sidecar's counters, gauges and histograms, and their Prometheus text. Own code because prom-client costs 21 MB here.

/** Label values come from requests and the mesh: beyond this many series a family counts under `other`. */
const MAX_SERIES_PER_FAMILY = 2_000;
const OVERFLOW = 'other';

export interface Counter {
  /** Resolve once, keep the handle, `inc` on the hot path. */
  labels(...values: readonly string[]): CounterHandle;
}
export interface CounterHandle {
  inc(by?: number): void;
}
export interface Gauge {
  labels(...values: readonly string[]): GaugeHandle;
}
export interface GaugeHandle {
  set(value: number): void;
  inc(by?: number): void;
  dec(by?: number): void;
}
export interface Histogram {
  labels(...values: readonly string[]): HistogramHandle;
}
export interface HistogramHandle {
  observe(value: number): void;
}

interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

class Series implements CounterHandle, GaugeHandle {
  value = 0;
  inc(by = 1): void {
    this.value += by;
  }
  dec(by = 1): void {
    this.value -= by;
  }
  set(value: number): void {
    this.value = value;
  }
}

class BucketSeries implements HistogramHandle {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count++;
    for (let index = 0; index < this.bounds.length; index++) {
      if (value <= (this.bounds[index] ?? 0)) {
        this.counts[index] = (this.counts[index] ?? 0) + 1;
        return;
      }
    }
  }
}

class Family<S> {
  readonly options: FamilyOptions;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly series = new Map<string, { readonly values: readonly string[]; readonly series: S }>();
  readonly #create: () => S;

  constructor(type: Family<S>['type'], options: FamilyOptions, create: () => S) {
    this.type = type;
    this.options = options;
    this.#create = create;
  }

  labels(...values: readonly string[]): S {
    if (values.length !== this.options.labels.length) {
      throw new RangeError(
        `Cannot count ${this.options.name}: ${values.length} label values for ${this.options.labels.length} labels`,
      );
    }
    const key = values.join('\0');
    const known = this.series.get(key);
    if (known) return known.series;
    if (this.series.size >= MAX_SERIES_PER_FAMILY && !values.every((value) => value === OVERFLOW)) {
      return this.labels(...values.map(() => OVERFLOW));
    }
    const series = this.#create();
    this.series.set(key, { values, series });
    return series;
  }
}

/** One process's metrics. Families are made at start-up; series appear as they are first used. */
export class MetricsRegistry {
  readonly #families: (Family<Series> | Family<BucketSeries>)[] = [];
  readonly #collectors: (() => void)[] = [];

  counter(options: FamilyOptions): Counter {
    return this.#add(new Family('counter', options, () => new Series()));
  }

  gauge(options: FamilyOptions): Gauge {
    return this.#add(new Family('gauge', options, () => new Series()));
  }

  /** @param options.buckets upper bounds in the metric's unit, ascending; `+Inf` is added. */
  histogram(options: FamilyOptions & { readonly buckets: readonly number[] }): Histogram {
    return this.#add(new Family('histogram', options, () => new BucketSeries(options.buckets)));
  }

  /** Called before each exposition, to set gauges that are cheaper to read than to keep. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  #add<F extends Family<Series> | Family<BucketSeries>>(family: F): F {
    if (this.#families.some((known) => known.options.name === family.options.name)) {
      throw new RangeError(`Cannot register ${family.options.name}: the name is taken`);
    }
    this.#families.push(family);
    return family;
  }

  /** Prometheus text exposition format 0.0.4. */
  expose(): string {
    for (const collect of this.#collectors) collect();
    const lines: string[] = [];
    for (const family of this.#families) {
      const { name, help, labels } = family.options;
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${family.type}`);
      for (const { values, series } of family.series.values()) {
        const text = labels.map((label, index) => `${label}="${escapeLabel(values[index] ?? '')}"`);
        if (series instanceof BucketSeries) exposeBuckets(lines, name, text, series);
        else lines.push(`${name}${braces(text)} ${series.value}`);
      }
    }
    return `${lines.join('\n')}\n`;
  }
}

const braces = (labels: readonly string[]): string =>
  labels.length === 0 ? '' : `{${labels.join(',')}}`;

function exposeBuckets(
  lines: string[],
  name: string,
  labels: readonly string[],
  series: BucketSeries,
): void {
  let cumulative = 0;
  series.bounds.forEach((bound, index) => {
    cumulative += series.counts[index] ?? 0;
    lines.push(`${name}_bucket${braces([...labels, `le="${bound}"`])} ${cumulative}`);
  });
  lines.push(
    `${name}_bucket${braces([...labels, 'le="+Inf"'])} ${series.count}`,
    `${name}_sum${braces(labels)} ${series.sum}`,
    `${name}_count${braces(labels)} ${series.count}`,
  );
}

const escapeLabel = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
