// How hosts outside the mesh are found and spoken to, as Weft emits and reads it.

/** `STRICT_DNS`: the proxy resolves the name itself, when somebody calls. */
export interface DnsDiscovery extends NameRules {
  readonly kind: 'dns';
  readonly host: string;
  readonly port: number;
}

/**
 * What holds for names that the proxy resolves itself. On a cluster that goes where the client was going it is the
 * server name of the client's TLS that is resolved, and the address that it dialled means nothing; an Envoy, which
 * knows nothing of that, goes to the address.
 */
export interface NameRules {
  /** What an answer says of its life is held within these. */
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
  /**
   * Networks that answers may lead to although names must not by themselves: loopback, link-local, metadata services.
   * On the wire metadata `weft.dev/egress`: Envoy knows no such guard.
   */
  readonly allowedNetworks: readonly string[];
}

/** `UpstreamTlsContext` towards a host that is not of the mesh. */
export interface OriginatedTls {
  readonly sni: string;
  /** Offered for what the caller speaks; empty: none. */
  readonly alpn: readonly string[];
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Of which the server's certificate must carry one; never empty. */
  readonly names: readonly ServerName[];
  readonly trust:
    | { readonly kind: 'system' }
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'secret'; readonly name: string };
  /** Absent: none is shown. */
  readonly certificate?:
    | { readonly kind: 'secret'; readonly name: string }
    | { readonly kind: 'files'; readonly certificate: string; readonly key: string };
}

export interface ServerName {
  readonly kind: 'dns' | 'uri' | 'ip';
  readonly value: string;
}

/** Where a system keeps the roots that it trusts: Debian's place, and that of Envoy's image. */
export const SYSTEM_ROOTS_FILE = '/etc/ssl/certs/ca-certificates.crt';
