// Takes what other control planes say of their proxies, so that the leader knows where each policy is enforced.
import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { SpiffeId } from '@weft/model/identity';
import { Listeners } from '@weft/model/listeners';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import type { ResourceKind } from '@weft/xds/resource';
import type { Logger } from 'pino';
import type { Evaluation } from '../report/report-service.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import type { Peer, ResourceStatus } from '../serve/ads-server.ts';
import type { GrpcServer } from '../serve/grpc-servers.ts';
import { type ProxyState, readReport } from './proxy-state.ts';

export type ShareCall = ServerDuplexStream<PlainMessage, PlainMessage>;

export const REPLICAS_SERVICE = 'weft.replica.v1.Replicas';
/** A handful of control planes serve a mesh; each may have an old stream beside its new one. */
const MAX_STREAMS = 64;
/** As many as one control plane has streams of. */
const MAX_PROXIES = 20_000;

interface Replica {
  readonly call: ShareCall;
  name: string;
  readonly states: Map<string, ProxyState>;
}

export class ReplicaService implements Disposable {
  readonly #log: Logger;
  readonly #peerOf: (call: ShareCall) => Peer;
  readonly #controlPlaneId: SpiffeId;
  readonly #replicas = new Set<Replica>();
  readonly #listeners = new Listeners();

  constructor(
    server: Server,
    options: {
      readonly peerOf: (call: ShareCall) => Peer;
      /** Nobody else is listened to. */
      readonly controlPlaneId: SpiffeId;
      readonly log: Logger;
    },
  ) {
    this.#log = options.log;
    this.#peerOf = options.peerOf;
    this.#controlPlaneId = options.controlPlaneId;
    server.addService(serviceDefinition(REPLICAS_SERVICE), {
      Share: (call: ShareCall) => this.#open(call),
    });
  }

  #open(call: ShareCall): void {
    const peer = this.#peerOf(call);
    if (!peer.ok) return this.#refuse(call, status.UNAUTHENTICATED, peer.reason);
    if (peer.identity !== this.#controlPlaneId) {
      return this.#refuse(call, status.PERMISSION_DENIED, 'this is for control planes alone');
    }
    if (this.#replicas.size >= MAX_STREAMS) {
      return this.#refuse(call, status.RESOURCE_EXHAUSTED, 'too many streams of control planes');
    }
    const replica: Replica = { call, name: '', states: new Map() };
    this.#replicas.add(replica);
    call.on('data', (message: PlainMessage) => this.#take(replica, message));
    call.on('end', () => call.end());
    call.on('close', () => {
      if (this.#replicas.delete(replica)) this.#tell();
    });
    call.write({});
  }

  #refuse(call: ShareCall, code: status, details: string): void {
    this.#log.warn({ peer: call.getPeer(), reason: details }, 'stream of a control plane refused');
    call.emit('error', { code, details: details.toWellFormed() });
  }

  #take(replica: Replica, message: PlainMessage): void {
    if (!this.#replicas.has(replica)) return;
    const report = readReport(message);
    if (replica.name === '') {
      replica.name = report.replica;
      // A control plane that has connected anew speaks for itself: what its lost stream said is void.
      for (const other of this.#replicas) {
        if (other === replica || other.name !== replica.name) continue;
        this.#replicas.delete(other);
        other.call.end();
      }
    }
    for (const proxyId of report.gone) replica.states.delete(proxyId);
    for (const state of report.changed) replica.states.set(state.proxyId, state);
    if (replica.states.size > MAX_PROXIES) {
      this.#replicas.delete(replica);
      this.#refuse(replica.call, status.RESOURCE_EXHAUSTED, 'too many proxies');
    }
    this.#tell();
  }

  #tell(): void {
    this.#listeners.tell();
  }

  onChange(listener: () => void): Disposable {
    return this.#listeners.add(listener);
  }

  /** Names of the control planes that share now. */
  names(): readonly string[] {
    return [...this.#replicas].map(({ name }) => name).filter((name) => name !== '');
  }

  /** Of the proxies of other control planes; of another resource than the inbound listener nothing is known. */
  statusOf(kind: ResourceKind, name: string): readonly ResourceStatus[] {
    if (kind !== 'listener' || name !== INBOUND_LISTENER) return [];
    return [...this.#replicas].flatMap(({ states }) =>
      [...states.values()].map(({ proxyId, identity, acked, refused }) => ({
        proxyId,
        identity,
        acked,
        refused: refused?.version,
        refusal: refused?.words,
      })),
    );
  }

  /** Programs that serve without a proxy, and are connected to other control planes. */
  *grpcServers(): Iterable<GrpcServer> {
    for (const { states } of this.#replicas) {
      for (const { proxyId, grpc = [] } of states.values()) {
        for (const library of grpc) yield { proxyId, library };
      }
    }
  }

  evaluationOf(proxyId: string, listener: string): Evaluation {
    if (listener !== INBOUND_LISTENER) return { isReporting: false };
    const digests = [...this.#replicas].flatMap(({ states }) => {
      const evaluation = states.get(proxyId)?.evaluation;
      return evaluation?.isReporting === true ? evaluation.digests : [];
    });
    return digests.length === 0 ? { isReporting: false } : { isReporting: true, digests };
  }

  /** Of a proxy that watches its credentials at other control planes: names of those in force there, for each of them. */
  credentialsOf(proxyId: string): readonly (readonly string[])[] {
    return [...this.#replicas].flatMap(({ states }) => {
      const credentials = states.get(proxyId)?.credentials;
      return credentials === undefined ? [] : [credentials];
    });
  }

  [Symbol.dispose](): void {
    for (const { call } of this.#replicas) {
      call.emit('error', {
        code: status.UNAVAILABLE,
        details: 'the control plane is shutting down',
      });
    }
    this.#replicas.clear();
  }
}

/** What is known here and elsewhere: every stream's word counts. */
export function joinEvaluations(a: Evaluation, b: Evaluation): Evaluation {
  if (!a.isReporting) return b;
  return b.isReporting ? { isReporting: true, digests: [...a.digests, ...b.digests] } : a;
}
