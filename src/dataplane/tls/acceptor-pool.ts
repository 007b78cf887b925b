// One acceptor for each way that chains ask for mutual TLS, kept over configuration changes and given new certificates.
import { compileString } from '@weft/model/policy/matchers';
import type { DownstreamTls } from '@weft/xds/resources/listener';
import type { MeshContexts } from './credentials.ts';
import { MeshAcceptor } from './server.ts';

/** Chains ask alike but for protocol and trust domains; more than this is a fault in the configuration. */
const MAX_ACCEPTORS = 64;

interface Entry {
  readonly acceptor: MeshAcceptor;
  /** The generation it was last given; compared at each use, so that none is ever left behind. */
  contexts: MeshContexts;
}

export class AcceptorPool {
  readonly #entries = new Map<string, Entry>();
  readonly #byTls = new WeakMap<DownstreamTls, Entry>();
  #contexts: MeshContexts | undefined;

  /** New certificates for handshakes from now on; `undefined` refuses them all. */
  setContexts(contexts: MeshContexts | undefined): void {
    this.#contexts = contexts;
  }

  /** @returns `undefined` while there is no certificate or no bundle. */
  acceptorFor(tls: DownstreamTls): MeshAcceptor | undefined {
    const contexts = this.#contexts;
    if (contexts === undefined) return undefined;
    const entry = this.#byTls.get(tls) ?? this.#entryFor(tls, contexts);
    if (entry.contexts !== contexts) {
      entry.acceptor.setContexts(contexts);
      entry.contexts = contexts;
    }
    return entry.acceptor;
  }

  #entryFor(tls: DownstreamTls, contexts: MeshContexts): Entry {
    const key = JSON.stringify([tls.alpn, tls.peerUris]);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const tests = tls.peerUris.map(compileString);
      const isExpected = (id: string): boolean => tests.some((test) => test(id));
      entry = { acceptor: new MeshAcceptor({ contexts, alpn: tls.alpn, isExpected }), contexts };
      if (this.#entries.size >= MAX_ACCEPTORS) this.#entries.clear();
      this.#entries.set(key, entry);
    }
    this.#byTls.set(tls, entry);
    return entry;
  }
}
