// One fake proxy: a stream with its own certificate that asks for what a sidecar asks for and acknowledges what it gets.
import { hash } from 'node:crypto';
import http2 from 'node:http2';
import tls from 'node:tls';
import { checkControlPlane } from '@weft/dataplane/control-plane/link';
import { compileListener, referencesOf } from '@weft/dataplane/state/chain';
import { INBOUND_LISTENER } from '@weft/dataplane/state/config-store';
import type { SpiffeId } from '@weft/model/identity';
import { decodeResource } from '@weft/xds/codec/resource-codec';
import { encodeMessage, type PlainMessage } from '@weft/xds/registry';
import { RESOURCE_ORDER, type ResourceKind, TYPE_URLS } from '@weft/xds/resource';
import type { FleetMember } from './messages.ts';
import { type CarriedResponse, readCarried, type Variant } from './response.ts';

const SERVICE = '/envoy.service.discovery.v3.AggregatedDiscoveryService';
const PATHS = {
  delta: `${SERVICE}/DeltaAggregatedResources`,
  sotw: `${SERVICE}/StreamAggregatedResources`,
} as const;
const REQUESTS = {
  delta: 'envoy.service.discovery.v3.DeltaDiscoveryRequest',
  sotw: 'envoy.service.discovery.v3.DiscoveryRequest',
} as const;
/** Before each message: whether it is compressed, and its length. */
const PREFIX_BYTES = 5;

const KIND_BY_TYPE_URL = new Map(RESOURCE_ORDER.map((kind) => [TYPE_URLS[kind], kind]));

export interface FleetProxyOptions {
  readonly host: string;
  readonly port: number;
  readonly bundlePem: string;
  readonly controlPlaneId: SpiffeId;
  readonly member: FleetMember;
  readonly variant: Variant;
  /** After each acknowledgement, with the response's bytes. */
  readonly onAcknowledged: (response: Buffer, carried: CarriedResponse) => void;
  readonly onLost: (reason: string) => void;
}

/** Lighter than a sidecar: it hashes what it acknowledges and decodes nothing but, when it must, its first listener. */
export class FleetProxy {
  /** By type URL and name: the hash of what came last. */
  readonly held = new Map<string, string>();
  receivedBytes = 0;
  sentBytes = 0;
  responses = 0;
  readonly #options: FleetProxyOptions;
  readonly #session: http2.ClientHttp2Session;
  readonly #stream: http2.ClientHttp2Stream;
  readonly #wanted = new Map<ResourceKind, Set<string>>();
  readonly #configured = Promise.withResolvers<void>();
  #rest: Buffer = Buffer.alloc(0);
  readonly #waitingFor = new Set<string>();
  #isNodeSent = false;
  #isConfigured = false;
  #isClosed = false;

  constructor(options: FleetProxyOptions) {
    this.#options = options;
    const { variant, member, onLost } = options;
    this.#session = connect(options);
    const lost = (reason: string): void => {
      if (this.#isClosed) return;
      this.#configured.reject(new Error(reason));
      onLost(reason);
    };
    this.#session.on('error', (error) => lost(error.message));
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': PATHS[variant],
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream.on('data', (part: Buffer) => this.#take(part));
    this.#stream.on('error', (error) => lost(error.message));
    this.#stream.on('close', () => lost('the stream ended'));
    this.#configured.promise.catch(() => {});
    const { wanted = { listener: [INBOUND_LISTENER] } } = member;
    for (const kind of RESOURCE_ORDER) this.#want(kind, wanted[kind] ?? []);
  }

  /** Settles when all that it wants has come. */
  get configured(): Promise<void> {
    return this.#configured.promise;
  }

  /** Ends the connection; nothing is lost by it. */
  close(): Promise<void> {
    this.#isClosed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#session.once('close', resolve);
    this.#session.destroy();
    return promise;
  }

  #take(part: Buffer): void {
    this.receivedBytes += part.length;
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
    const carried = readCarried(this.#options.variant, bytes);
    const kind = KIND_BY_TYPE_URL.get(carried.typeUrl);
    if (kind === undefined) return;
    this.responses++;
    this.#acknowledge(kind, carried);
    for (const { name, value } of carried.resources) {
      this.held.set(`${carried.typeUrl} ${name}`, hash('md5', value));
    }
    if (!this.#isConfigured) this.#follow(kind, carried);
    this.#options.onAcknowledged(bytes, carried);
  }

  #acknowledge(kind: ResourceKind, { typeUrl, nonce, version }: CarriedResponse): void {
    const request = { type_url: typeUrl, response_nonce: nonce };
    if (this.#options.variant === 'delta') return this.#send(request);
    // A state-of-the-world request always says all that is wanted.
    const names = [...(this.#wanted.get(kind) ?? [])];
    this.#send({ ...request, version_info: version, resource_names: names });
  }

  /** Asks for what the listener names, as a sidecar does, unless it was told what to ask for. */
  #follow(kind: ResourceKind, { resources }: CarriedResponse): void {
    const { wanted, isFollowing = wanted === undefined } = this.#options.member;
    for (const { name, value } of resources) {
      this.#waitingFor.delete(`${kind} ${name}`);
      if (kind !== 'listener' || name !== INBOUND_LISTENER || !isFollowing) continue;
      const decoded = decodeResource('listener', value);
      if (!decoded.ok) continue;
      const { routes, clusters, secrets } = referencesOf(compileListener(decoded.value));
      this.#want('route', [...routes]);
      this.#want('cluster', [...clusters]);
      this.#want('secret', [...secrets]);
    }
    if (this.#waitingFor.size > 0) return;
    this.#isConfigured = true;
    this.#configured.resolve();
  }

  #want(kind: ResourceKind, all: readonly string[]): void {
    const wanted = this.#wanted.get(kind) ?? new Set();
    const names = all.filter((name) => !wanted.has(name));
    if (names.length === 0) return;
    this.#wanted.set(kind, wanted);
    for (const name of names) {
      wanted.add(name);
      this.#waitingFor.add(`${kind} ${name}`);
    }
    const isDelta = this.#options.variant === 'delta';
    const list = isDelta ? { resource_names_subscribe: names } : { resource_names: [...wanted] };
    this.#send({ type_url: TYPE_URLS[kind], ...list });
  }

  #send(request: PlainMessage): void {
    const { node: id, cluster = 'bench' } = this.#options.member;
    const node = { id, cluster, user_agent_name: 'weft-bench' };
    const type = REQUESTS[this.#options.variant];
    const body = encodeMessage(type, this.#isNodeSent ? request : { node, ...request });
    this.#isNodeSent = true;
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + body.length);
    framed.writeUInt8(0, 0);
    framed.writeUInt32BE(body.length, 1);
    framed.set(body, PREFIX_BYTES);
    this.sentBytes += framed.length;
    this.#stream.write(framed);
  }
}

function connect(options: FleetProxyOptions): http2.ClientHttp2Session {
  const { host, port, bundlePem, controlPlaneId, member } = options;
  return http2.connect(`https://${host}:${port}`, {
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
}
