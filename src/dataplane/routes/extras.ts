// What a route asks of a request besides its upstream: a time for its whole answer, other headers of it, and copies.
import type { Http1Upstream } from '../http/h1-contract.ts';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import { AnswerHeaders } from './answer-headers.ts';
import type { RuledRequest } from './apply-rule.ts';
import type { Route } from '@weft/xds/resources/route';
import type { HeaderRules } from '@weft/xds/resources/route-rule';

/** Where copies go. */
export interface MirrorTarget {
  readonly http1: Http1Upstream;
  readonly http2: Http2Upstream;
  /** Told of each copy that is left out or cut off. */
  readonly breaker: { dropMirror(): void };
}

export interface RouteExtras {
  /** From the request's last byte to the answer's, with all tries; 0: no limit. */
  readonly timeoutMs: number;
  readonly answer: AnswerHeaders | undefined;
  readonly mirrors: readonly MirrorTarget[];
}

const NONE: readonly MirrorTarget[] = [];

/** On top of what a route does: a cookie that was hashed already must reach the client. */
const cookieRule = (value: string): HeaderRules => ({
  remove: [],
  put: [{ name: 'set-cookie', value, isSet: false }],
});

/** @returns `undefined` for most routes, which ask for nothing. */
export function extrasOf(
  route: Route,
  ruled: RuledRequest | undefined,
  mirrorTo: (cluster: string) => MirrorTarget | undefined,
  setCookie?: string,
): RouteExtras | undefined {
  const { timeoutMs } = route;
  const ofRules = ruled?.answerHeaders ?? [];
  const answerHeaders = setCookie === undefined ? ofRules : [...ofRules, cookieRule(setCookie)];
  const mirrors =
    ruled === undefined ? NONE : ruled.mirrors.flatMap((name) => mirrorTo(name) ?? []);
  if (timeoutMs === 0 && answerHeaders.length === 0 && mirrors.length === 0) return undefined;
  const answer = answerHeaders.length === 0 ? undefined : new AnswerHeaders(answerHeaders);
  return { timeoutMs, answer, mirrors };
}
