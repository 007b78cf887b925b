// What the upstream half of a request tells the downstream half.
import type { UpstreamConnection } from './h1-contract.ts';
import type { Http1ResponseHead } from './h1-response.ts';

export interface ExchangeOwner {
  /** The request's head and first bytes are on their way: more may follow by `writeBody`. */
  onSending(): void;
  /** The last `writeBody` that returned false has drained. */
  onUpstreamDrain(): void;
  onInterim(head: Http1ResponseHead): void;
  /** A 101 to a request that asked for it; `rest` came behind it. The connection is the owner's now. */
  onUpgraded(head: Http1ResponseHead, upstream: UpstreamConnection, rest: Buffer): void;
  /** The answer's head, with the part of its body in `chunk` from `bodyStart`. */
  onAnswer(head: Http1ResponseHead, chunk: Buffer, bodyStart: number): void;
  onAnswerBody(chunk: Buffer): void;
  /** There is no answer, and none of it has been sent on. */
  onNoAnswer(status: number, reasonCode: string): void;
  /** The answer broke off. */
  onBrokenAnswer(reasonCode: string): void;
  /** The answer's body ended with the connection. */
  onEndOfConnection(): void;
}
