// What an ExternalService says: which hosts outside the mesh may be called, by whom, and how they are reached.
import type { PortProtocol } from '../mesh/protocol.ts';

/** One port, as callers name it. */
export interface ExternalPort {
  readonly port: number;
  /** `tls`: the caller's own TLS, passed on by the server name that it asks for. */
  readonly protocol: Exclude<PortProtocol, 'auto'>;
  /** Outside. */
  readonly targetPort: number;
}

/** A file beside the sidecar, or one key of an object in the ExternalService's namespace. */
export type PemSource =
  | { readonly kind: 'configMap' | 'secret'; readonly name: string; readonly key: string }
  | { readonly kind: 'file'; readonly path: string };

export interface ExternalTls {
  /** Absent: the roots that the system trusts. */
  readonly ca: PemSource | undefined;
  /** The server name that is asked for; absent: the host. */
  readonly sni: string | undefined;
  /** The server's certificate must carry one of them; absent: the host. */
  readonly subjectAltNames: readonly string[] | undefined;
  /** Absent: no certificate is shown. */
  readonly client:
    | { readonly kind: 'secret'; readonly name: string }
    | { readonly kind: 'files'; readonly certificate: string; readonly key: string }
    | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export type ExternalResolution =
  /** Asked by the sidecar when somebody calls. */
  | { readonly kind: 'dns'; readonly minTtlSeconds: number; readonly maxTtlSeconds: number }
  /** Canonical addresses. */
  | { readonly kind: 'static'; readonly addresses: readonly string[] };

/** Who may call. Both empty: nobody. */
export interface AllowedCallers {
  /** `TD/ns/NAMESPACE/sa/NAME`, a star at one end allowed. */
  readonly principals: readonly string[];
  readonly namespaces: readonly string[];
}

export interface ExternalService {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
  /** Lower case; `*.example.com` only where every port is `tls`. */
  readonly hosts: readonly string[];
  readonly ports: readonly ExternalPort[];
  readonly resolution: ExternalResolution;
  /** Networks that may be dialled although names must not lead there by themselves: loopback, metadata services. */
  readonly allowedNetworks: readonly string[];
  /** Of connections that the sidecar makes; absent: as the caller sends it. */
  readonly tls: ExternalTls | undefined;
  /** Namespaces that may see it, `*` for all; absent: its own, and of the root namespace's all. */
  readonly exportTo: readonly string[] | undefined;
  /** Absent: everybody who may see it. */
  readonly allowedCallers: AllowedCallers | undefined;
  /** It could not be read as a whole: nobody may call what it names. */
  readonly isClosed: boolean;
}
