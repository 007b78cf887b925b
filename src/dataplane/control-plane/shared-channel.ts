// One connection to the control plane for all streams that are opened with the same certificate and bundle: a handshake and its memory, once.
import type { Channel } from './grpc/channel.ts';

/** The right to open a stream; to be disposed of when that stream has ended. */
export interface ChannelLease extends Disposable {
  readonly channel: Channel;
}

/** What a connection is made with; a stream that is opened with anything else gets another connection. */
export interface ChannelMaterial {
  readonly bundlePem: string;
  readonly own: { readonly chainPem: string };
}

interface Shared {
  readonly channel: Channel;
  readonly bundlePem: string;
  readonly chainPem: string;
  readonly limit: NodeJS.Timeout;
  leases: number;
}

/** 10 s: an address whose machine is gone answers nothing at all, and a fleet that comes back has its handshakes done by then. */
const CONNECT_MS = 10_000;

/** A connection of one stream alone. */
export const ownChannel = (channel: Channel): ChannelLease => ({
  channel,
  [Symbol.dispose]: () => channel.close(),
});

export class SharedChannel<Material extends ChannelMaterial> {
  readonly #open: (material: Material) => Channel;
  readonly #connectMs: number;
  #shared: Shared | undefined;

  /** @param options.connectMs after which a connection that has not come about is given up, with its streams; default 10 s. */
  constructor(
    open: (material: Material) => Channel,
    { connectMs = CONNECT_MS }: { readonly connectMs?: number } = {},
  ) {
    this.#open = open;
    this.#connectMs = connectMs;
  }

  /**
   * A connection ends with its last stream: whatever became of it, who comes then gets a new one, and none waits
   * for another's.
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
      channel: shared.channel,
      [Symbol.dispose]: () => {
        if (isGiven) this.#giveBack(shared);
        isGiven = false;
      },
    };
  }

  /** A system waits long an answer to the first packet: two minutes. */
  #connect(material: Material): Shared {
    const { bundlePem } = material;
    const { chainPem } = material.own;
    const channel = this.#open(material);
    const limit = setTimeout(() => this.#giveUp(shared), this.#connectMs);
    const shared: Shared = { channel, bundlePem, chainPem, limit, leases: 0 };
    return shared;
  }

  /** One that has come about is left alone. Streams end with their connection, and give it back. */
  #giveUp(shared: Shared): void {
    const { channel } = shared;
    if (channel.isConnected) return;
    if (this.#shared === shared) this.#shared = undefined;
    channel.close();
  }

  #giveBack(shared: Shared): void {
    shared.leases--;
    if (shared.leases > 0) return;
    clearTimeout(shared.limit);
    shared.channel.close();
    if (this.#shared === shared) this.#shared = undefined;
  }
}
