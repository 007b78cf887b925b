// One connection to the control plane for all streams that are opened with the same certificate and bundle: a handshake and its memory, once.
import { type Client, connectivityState } from '@grpc/grpc-js';

/** The right to open a stream; to be disposed of when that stream has ended. */
export interface ChannelLease extends Disposable {
  readonly client: Client;
}

/** What a connection is made with; a stream that is opened with anything else gets another connection. */
export interface ChannelMaterial {
  readonly bundlePem: string;
  readonly own: { readonly chainPem: string };
}

interface Shared {
  readonly client: Client;
  readonly bundlePem: string;
  readonly chainPem: string;
  readonly limit: NodeJS.Timeout;
  leases: number;
}

/** 10 s: an address whose machine is gone answers nothing at all, and a fleet that comes back has its handshakes done by then. */
const CONNECT_MS = 10_000;

/** A connection of one stream alone. */
export const ownChannel = (client: Client): ChannelLease => ({
  client,
  [Symbol.dispose]: () => client.close(),
});

export class SharedChannel<Material extends ChannelMaterial> {
  readonly #open: (material: Material) => Client;
  readonly #connectMs: number;
  #shared: Shared | undefined;

  /** @param options.connectMs after which a connection that has not come about is given up, with its streams; default 10 s. */
  constructor(
    open: (material: Material) => Client,
    { connectMs = CONNECT_MS }: { readonly connectMs?: number } = {},
  ) {
    this.#open = open;
    this.#connectMs = connectMs;
  }

  /**
   * A connection ends with its last stream: whatever became of it, who comes then gets a new one, and none waits for
   * gRPC's own back-off.
   */
  lease(material: Material): ChannelLease {
    const { bundlePem } = material;
    const { chainPem } = material.own;
    const known = this.#shared;
    const isSame = known?.bundlePem === bundlePem && known.chainPem === chainPem;
    const shared = known !== undefined && isSame ? known : this.#connect(material);
    this.#shared = shared;
    shared.leases++;
    let isGiven = true;
    return {
      client: shared.client,
      [Symbol.dispose]: () => {
        if (isGiven) this.#giveBack(shared);
        isGiven = false;
      },
    };
  }

  /** gRPC itself waits as long as the system does for an answer to the first packet: two minutes. */
  #connect(material: Material): Shared {
    const { bundlePem } = material;
    const { chainPem } = material.own;
    const client = this.#open(material);
    const limit = setTimeout(() => this.#giveUp(shared), this.#connectMs);
    const shared: Shared = { client, bundlePem, chainPem, limit, leases: 0 };
    return shared;
  }

  /** One that has come about is left alone. Streams end with their connection, and give it back. */
  #giveUp(shared: Shared): void {
    const { client } = shared;
    if (client.getChannel().getConnectivityState(false) === connectivityState.READY) return;
    if (this.#shared === shared) this.#shared = undefined;
    client.close();
  }

  #giveBack(shared: Shared): void {
    shared.leases--;
    if (shared.leases > 0) return;
    clearTimeout(shared.limit);
    shared.client.close();
    if (this.#shared === shared) this.#shared = undefined;
  }
}
