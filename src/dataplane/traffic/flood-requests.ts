// What clients that flood get in place of a decision, and what of their requests is counted.
import type { RequestHead } from '../filters/connection-facts.ts';
import { type HttpDecision, undecided } from '../filters/http-filters.ts';
import type { FinishedRequest, HttpSession } from '../filters/http-session.ts';
import { requestIdOf } from '../filters/request-id.ts';

const turnedAway = (head: RequestHead): HttpDecision => ({
  ...undecided(requestIdOf(head.header('x-request-id')?.[0])),
  status: 429,
  body: 'too many requests',
  reasonCode: 'flood',
});

/** Decides about a request, unless its client does too much of something. */
export function decideUnlessFlood(
  session: HttpSession,
  head: RequestHead,
): HttpDecision | Promise<HttpDecision> {
  const { floods } = session.runtime;
  const { endpoints } = session.facts;
  const flood = floods?.note(endpoints, 'requests');
  if (floods === undefined || flood === undefined) return session.decide(head);
  if (flood.isNew) floods.onFlood(flood, endpoints);
  if (flood.action === 'log') return session.decide(head);
  if (flood.action === 'drop') return turnedAway(head);
  return new Promise((resolve) => {
    const isHeld = floods.slow(() => resolve(session.decide(head)));
    if (!isHeld) resolve(turnedAway(head));
  });
}

/** A request that its client has broken off counts as a reset. */
export function noteReset(
  session: HttpSession,
  { status, reasonCode }: Pick<FinishedRequest, 'status' | 'reasonCode'>,
): void {
  const { floods } = session.runtime;
  if (floods === undefined || status !== 0) return;
  if (reasonCode !== '' && reasonCode !== 'client-closed') return;
  const { endpoints } = session.facts;
  const flood = floods.note(endpoints, 'resets');
  if (flood?.isNew === true) floods.onFlood(flood, endpoints);
}
