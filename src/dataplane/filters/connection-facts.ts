// What is known of one downstream connection, and of the request on it that is being judged.
import type { X509Certificate } from 'node:crypto';
import { createHash } from 'node:crypto';
import { parseIp, type IpAddress } from '@weft/model/ip';
import type { DecisionInput } from '@weft/model/policy/evaluate';
import type { MeshPeer } from '../tls/peer.ts';

export interface Endpoints {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  /** The workload's port. */
  readonly destinationPort: number;
  /** Lower case; empty when there was none. */
  readonly serverName: string;
}

/** What a request's head gives to be judged on, whichever codec read it. */
export interface RequestHead {
  readonly method: string;
  /** As it came, with query. */
  readonly path: string;
  readonly authority: string;
  header(name: string): readonly string[] | undefined;
}

const NOTHING: RequestHead = { method: '', path: '', authority: '', header: () => undefined };

/**
 * One connection's facts, which are also what rules are asked about: for each request its fields are set anew, so
 * that judging allocates nothing.
 */
export class ConnectionFacts implements DecisionInput {
  readonly endpoints: Endpoints;
  readonly peer: MeshPeer | undefined;
  readonly peerUri: string | undefined;
  readonly sourceIp: IpAddress | undefined;
  readonly destinationIp: IpAddress | undefined;
  readonly destinationPort: number;
  readonly serverName: string;
  remoteIp: IpAddress | undefined;
  method: string | undefined;
  path: string | undefined;
  target: string | undefined;
  authority: string | undefined;
  #head: RequestHead = NOTHING;

  constructor(endpoints: Endpoints, peer: MeshPeer | undefined) {
    this.endpoints = endpoints;
    this.peer = peer;
    this.peerUri = peer?.spiffeId;
    this.sourceIp = parseIp(endpoints.sourceAddress);
    this.remoteIp = this.sourceIp;
    this.destinationIp = parseIp(endpoints.destinationAddress);
    this.destinationPort = endpoints.destinationPort;
    this.serverName = endpoints.serverName;
  }

  /** @param path normalised, without query. @param target normalised, with it. */
  setRequest(
    head: RequestHead,
    path: string,
    target: string,
    remoteIp: IpAddress | undefined,
  ): void {
    this.#head = head;
    this.method = head.method;
    this.path = path;
    this.target = target;
    this.authority = head.authority;
    this.remoteIp = remoteIp;
  }

  header(name: string): readonly string[] | undefined {
    return this.#head.header(name);
  }

  /** Tokens are read by a filter that is not there yet: what is asked of claims finds none. */
  metadata(): unknown {
    return undefined;
  }
}

/**
 * X-Forwarded-Client-Cert for a verified peer, in Envoy's form: who received (By), the certificate (Hash), who sent
 * (URI). SPIFFE ids hold no character that would need quoting.
 */
export function forwardedClientCert(ownUri: string, peer: MeshPeer): string {
  const [leaf] = peer.chain;
  return `By=${ownUri};Hash=${leaf === undefined ? '' : certificateHash(leaf)};URI=${peer.spiffeId}`;
}

const certificateHash = (certificate: X509Certificate): string =>
  createHash('sha256').update(certificate.raw).digest('hex');
