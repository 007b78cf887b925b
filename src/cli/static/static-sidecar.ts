// A sidecar that runs from its own file, without a mesh: started, reloaded when the file changes, and never with less than the last good one.
import { createMeshViews } from '@weft/controlplane/compile/mesh-views';
import { KeySets } from '@weft/controlplane/jwks/key-sets';
import type { CredentialsOptions } from '@weft/dataplane/credentials/options';
import type { RunOptions } from '@weft/dataplane/options';
import { Sidecar, type SidecarAddresses } from '@weft/dataplane/sidecar';
import type { Gauge, MetricsRegistry } from '@weft/dataplane/telemetry/metrics';
import { systemClock } from '@weft/model/clock';
import { isDeepStrictEqual } from 'node:util';
import { formatProblem, type Problem } from '@weft/model/problem';
import type { Logger } from 'pino';
import { VERSION } from '../version.ts';
import { LocalOrigin } from './local-origin.ts';
import { readStaticConfig, type StaticConfig, type StaticReading } from './static-config.ts';
import type { StaticCredentials } from './static-credentials.ts';
import { StaticSource } from './static-source.ts';
import { FileWatch } from './watch-files.ts';
import { staticIdentity, WORKLOAD } from './workload-objects.ts';

export interface StaticSidecarOptions {
  readonly file: string;
  readonly log: Logger;
  readonly drainLimitMs: number;
}

/** The file cannot be used; each problem is on a line of its own. */
export class BadStaticConfig extends Error {
  readonly code = 'WEFT_BAD_STATIC_CONFIG';
}

export class StaticSidecar implements AsyncDisposable {
  readonly #options: StaticSidecarOptions;
  readonly #stack = new AsyncDisposableStack();
  #config: StaticConfig | undefined;
  #source: StaticSource | undefined;
  #sidecar: Sidecar | undefined;
  #credentials: StaticCredentials | undefined;
  readonly #watch = new FileWatch({ clock: systemClock, onChange: () => this.#reload() });
  #digest = '';
  #metrics: { readonly ok: ReturnType<Gauge['labels']>; count(result: string): void } | undefined;

  constructor(options: StaticSidecarOptions) {
    this.#options = options;
  }

  /** @throws BadStaticConfig; Error when a port cannot be bound. Nothing stays open then. */
  async start(hooks?: { readonly onListening: () => void }): Promise<SidecarAddresses | undefined> {
    const { file, log } = this.#options;
    this.#stack.use(this.#watch);
    await this.#watch.begin([file]);
    const reading = await this.#read();
    if (reading.config === undefined) {
      await this[Symbol.asyncDispose]();
      throw new BadStaticConfig(problemLines(reading.problems));
    }
    this.#logWarnings(reading);
    this.#config = reading.config;
    const source = new StaticSource(reading.config.objects);
    this.#source = source;
    const keys = this.#stack.use(new KeySets({ clock: systemClock }));
    const views = this.#stack.use(
      createMeshViews({
        source,
        keys,
        ...staticIdentity(),
        bundle: () => NO_BUNDLE,
        onBundleChange: () => ({ [Symbol.dispose]: () => undefined }),
      }),
    );
    const proxyId = `${WORKLOAD.name}.${WORKLOAD.namespace}`;
    const credentials = await this.#openCredentials(reading.config);
    const sidecar = new Sidecar({
      ...runOptionsOf(reading.config, this.#options),
      credentials,
      origin: (originHooks) => {
        this.#createMetrics(originHooks.metrics);
        const component = log.child({ component: 'configuration' });
        return new LocalOrigin({ views, proxyId, log: component }, originHooks);
      },
    });
    this.#sidecar = sidecar;
    this.#stack.use(sidecar);
    return await sidecar.start(hooks);
  }

  /** Loaded where there are any. */
  async #openCredentials({ credentials }: StaticConfig): Promise<CredentialsOptions | undefined> {
    if (credentials === undefined) return undefined;
    const { StaticCredentials } = await import('./static-credentials.ts');
    const log = this.#options.log.child({ component: 'credentials' });
    this.#credentials = this.#stack.use(await StaticCredentials.open(credentials, log));
    return { ...credentials.delivery, feed: this.#credentials.feed };
  }

