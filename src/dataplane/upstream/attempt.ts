// Attempts to connect to an endpoint that are under way: each ends once, and at once when the endpoint is withdrawn.
import { ConnectFailure, type ConnectHandlers } from '../tls/client.ts';
import type { Socket } from 'node:net';

export class Attempts {
  readonly #pending = new Set<() => void>();

  /** @returns handlers for whoever connects; what comes after the end is thrown away. */
  begin(handlers: ConnectHandlers<Socket>): ConnectHandlers<Socket> {
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      this.#pending.delete(withdraw);
      return true;
    };
    const withdraw = (): void => {
      const why = 'the endpoint was withdrawn while it was being connected to';
      if (end()) handlers.onFailure(new ConnectFailure('upstream-withdrawn', why));
    };
    this.#pending.add(withdraw);
    return {
      onConnect: (socket) => {
        if (end()) handlers.onConnect(socket);
        else socket.destroy();
      },
      onFailure: (failure) => {
        if (end()) handlers.onFailure(failure);
      },
    };
  }

  /** A Pod that is gone answers nothing at all: who waits for it would wait until the time limit. */
  withdraw(): void {
    for (const withdraw of this.#pending) withdraw();
  }
}
