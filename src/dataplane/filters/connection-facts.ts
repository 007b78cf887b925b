// What is known of one downstream connection, and of the request on it that is being judged.
import type { X509Certificate } from 'node:crypto';
import { createHash } from 'node:crypto';
import { formatIp, parseIp, type IpAddress } from '@weft/model/ip';
import type { DecisionInput } from '@weft/model/policy/evaluate';
import { CLIENT_CERTIFICATE, factsOfClient } from '@weft/model/tls/client-facts';
import type { MeshPeer } from '../tls/peer.ts';
import type { OutsideClient } from '../tls/termination/client.ts';
import type { HeadEdits } from './head-edits.ts';

export interface Endpoints {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  /** The workload's port. */
  readonly destinationPort: number;
  /** Lower case; empty when there was none. */
  readonly serverName: string;
  /** It came by TLS, whoever the peer is. */
  readonly isEncrypted?: boolean;
}

/** What a request's head gives to be judged on, whichever codec read it. */
export interface RequestHead {
  readonly method: string;
  /** As it came, with query. */
  readonly path: string;
  readonly authority: string;
  header(name: string): readonly string[] | undefined;
  /** Names of headers in lower case, without pseudo-headers; one may come more than once. */
  names(): Iterable<string>;
}

const NOTHING: RequestHead = {
  method: '',
  path: '',
  authority: '',
  header: () => undefined,
  names: () => [],
};

/**
 * One connection's facts, which are also what rules are asked about: for each request its fields are set anew, so
 * that judging allocates nothing. What is decided later needs facts of its own (`fork`): other requests of the
 * connection are judged meanwhile.
 */
export class ConnectionFacts implements DecisionInput {
  readonly endpoints: Endpoints;
  readonly peer: MeshPeer | undefined;
  readonly peerUri: string | undefined;
  /** A client outside the mesh that showed a certificate: never a peer, whatever that says. */
  readonly client: OutsideClient | undefined;
  readonly sourceIp: IpAddress | undefined;
  /** For `X-Forwarded-For`; `unknown` where there is none. */
  readonly sourceText: string;
  readonly destinationIp: IpAddress | undefined;
  readonly destinationPort: number;
  readonly serverName: string;
  readonly isEncrypted: boolean;
  remoteIp: IpAddress | undefined;
  method: string | undefined;
  path: string | undefined;
  target: string | undefined;
  authority: string | undefined;
  #head: RequestHead = NOTHING;
  /** What filters have changed of the head so far. */
  #edits: HeadEdits | undefined;
  /** What filters have found out, by their names. */
  #metadata: Map<string, unknown> | undefined;

  constructor(endpoints: Endpoints, peer: MeshPeer | undefined, client?: OutsideClient) {
    this.endpoints = endpoints;
    this.peer = peer;
    this.peerUri = peer?.spiffeId;
    this.client = client;
    this.sourceIp = parseIp(endpoints.sourceAddress);
    this.sourceText = this.sourceIp === undefined ? 'unknown' : formatIp(this.sourceIp);
    this.remoteIp = this.sourceIp;
    this.destinationIp = parseIp(endpoints.destinationAddress);
    this.destinationPort = endpoints.destinationPort;
    this.serverName = endpoints.serverName;
    this.isEncrypted = peer !== undefined || endpoints.isEncrypted === true;
  }

  /** @param path normalised, without query. @param target normalised, with it. */
  setRequest(
    head: RequestHead,
    path: string,
    target: string,
    remoteIp: IpAddress | undefined,
  ): void {
    this.#head = head;
    /** Nothing of the request before this one is known of it. */
    this.#edits = undefined;
    this.#metadata = undefined;
    this.method = head.method;
    this.path = path;
    this.target = target;
    this.authority = head.authority;
    this.remoteIp = remoteIp;
  }

  /** Facts of the same connection and request that later requests of the connection do not change. */
  fork(): ConnectionFacts {
    const own = new ConnectionFacts(this.endpoints, this.peer, this.client);
    own.setRequest(this.#head, this.path ?? '', this.target ?? '', this.remoteIp);
    own.#edits = this.#edits;
    own.#metadata = this.#metadata === undefined ? undefined : new Map(this.#metadata);
    return own;
  }

  /** From now on rules see the request as the filters before them have changed it. */
  applyEdits(edits: HeadEdits): void {
    this.#edits = edits;
    if (edits.target !== undefined) this.target = edits.target;
  }

  /** @param filter its upstream name. */
  setMetadata(filter: string, value: unknown): void {
    this.#metadata ??= new Map();
    this.#metadata.set(filter, value);
  }

  /** As it came, whatever filters have changed. */
  get head(): RequestHead {
    return this.#head;
  }

  header(name: string): readonly string[] | undefined {
    if (this.#edits === undefined) return this.#head.header(name);
    return this.#edits.header(name, this.#head);
  }

  /** Of every header, those that filters have put in as well. */
  headerNames(): ReadonlySet<string> {
    const names = new Set(this.#head.names());
    const added = this.#edits?.added ?? [];
    for (let at = 0; at + 1 < added.length; at += 2) names.add(added[at] ?? '');
    return names;
  }

  metadata(filter: string, path: readonly string[]): unknown {
    if (filter === CLIENT_CERTIFICATE) return clientMetadata(this.client, path);
    let value = this.#metadata?.get(filter);
    for (const key of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) {
        return undefined;
      }
      value = (value as Readonly<Record<string, unknown>>)[key];
    }
    return value;
  }
}

/** Who is calling, for the log: never what could be taken for an identity of the mesh unless it is one. */
export function callerText({ peer, client, endpoints }: ConnectionFacts): string {
  if (peer !== undefined) return peer.spiffeId;
  if (client !== undefined) return `client ${client.certificate.subjectText}`;
  return endpoints.isEncrypted === true ? 'tls' : 'plaintext';
}

/** What rules may ask about a client outside the mesh; absent where it showed no certificate. */
function clientMetadata(client: OutsideClient | undefined, path: readonly string[]): unknown {
  const [name, ...more] = path;
  if (client === undefined || name === undefined || more.length > 0) return undefined;
  const fields = factsOfClient(client.certificate);
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/**
 * X-Forwarded-Client-Cert for a verified peer, in Envoy's form: who received (By), the certificate (Hash), who sent
 * (URI). SPIFFE ids hold no character that would need quoting.
 */
export function forwardedClientCert(ownUri: string, peer: MeshPeer): string {
  const [leaf] = peer.chain;
  return `By=${ownUri};Hash=${leaf === undefined ? '' : certificateHash(leaf)};URI=${peer.spiffeId}`;
}

/** A peer's connections share one object of its certificate (full handshakes of `npm run bench:dataplane`: 1 % of each). */
const hashByCertificate = new WeakMap<X509Certificate, string>();

function certificateHash(certificate: X509Certificate): string {
  const known = hashByCertificate.get(certificate);
  if (known !== undefined) return known;
  const hash = createHash('sha256').update(certificate.raw).digest('hex');
  hashByCertificate.set(certificate, hash);
  return hash;
}
