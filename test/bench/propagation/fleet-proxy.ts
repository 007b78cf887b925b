// One fake proxy: a delta stream with its own certificate that asks for what a sidecar asks for and acknowledges what it gets.
import http2 from 'node:http2';
import tls from 'node:tls';
import { checkControlPlane } from '@weft/dataplane/control-plane/link';
import { compileListener, referencesOf } from '@weft/dataplane/state/chain';
import { INBOUND_LISTENER } from '@weft/dataplane/state/config-store';
import { readResponse } from '@weft/dataplane/xds/read-response';
import { DeltaSubscriptions } from '@weft/dataplane/xds/subscriptions';
import type { SpiffeId } from '@weft/model/identity';
import { textOf } from '@weft/xds/protocol/fields';
import { decodeMessage, encodeMessage, type PlainMessage } from '@weft/xds/registry';
import { TYPE_URLS } from '@weft/xds/resource';
import type { FleetMember } from './messages.ts';

const PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
const REQUEST = 'envoy.service.discovery.v3.DeltaDiscoveryRequest';
const RESPONSE = 'envoy.service.discovery.v3.DeltaDiscoveryResponse';
/** Before each message: whether it is compressed, and its length. */
const PREFIX_BYTES = 5;

export interface FleetProxyOptions {
  readonly host: string;
  readonly port: number;
  readonly bundlePem: string;
  readonly controlPlaneId: SpiffeId;
  readonly member: FleetMember;
  /** After each acknowledgement of a listener, with the response's bytes. */
  readonly onListener: (response: Buffer) => void;
  readonly onLost: (reason: string) => void;
}

/** Lighter than a sidecar: after its first configuration it does not decode what it acknowledges. */
export class FleetProxy {
  readonly #options: FleetProxyOptions;
  readonly #stream: http2.ClientHttp2Stream;
  readonly #subscriptions = new DeltaSubscriptions();
  readonly #configured = Promise.withResolvers<void>();
  #rest: Buffer = Buffer.alloc(0);
  #waitingFor = new Set<string>();
  #isNodeSent = false;
  #isConfigured = false;

  constructor(options: FleetProxyOptions) {
    this.#options = options;
    const { host, port, bundlePem, controlPlaneId, member, onLost } = options;
    const session = http2.connect(`https://${host}:${port}`, {
      createConnection: () =>
        tls.connect({
          host,
          port,
          ca: bundlePem,
          key: member.keyPem,
          cert: member.chainPem,
          minVersion: 'TLSv1.3',
          servername: 'weft-control-plane',
          ALPNProtocols: ['h2'],
          checkServerIdentity: checkControlPlane(controlPlaneId),
        }),
    });
    const lost = (reason: string): void => {
      this.#configured.reject(new Error(reason));
      onLost(reason);
    };
    session.on('error', (error) => lost(error.message));
    this.#stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream.on('data', (part: Buffer) => this.#take(part));
    this.#stream.on('error', (error) => lost(error.message));
    this.#stream.on('close', () => lost('the stream ended'));
    this.#configured.promise.catch(() => {});
    this.#subscriptions.subscribe('listener', INBOUND_LISTENER);
    this.#flush();
  }

  /** Settles when the listener and what it names have come. */
  get configured(): Promise<void> {
    return this.#configured.promise;
  }

  #take(part: Buffer): void {
    this.#rest = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    while (this.#rest.length >= PREFIX_BYTES) {
      const end = PREFIX_BYTES + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return;
      const message = this.#rest.subarray(PREFIX_BYTES, end);
      this.#rest = this.#rest.subarray(end);
      this.#answer(message);
    }
  }

  #answer(bytes: Buffer): void {
    const message = decodeMessage(RESPONSE, bytes);
    const typeUrl = textOf(message, 'type_url');
    this.#send({ type_url: typeUrl, response_nonce: textOf(message, 'nonce') });
    if (!this.#isConfigured) this.#follow(message);
    if (typeUrl === TYPE_URLS.listener) this.#options.onListener(bytes);
  }

  /** Asks for what the listener names, as a sidecar does. */
  #follow(message: PlainMessage): void {
    const { update } = readResponse(message) ?? {};
    if (update === undefined) return;
    for (const name of update.changed.keys()) this.#waitingFor.delete(`${update.kind} ${name}`);
    const listener = update.kind === 'listener' ? update.changed.get(INBOUND_LISTENER) : undefined;
    if (listener !== undefined) {
      const { routes, clusters, secrets } = referencesOf(compileListener(listener));
      const wanted = { route: routes, cluster: clusters, secret: secrets } as const;
      for (const kind of ['route', 'cluster', 'secret'] as const) {
        for (const name of wanted[kind]) {
          this.#waitingFor.add(`${kind} ${name}`);
          this.#subscriptions.subscribe(kind, name);
        }
      }
      this.#flush();
    }
    if (this.#waitingFor.size > 0) return;
    this.#isConfigured = true;
    this.#configured.resolve();
  }

  #flush(): void {
    for (const request of this.#subscriptions.takeRequests()) this.#send(request);
  }

  #send(request: PlainMessage): void {
    const node = { id: this.#options.member.node, cluster: 'bench', user_agent_name: 'weft-bench' };
    const body = encodeMessage(REQUEST, this.#isNodeSent ? request : { node, ...request });
    this.#isNodeSent = true;
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + body.length);
    framed.writeUInt8(0, 0);
    framed.writeUInt32BE(body.length, 1);
    framed.set(body, PREFIX_BYTES);
    this.#stream.write(framed);
  }
}
