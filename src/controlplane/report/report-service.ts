// Takes proxies' reports: what each is evaluating, and who called whom; a report is believed of its own proxy alone.
import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import { Listeners } from '@weft/model/listeners';
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import type { Peer } from '../serve/ads-server.ts';
import type { CredentialPart } from '../credentials/credential-part.ts';
import { createRequestRate } from '../serve/request-rate.ts';
import type { ProxyRef, ViewSource } from '../serve/view-source.ts';
import { readRefusals, type ReportedRefusal } from './refused-outside.ts';
import { readEdges, type ReportedEdge } from './reported-edge.ts';

export interface ReportServiceOptions {
  readonly peerOf: (call: ReportCall) => Peer;
  readonly views: Pick<ViewSource, 'resolve'>;
  /** Who is to watch credentials; absent: nobody. */
  readonly credentials?: Pick<CredentialPart, 'isGranted' | 'onGrants'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long proxies wait between reports; default 10 s. */
  readonly intervalMs?: number;
  readonly onEdges: (proxy: ProxyRef, edges: readonly ReportedEdge[]) => void;
  /** What was called outside the mesh and refused. */
  readonly onRefusals?: (proxy: ProxyRef, refusals: readonly ReportedRefusal[]) => void;
}

export type ReportCall = ServerDuplexStream<PlainMessage, PlainMessage>;

const SERVICE = 'weft.report.v1.Reports';
const DEFAULT_INTERVAL_MS = 10_000;
/** A proxy has a handful of listeners. */
const MAX_EVALUATED = 16;
const MAX_TEXT = 256;
/** Changes come in bursts; nobody has more than this to say. */
const RATE = { burst: 200, perSecond: 5 } as const;
const MAX_STREAMS = 20_000;
const MAX_STREAMS_PER_PROXY = 3;

interface Reporting {
  readonly call: ReportCall;
  proxy: ProxyRef | undefined;
  evaluated: ReadonlyMap<string, string>;
  /** As it was told. */
  watchesCredentials: boolean;
}

/** What a proxy says it evaluates: the digests of a listener from each of its streams. */
export type Evaluation =
  | { readonly isReporting: false }
  | { readonly isReporting: true; readonly digests: readonly string[] };

export class ReportService implements Disposable {
  readonly #options: ReportServiceOptions;
  readonly #streams = new Set<Reporting>();
  readonly #byProxy = new Map<string, Set<Reporting>>();
  readonly #listeners = new Listeners();
  readonly #granted: Disposable | undefined;

  constructor(server: Server, options: ReportServiceOptions) {
    this.#options = options;
    this.#granted = options.credentials?.onGrants(() => {
      for (const reporting of this.#streams) this.#tellGranted(reporting);
    });
    server.addService(serviceDefinition(SERVICE), {
      Report: (call: ReportCall) => this.#open(call),
    });
  }

  #open(call: ReportCall): void {
    const { peerOf, clock } = this.#options;
    const peer = peerOf(call);
    if (!peer.ok) return this.#end(call, status.UNAUTHENTICATED, peer.reason);
    if (this.#streams.size >= MAX_STREAMS) {
      return this.#end(call, status.RESOURCE_EXHAUSTED, 'too many report streams are open');
    }
    const reporting: Reporting = {
      call,
      proxy: undefined,
      evaluated: new Map(),
      watchesCredentials: false,
    };
    this.#streams.add(reporting);
    const rate = createRequestRate({ ...RATE, nowMs: clock.now() });
    call.on('data', (report: PlainMessage) => {
      if (rate.take(clock.now()) > 0)
        this.#end(call, status.RESOURCE_EXHAUSTED, 'too many reports');
      else this.#take(reporting, peer.identity, report);
    });
    call.on('end', () => call.end());
    call.on('close', () => this.#closed(reporting));
    call.write({ interval_seconds: this.#intervalSeconds });
  }

  get #intervalSeconds(): number {
    const { intervalMs = DEFAULT_INTERVAL_MS } = this.#options;
    return Math.max(1, Math.round(intervalMs / 1_000));
  }

  /** Says it when it is another than before. */
  #tellGranted(reporting: Reporting): void {
    const { call, proxy } = reporting;
    if (proxy === undefined) return;
    const watches = this.#options.credentials?.isGranted(proxy.id) === true;
    if (watches === reporting.watchesCredentials) return;
    reporting.watchesCredentials = watches;
    call.write({ interval_seconds: this.#intervalSeconds, watches_credentials: watches });
  }

  #take(reporting: Reporting, identity: SpiffeId, report: PlainMessage): void {
    if (!this.#streams.has(reporting)) return;
    if (reporting.proxy === undefined) {
      const id = textOf(report, 'node_id');
      const claim = { id, cluster: '', metadata: new Map<string, string>(), userAgent: 'weft' };
      const resolution = this.#options.views.resolve(claim, identity);
      if (!resolution.ok) {
        this.#end(reporting.call, status.PERMISSION_DENIED, resolution.reason);
        return;
      }
      const { proxy } = resolution;
      const others = this.#byProxy.get(proxy.id) ?? new Set<Reporting>();
      if (others.size >= MAX_STREAMS_PER_PROXY) {
        this.#end(
          reporting.call,
          status.RESOURCE_EXHAUSTED,
          'too many report streams of this proxy',
        );
        return;
      }
      reporting.proxy = proxy;
      this.#byProxy.set(proxy.id, others.add(reporting));
      this.#tellGranted(reporting);
    }
    reporting.evaluated = new Map(
      messagesOf(report, 'evaluated')
        .slice(0, MAX_EVALUATED)
        .map((entry) => [
          textOf(entry, 'listener').slice(0, MAX_TEXT),
          textOf(entry, 'digest').slice(0, MAX_TEXT),
        ]),
    );
    const edges = readEdges(report);
    if (edges.length > 0) this.#options.onEdges(reporting.proxy, edges);
    const refusals = readRefusals(report);
    if (refusals.length > 0) this.#options.onRefusals?.(reporting.proxy, refusals);
    this.#listeners.tell();
  }

  #closed(reporting: Reporting): void {
    this.#streams.delete(reporting);
    const { proxy } = reporting;
    if (proxy === undefined) return;
    const others = this.#byProxy.get(proxy.id);
    others?.delete(reporting);
    if (others?.size === 0) this.#byProxy.delete(proxy.id);
  }

  #end(call: ReportCall, code: status, details: string): void {
    this.#options.log.warn({ peer: call.getPeer(), reason: details }, 'report stream ended');
    for (const reporting of this.#streams) if (reporting.call === call) this.#closed(reporting);
    call.emit('error', { code, details: details.toWellFormed() });
  }

  /** Every open stream of the proxy counts: an old process that lives on beside a new one must not be hidden by it. */
  evaluationOf(proxyId: string, listener: string): Evaluation {
    const streams = this.#byProxy.get(proxyId);
    if (streams === undefined) return { isReporting: false };
    return {
      isReporting: true,
      digests: [...streams].map(({ evaluated }) => evaluated.get(listener) ?? ''),
    };
  }

  /** Called at every report. */
  onReport(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  [Symbol.dispose](): void {
    this.#granted?.[Symbol.dispose]();
    for (const { call } of this.#streams) {
      call.emit('error', {
        code: status.UNAVAILABLE,
        details: 'the control plane is shutting down',
      });
    }
    this.#streams.clear();
    this.#byProxy.clear();
  }
}
