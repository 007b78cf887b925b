// What a CredentialBinding says: which identities may have which credentials, from where, and by which ways.

/** Where the values of a credential are kept. */
export type CredentialSourceRef =
  /** A Secret of the binding's own namespace. */
  | { readonly kind: 'secret'; readonly name: string }
  /** A place in a source that the operator of the mesh has set up, and given a name. */
  | { readonly kind: 'named'; readonly source: string; readonly path: string };

/** `inject`: into outbound requests; `url`: over the sidecar's own socket; `files`: on a memory-backed volume. */
export const WAYS = ['inject', 'url', 'files'] as const;
export type Way = (typeof WAYS)[number];

export type InjectionScheme =
  /** `name` in lower case; `prefix` is put before the value as it is. */
  | {
      readonly kind: 'header';
      readonly name: string;
      readonly key: string;
      readonly prefix: string;
    }
  | { readonly kind: 'basic'; readonly userKey: string; readonly passwordKey: string }
  | { readonly kind: 'bearer'; readonly key: string };

export interface Injection {
  /** `HOST`, `*.SUFFIX`, each with `:PORT` or for every port; in lower case. */
  readonly hosts: readonly string[];
  readonly scheme: InjectionScheme;
  /** It may go to an endpoint without TLS; else such a request is refused. */
  readonly allowPlaintext: boolean;
}

export interface CredentialSpec {
  /** A DNS label: it becomes a folder's name and a segment of a path. */
  readonly name: string;
  readonly source: CredentialSourceRef;
  /** Of the source's values these alone; absent: all. */
  readonly keys: readonly string[] | undefined;
  /** Never empty. */
  readonly ways: readonly Way[];
  /** With the way `inject` alone, and then never empty. */
  readonly injections: readonly Injection[];
}

export interface CredentialBinding {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  /** Never empty. Of the binding's own namespace: a certificate proves these, and nothing narrower. */
  readonly serviceAccounts: readonly string[];
  /** Narrows to Pods with these labels; absent: all of the service accounts. */
  readonly selector: ReadonlyMap<string, string> | undefined;
  readonly credentials: readonly CredentialSpec[];
}

/** Credentials that one workload may have; a service has a handful. */
export const MAX_CREDENTIALS = 256;
/** Values of one credential. */
export const MAX_KEYS = 64;
