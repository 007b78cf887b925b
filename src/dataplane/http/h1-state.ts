// What an HTTP/1 connection is doing.

export const State = {
  /** Between requests, or in the midst of a head. */
  Idle: 0,
  /** The hook's promise is awaited. */
  Deciding: 1,
  Relaying: 2,
  /** Answered; the rest of the request's body is read and thrown away. */
  Discarding: 3,
  Tunnel: 4,
  /** The last answer is written; the client is given time to read it. */
  Lingering: 5,
  Closed: 6,
} as const;
