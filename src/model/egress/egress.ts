// What callers see of the world outside the mesh: which hosts each may call, which it may not, and what holds for the rest.
import type { SpiffeId } from '../identity.ts';
import type { ExternalPort, ExternalService } from './external-service.ts';

export type OutboundPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY';

/** One port of one host. */
export interface ExternalDestination {
  /** `outbound|PORT||HOST`. */
  readonly name: string;
  readonly host: string;
  readonly port: ExternalPort;
  readonly service: ExternalService;
}

/** One object for all callers that may call the same: what is made of it is made once, and never for another entitlement. */
export interface EgressView {
  /** For what is neither of the mesh nor among these. */
  readonly policy: OutboundPolicy;
  /** By name. */
  readonly allowed: ReadonlyMap<string, ExternalDestination>;
  /** Known, and not to be called. */
  readonly refused: ReadonlyMap<string, ExternalDestination>;
}

export interface EgressCaller {
  readonly namespace: string;
  readonly identity: SpiffeId | undefined;
}

export interface Egress {
  /** @param caller absent: what holds for somebody of whom nothing is known. */
  viewOf(caller: EgressCaller | undefined): EgressView;
  /** Of everything that anybody may be told: changes of it concern these names. */
  readonly destinations: ReadonlyMap<string, readonly ExternalDestination[]>;
}
