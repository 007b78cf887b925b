// Tells the leader what the proxies connected to this control plane enforce: everything once, then what changes.
import { Client, type ClientDuplexStream, credentials } from '@grpc/grpc-js';
import type { Authority } from '@weft/ca/authority';
import type { Clock } from '@weft/model/clock';
import { peerIdentity } from '@weft/model/x509';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { createSecureContext } from 'node:tls';
import { encodeState, isSameState, type ProxyState } from './proxy-state.ts';
import { REPLICAS_SERVICE } from './replica-service.ts';

export interface ReplicaLinkOptions {
  readonly authority: Authority;
  /** Of this Pod. */
  readonly replica: string;
  /** Where the leader serves xDS; `undefined` while nobody leads, or this one does. */
  readonly leaderAddress: () => string | undefined;
  /** What the proxies that are connected here enforce now. */
  readonly states: () => ReadonlyMap<string, ProxyState>;
  /** Called when `states` may give something else. */
  readonly onChange: (listener: () => void) => Disposable;
  readonly clock: Clock;
  readonly log: Logger;
}

/** 50 ms: acknowledgements come by the thousand after a change. */
const SETTLE_MS = 50;
/** 1 s: how soon a lost leader, or a new one, is looked for. */
const LOOK_MS = 1_000;
/** Proxies in one message, well below the greatest message. */
const MAX_PART = 2_000;
/** Certificates name the Service; the leader is dialled by address and known by its SPIFFE id. */
const SERVER_NAME = 'weft-control-plane';

type Stream = ClientDuplexStream<PlainMessage, PlainMessage>;

interface Open {
  readonly address: string;
  readonly client: Client;
  readonly stream: Stream;
  told: ReadonlyMap<string, ProxyState>;
}

export class ReplicaLink implements Disposable {
  readonly #options: ReplicaLinkOptions;
  readonly #subscription: Disposable;
  #open: Open | undefined;
  #settle: Disposable | undefined;
  #look: Disposable;

  constructor(options: ReplicaLinkOptions) {
    this.#options = options;
    this.#subscription = options.onChange(() => this.#soon());
    this.#look = options.clock.setTimeout(() => this.#follow(), 0);
  }

  /** Is at the leader of now, or tries to be. */
  #follow(): void {
    const { clock, leaderAddress } = this.#options;
    this.#look = clock.setTimeout(() => this.#follow(), LOOK_MS);
    const address = leaderAddress();
    if (this.#open?.address === address) {
      // That a proxy has gone is no event of its own.
      this.#soon();
      return;
    }
    this.#close();
    if (address !== undefined) this.#connect(address);
  }

  #connect(address: string): void {
    const { authority, log, replica } = this.#options;
    const definition = serviceDefinition(REPLICAS_SERVICE)['Share'];
    if (definition === undefined) throw new TypeError('Cannot share: the service has no method');
    const client = new Client(address, this.#credentials(authority), {
      'grpc.ssl_target_name_override': SERVER_NAME,
      'grpc.default_authority': SERVER_NAME,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.use_local_subchannel_pool': 1,
    });
    const { path, requestSerialize, responseDeserialize } = definition;
    const stream: Stream = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
    );
    const open: Open = { address, client, stream, told: new Map() };
    this.#open = open;
    stream.on('data', () => undefined);
    stream.on('error', (error) => {
      if (this.#open === open) log.warn({ leader: address, reason: error.message }, 'leader lost');
    });
    stream.on('status', () => {
      client.close();
      if (this.#open === open) this.#open = undefined;
    });
    stream.write({ replica });
    this.#send();
  }

  #credentials(authority: Authority) {
    const { keyPem, chainPem } = authority.serverCertificate({ dnsNames: [], ipAddresses: [] });
    const context = createSecureContext({
      ca: authority.bundle().pem,
      key: keyPem,
      cert: chainPem,
      minVersion: 'TLSv1.3',
    });
    return credentials.createFromSecureContext(context, {
      checkServerIdentity(_host, certificate) {
        const identity = peerIdentity(certificate.raw);
        if (!identity.ok) return new Error(identity.reason);
        if (identity.spiffeId === authority.controlPlaneId) return undefined;
        return new Error(`the server is ${identity.spiffeId}, not ${authority.controlPlaneId}`);
      },
    });
  }

  #soon(): void {
    if (this.#open === undefined) return;
    this.#settle ??= this.#options.clock.setTimeout(() => {
      this.#settle = undefined;
      this.#send();
    }, SETTLE_MS);
  }

  #send(): void {
    const open = this.#open;
    if (open === undefined) return;
    const now = this.#options.states();
    const changed = [...now.values()].filter((state) => {
      const told = open.told.get(state.proxyId);
      return told === undefined || !isSameState(told, state);
    });
    const gone = [...open.told.keys()].filter((proxyId) => !now.has(proxyId));
    open.told = now;
    if (gone.length > 0) open.stream.write({ gone });
    for (let from = 0; from < changed.length; from += MAX_PART) {
      open.stream.write({ proxies: changed.slice(from, from + MAX_PART).map(encodeState) });
    }
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.stream.cancel();
    open?.client.close();
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#settle?.[Symbol.dispose]();
    this.#look[Symbol.dispose]();
    this.#close();
  }
}
