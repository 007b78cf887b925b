// External authorizers as they are declared for the mesh: who is asked about a request, what it is told, and what holds without its answer.
import type { StringMatcher } from './rbac.ts';

/** One entry of `MeshConfig.spec.extensionProviders`, in Istio's words. */
export interface ExtAuthzProvider {
  /** What CUSTOM policies name. */
  readonly name: string;
  /** `envoyExtAuthzHttp` or `envoyExtAuthzGrpc` (`envoy.service.auth.v3`). */
  readonly protocol: 'http' | 'grpc';
  /** A Service's whole name, `authz.shop.svc.cluster.local`. */
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** Whether requests pass that nobody could be asked about. */
  readonly failOpen: boolean;
  /** The answer to them otherwise. */
  readonly statusOnError: number;
  /** What only an authorizer over HTTP is told and says; absent for gRPC, which is told everything. */
  readonly http: HttpExtAuthz | undefined;
}

/** Header names are matched in lower case. */
export interface HttpExtAuthz {
  /** Put before the path; empty when there is none. */
  readonly pathPrefix: string;
  /** Headers that are sent besides host, method, path and authorization. */
  readonly requestHeaders: readonly StringMatcher[];
  /** `[name, value]`, in lower case, sent in place of what the client says. */
  readonly additionalHeaders: readonly (readonly [string, string])[];
  /** Of the authorizer's answer, put into the request in place of what is there. */
  readonly toUpstreamOnAllow: readonly StringMatcher[];
  /** Of its refusal, passed to the client; empty: all of them. */
  readonly toDownstreamOnDeny: readonly StringMatcher[];
}

/** The name under which the mesh knows who answers. */
export const clusterOfProvider = ({ host, port }: ExtAuthzProvider): string =>
  `outbound|${port}||${host}`;
