// Tells the control plane what this proxy is evaluating: at every change, and again now and then.
import type { Clock } from '@weft/model/clock';
import { encodeResource } from '@weft/xds/codec/resource-codec';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { noticingUnknown } from '@weft/xds/unknown-fields';
import type { Logger } from 'pino';
import { LastingStream } from '../control-plane/lasting-stream.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';
import type { ListenerRuntime } from '../state/chain.ts';
import type { EdgeCounts } from './edge-counts.ts';

export interface ReporterOptions {
  readonly connect: () => ChannelLease;
  readonly nodeId: string;
  /** The listener of which traffic is being judged, as it is held now. */
  readonly inbound: () => HeldListener | undefined;
  readonly edges: EdgeCounts;
  /** The control plane says that credentials are granted to this identity. */
  readonly onCredentials: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** A listener as it is held by what judges. */
export type HeldListener = Pick<ListenerRuntime, 'listener'>;

const SERVICE = 'weft.report.v1.Reports';
const REPLY = 'weft.report.v1.ReportReply';
/** 10 s, until the control plane says otherwise. */
const DEFAULT_INTERVAL_MS = 10_000;
const MIN_INTERVAL_MS = 1_000;
const MAX_INTERVAL_MS = 600_000;

/**
 * Hash of a listener as it is held by what judges. It is made of the decoded rules, not copied from what came: a proxy
 * that acknowledged rules and then lost or changed them reports another.
 */
export const digestOf = (runtime: HeldListener): string =>
  encodeResource('listener', runtime.listener).version;

export class Reporter implements Disposable {
  readonly #options: ReporterOptions;
  readonly #stream: LastingStream;
  #intervalMs = DEFAULT_INTERVAL_MS;
  #timer: Disposable | undefined;
  #isDisposed = false;

  /** Begins to report at once. */
  constructor(options: ReporterOptions) {
    this.#options = options;
    const method = serviceDefinition(SERVICE)['Report'];
    if (method === undefined) throw new TypeError(`Cannot find Report of ${SERVICE}`);
    const { connect, clock, random, log, nodeId } = options;
    this.#stream = new LastingStream({
      connect,
      method: noticingUnknown(method, REPLY),
      clock,
      random,
      log,
      absence: 'no report stream; the control plane does not know what is enforced here',
      onOpen: (send) => {
        send({ node_id: nodeId, evaluated: this.#evaluated() });
        this.#schedule();
      },
      onMessage: (reply) => this.#onReply(reply),
    });
  }

  /** To be called when what is evaluated has changed. */
  changed(): void {
    this.#stream.send({ evaluated: this.#evaluated() });
  }

  #evaluated(): readonly PlainMessage[] {
    const runtime = this.#options.inbound();
    return runtime === undefined
      ? []
      : [{ listener: runtime.listener.name, digest: digestOf(runtime) }];
  }

  #onReply(reply: PlainMessage): void {
    if (reply['watches_credentials'] === true) this.#options.onCredentials();
    const seconds = reply['interval_seconds'];
    if (typeof seconds !== 'number' || seconds <= 0) return;
    this.#intervalMs = Math.min(MAX_INTERVAL_MS, Math.max(MIN_INTERVAL_MS, seconds * 1_000));
    this.#schedule();
  }

  #schedule(): void {
    this.#timer?.[Symbol.dispose]();
    if (this.#isDisposed) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      if (this.#stream.isOpen) {
        const { edges } = this.#options;
        const refused_outside = edges.refusals.take();
        this.#stream.send({ evaluated: this.#evaluated(), edges: edges.take(), refused_outside });
      }
      this.#schedule();
    }, this.#intervalMs);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#stream[Symbol.dispose]();
  }
}