  #createMetrics(registry: MetricsRegistry): void {
    const ok = registry
      .gauge({
        name: 'weft_configuration_file_ok',
        help: '1 while the file as it is now is in force, 0 while an older version is',
        labels: [],
      })
      .labels();
    const loads = registry.counter({
      name: 'weft_configuration_file_loads_total',
      help: 'How often the file was read, by what became of it',
      labels: ['result'],
    });
    this.#metrics = { ok, count: (result) => loads.labels(result).inc() };
    this.#note(true);
  }

  #note(isGood: boolean): void {
    this.#metrics?.ok.set(isGood ? 1 : 0);
    this.#metrics?.count(isGood ? 'accepted' : 'refused');
  }

  /** Again where it names other files than before: they are watched from before they are read. */
  async #read(): Promise<StaticReading> {
    for (let round = 1; ; round++) {
      const reading = await readStaticConfig(this.#options.file);
      this.#digest = reading.digest;
      const areOthers = await this.#watch.follow(reading.files);
      if (!areOthers || round >= MAX_ROUNDS) return reading;
    }
  }

  async #reload(): Promise<void> {
    const { file, log } = this.#options;
    const before = this.#digest;
    const reading = await this.#read();
    // Touched, or written anew as it was.
    if (reading.digest === before) return;
    const { config } = reading;
    const problems = [...reading.problems, ...this.#needingRestart(config)];
    if (config === undefined || problems.some(({ severity }) => severity === 'error')) {
      this.#note(false);
      const message = 'refused the file; the last good version stays in force';
      log.error({ file, problems: problems.map(formatProblem) }, message);
      return;
    }
    this.#logWarnings(reading);
    this.#config = config;
    this.#source?.replace(config.objects);
    this.#credentials?.replace(config.credentials?.grants ?? []);
    this.#note(true);
    log.info({ file }, 'the file has changed and is in force');
  }

  /** Ports are opened once. What else the file says would be in force for others than it says. */
  #needingRestart(config: StaticConfig | undefined): readonly Problem[] {
    const before = this.#config;
    if (config === undefined || before === undefined) return [];
    const parts = [
      ...PORT_FIELDS.filter((key) => !isDeepStrictEqual(before.ports[key], config.ports[key])),
      ...(isDeepStrictEqual(before.outbound, config.outbound) ? [] : ['outbound']),
      ...CREDENTIALS_FIELDS.filter(
        (key) => !isDeepStrictEqual(before.credentials?.[key], config.credentials?.[key]),
      ).map((key) => (key === 'delivery' ? 'credentials' : 'credentials.sources')),
    ];
    return parts.map((part) => ({
      severity: 'error',
      code: 'needs-restart',
      field: part === 'ports' ? 'listen' : part,
      message: 'cannot change while the sidecar runs',
      cure: 'restart the sidecar, or undo this change',
      source: { file: this.#options.file },
    }));
  }

  #logWarnings({ problems }: StaticReading): void {
    for (const problem of problems) this.#options.log.warn(formatProblem(problem));
  }

  drain(): Promise<number> {
    return this.#sidecar?.drain() ?? Promise.resolve(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Who changes the names of files all the time is read again at the next change. */
const MAX_ROUNDS = 3;

/** Never sent: nothing of a sidecar without a mesh refers to it. */
const NO_BUNDLE = { pem: '', version: 'none' } as const;

/** What is granted may change. */
const CREDENTIALS_FIELDS = ['delivery', 'sources'] as const;
const PORT_FIELDS = ['ports', 'application', 'admin', 'probes', 'metrics', 'accessLog'] as const;

export const problemLines = (problems: readonly Problem[]): string =>
  problems.map(formatProblem).join('\n');

function runOptionsOf(
  { ports, outbound }: StaticConfig,
  { log, drainLimitMs }: StaticSidecarOptions,
): RunOptions {
  const { application, admin, probes, metrics, accessLog } = ports;
  return {
    pod: WORKLOAD.name,
    namespace: WORKLOAD.namespace,
    podIp: WORKLOAD.ip,
    domain: 'cluster.local',
    inbound: ports.ports.map(({ port, listen }) => ({
      port,
      listen,
      app: { address: application.host, port: application.port },
    })),
    outbound,
    outboundHttp: undefined,
    transparent: undefined,
    admin,
    probes,
    metrics,
    appProbes: new Map(),
    accessLog,
    drainLimitMs,
    drainsOutbound: false,
    version: VERSION,
    log,
    clock: systemClock,
    random: Math.random,
  };
}
