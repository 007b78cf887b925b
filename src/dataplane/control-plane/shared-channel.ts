// One connection to the control plane for all streams that are opened with the same certificate and bundle: a handshake and its memory, once.
import type { Client } from '@grpc/grpc-js';

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
  leases: number;
}

/** A connection of one stream alone. */
export const ownChannel = (client: Client): ChannelLease => ({
  client,
  [Symbol.dispose]: () => client.close(),
});

export class SharedChannel<Material extends ChannelMaterial> {
  readonly #open: (material: Material) => Client;
  #shared: Shared | undefined;

  constructor(open: (material: Material) => Client) {
    this.#open = open;
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
    const shared =
      known !== undefined && isSame
        ? known
        : { client: this.#open(material), bundlePem, chainPem, leases: 0 };
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

  #giveBack(shared: Shared): void {
    shared.leases--;
    if (shared.leases > 0) return;
    shared.client.close();
    if (this.#shared === shared) this.#shared = undefined;
  }
}
