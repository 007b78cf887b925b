// How long HTTP may take where nobody has said otherwise, and which upgrades pass.

/** 10 s for a request's head: a client that needs longer holds a connection and sends nothing (Slowloris). */
export const REQUEST_HEADERS_TIMEOUT_MS = 10_000;
/** 5 min without a byte, as Envoy has it; a stream that lives on sends something. */
export const STREAM_IDLE_TIMEOUT_MS = 300_000;
export const UPGRADES: readonly string[] = ['websocket'];
