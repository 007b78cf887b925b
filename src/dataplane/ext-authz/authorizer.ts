// What an authorizer says of a request, in whichever protocol it was asked.
import { RESERVED_FIELDS } from '@weft/model/http-fields';
import type { Http1Upstream } from '../http/h1-contract.ts';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import type { GateRequest } from '../filters/request-gate.ts';

/** The ways to one authorizer. */
export interface AuthorizerUpstream {
  readonly isHttp2: boolean;
  readonly http1: Http1Upstream;
  readonly http2: Http2Upstream;
}

/** A header that the authorizer wants in the request. */
export interface HeaderChange {
  readonly name: string;
  readonly value: string;
  /** Beside what is there, instead of in its place. */
  readonly isAppended: boolean;
}

export type Ruling =
  | {
      readonly kind: 'allow';
      readonly changes: readonly HeaderChange[];
      readonly removed: readonly string[];
      /** For rules that read it. */
      readonly metadata: unknown;
    }
  | {
      readonly kind: 'deny';
      readonly status: number;
      readonly headers: readonly (readonly [string, string])[];
      readonly body: string;
    }
  /** Nobody has ruled: the filter says what holds then. */
  | { readonly kind: 'error'; readonly reasonCode: string };

export interface Authorizer {
  /** Never rejects. */
  ask(upstream: AuthorizerUpstream, request: GateRequest, signal: AbortSignal): Promise<Ruling>;
}

export const noRuling = (reasonCode: string): Ruling => ({ kind: 'error', reasonCode });

/** No authorizer may change how a message is framed, where it goes, or who the mesh says has sent it. */
const UNTOUCHABLE: ReadonlySet<string> = new Set([...RESERVED_FIELDS, 'x-forwarded-for']);

export const isUntouchable = (name: string): boolean =>
  UNTOUCHABLE.has(name) || name.startsWith(':') || name.startsWith('x-weft-');
