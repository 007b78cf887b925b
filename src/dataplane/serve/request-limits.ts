// Counts requests towards destinations that limit them, from when they are passed on until they are over.
import type { RequestHead } from '../filters/connection-facts.ts';
import type { CircuitBreaker } from '../upstream/breaker.ts';

const counted = new WeakMap<RequestHead, CircuitBreaker>();

/** @returns whether it may go on; where requests are limited it then counts until `endRequest`. */
export function beginRequest(head: RequestHead, breaker: CircuitBreaker): boolean {
  if (!breaker.limitsRequests) return true;
  if (!breaker.tryRequest()) return false;
  counted.set(head, breaker);
  return true;
}

export function endRequest(head: RequestHead | undefined): void {
  if (head === undefined) return;
  const breaker = counted.get(head);
  if (breaker === undefined) return;
  counted.delete(head);
  breaker.endRequest();
}
