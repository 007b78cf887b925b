// Policies as they were written and found valid: what AuthorizationPolicy and PeerAuthentication say, nothing derived.

/** Source: istio.io API `security/v1beta1/authorization_policy.proto`; the same schema in `security.weft.dev/v1`. */
export interface AuthorizationPolicy {
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; orders PeerAuthentications of one level. */
  readonly createdAtMs: number;
  /** Absent: every workload of the namespace. */
  readonly selector: ReadonlyMap<string, string> | undefined;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
  readonly provider: string | undefined;
  /** Absent: never matches. An empty rule always does. */
  readonly rules: readonly Rule[] | undefined;
  readonly targetRefs: readonly TargetRef[];
  readonly isDryRun: boolean;
  /** What a refused caller is told; absent: 403 and a fixed text. */
  readonly denial?: { readonly status?: number; readonly body?: string };
}

export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

export interface Rule {
  readonly from: readonly Source[] | undefined;
  readonly to: readonly Operation[] | undefined;
  readonly when: readonly Condition[];
}

export const SOURCE_FIELDS = [
  'principals',
  'requestPrincipals',
  'namespaces',
  'serviceAccounts',
  'ipBlocks',
  'remoteIpBlocks',
  'trustDomains',
] as const;
export const OPERATION_FIELDS = ['hosts', 'ports', 'methods', 'paths'] as const;

export type SourceField = (typeof SOURCE_FIELDS)[number];
export type OperationField = (typeof OPERATION_FIELDS)[number];

/** A field with its negative twin: `values` is `principals`, `notValues` is `notPrincipals`. */
export interface FieldValues<F extends string> {
  readonly field: F;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

/** Every field that was set; all must match. */
export type Source = readonly FieldValues<SourceField>[];
export type Operation = readonly FieldValues<OperationField>[];

/** A `when` key, taken apart. */
export type ConditionKey =
  | { readonly kind: 'header'; readonly name: string }
  | {
      readonly kind:
        | 'source.ip'
        | 'remote.ip'
        | 'source.namespace'
        | 'source.serviceAccount'
        | 'source.trustDomain'
        | 'source.principal'
        | 'request.auth.principal'
        | 'request.auth.audiences'
        | 'request.auth.presenter'
        | 'request.auth.basic.user'
        | 'destination.ip'
        | 'destination.port'
        | 'connection.sni';
    }
  | { readonly kind: 'claim'; readonly path: readonly string[] }
  | { readonly kind: 'metadata'; readonly filter: string; readonly key: string };

export interface Condition {
  /** As written, for messages. */
  readonly text: string;
  readonly key: ConditionKey;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

export type MtlsMode = 'DISABLE' | 'PERMISSIVE' | 'STRICT';

/** Source: istio.io API `security/v1beta1/peer_authentication.proto`. */
export interface PeerAuthentication {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly selector: ReadonlyMap<string, string> | undefined;
  /** `undefined` is UNSET: inherited. */
  readonly mode: MtlsMode | undefined;
  readonly portModes: ReadonlyMap<number, MtlsMode | undefined>;
}
