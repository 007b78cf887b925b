// What a sidecar is told at its start about handing credentials on inside its workload.
import type { Credential } from './credential.ts';

/** Which processes may ask at the Unix socket: all that is given must fit. */
export interface AllowedCallers {
  /** Empty: every user that one of the other lists lets in. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly pids: readonly number[];
}

export interface UrlDelivery {
  readonly listen:
    | { readonly kind: 'unix'; readonly path: string; readonly mode: number }
    /** Loopback alone. */
    | { readonly kind: 'tcp'; readonly host: string; readonly port: number };
  /** Of a Unix socket; at least one list of it is not empty. */
  readonly allowed: AllowedCallers;
  /**
   * Where the start-up token is written for the application to read; it must come with every request. Needed at a
   * port, where the kernel does not say who calls.
   */
  readonly tokenFile:
    | { readonly path: string; readonly mode: number; readonly owner?: Owner }
    | undefined;
  /** Write the token to a file system that is not in memory. */
  readonly isForced: boolean;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export type OnChange =
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals; readonly pidFile: string }
  /** Without a shell. */
  | { readonly kind: 'command'; readonly argv: readonly string[] };

export interface FilesDelivery {
  readonly directory: string;
  /** Of the files; folders get the right to enter where files can be read. */
  readonly mode: number;
  readonly owner: Owner | undefined;
  readonly onChange: OnChange | undefined;
  /** Write to a file system that is not in memory: what is written there may stay there for ever. */
  readonly isForced: boolean;
}

/** What a source in the same process says; each call replaces what was said before. */
export interface FedCredentials {
  readonly credentials: readonly Credential[];
}

/** Feeds credentials where there is no control plane. */
export type CredentialFeed = (take: (fed: FedCredentials) => void) => Disposable;

export interface CredentialsOptions {
  readonly url: UrlDelivery | undefined;
  readonly files: FilesDelivery | undefined;
  /** Absent in a mesh. */
  readonly feed?: CredentialFeed;
}
