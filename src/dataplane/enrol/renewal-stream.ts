// Keeps the renewal stream open: sends requests for certificates, takes certificates, bundles and calls to renew.
import type { Clock } from '@weft/model/clock';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { noticingUnknown } from '@weft/xds/unknown-fields';
import type { Logger } from 'pino';
import { LastingStream } from '../control-plane/lasting-stream.ts';
import type { ChannelLease } from '../control-plane/shared-channel.ts';

export interface RenewalHandlers {
  /** First of a new stream: what must be said on every one. */
  onOpen(send: (request: PlainMessage) => void): void;
  onSvid(message: PlainMessage): void;
  onBundle(message: PlainMessage): void;
  onRenewNow(): void;
}

export interface RenewalStreamOptions {
  readonly connect: () => ChannelLease;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly handlers: RenewalHandlers;
}

const SERVICE = 'weft.enrolment.v1.Enrolment';
const RESPONSE = 'weft.enrolment.v1.RenewResponse';

const isMessage = (value: unknown): value is PlainMessage =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array);

export class RenewalStream implements Disposable {
  readonly #stream: LastingStream;

  constructor(options: RenewalStreamOptions) {
    const { handlers, log, connect, clock, random } = options;
    const method = serviceDefinition(SERVICE)['Renew'];
    if (method === undefined) throw new TypeError(`Cannot find Renew of ${SERVICE}`);
    this.#stream = new LastingStream({
      connect,
      method: noticingUnknown(method, RESPONSE),
      clock,
      random,
      log,
      absence: 'no renewal stream',
      onOpen: (send) => handlers.onOpen(send),
      onMessage: ({ svid, bundle, renew_now: renewNow }) => {
        if (isMessage(svid)) handlers.onSvid(svid);
        else if (isMessage(bundle)) handlers.onBundle(bundle);
        else if (isMessage(renewNow)) handlers.onRenewNow();
        else log.warn('the control plane sent something unknown on the renewal stream');
      },
    });
  }

  /** @returns whether there was a stream to send it on. */
  send(request: PlainMessage): boolean {
    return this.#stream.send(request);
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
  }
}
