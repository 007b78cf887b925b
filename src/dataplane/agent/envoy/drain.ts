// Lets an Envoy finish what is in flight: no new work, and a word when there is none left.
import type { Clock } from '@weft/model/clock';
import type { EnvoyAdmin } from './envoy-admin.ts';

export interface EnvoyDrainOptions {
  readonly admin: EnvoyAdmin;
  readonly limitMs: number;
  /** Calls that the workload makes are waited for as well. */
  readonly drainsOutbound: boolean;
  readonly clock: Clock;
}

const EVERY_MS = 50;
/** Nothing in flight twice: a request may be between two connections once. */
const QUIET_TIMES = 2;
const ASK_MS = 1_000;
const FIGURES = '/stats?filter=downstream_(rq%7Ccx)_active%24';

/** @returns how much was in flight at the end: 0, or what has to be cut. */
export async function drainEnvoy(options: EnvoyDrainOptions): Promise<number> {
  const { admin, limitMs, clock } = options;
  const endsAtMs = clock.now() + limitMs;
  try {
    await admin.ask('/healthcheck/fail', { method: 'POST', timeoutMs: ASK_MS });
    await admin.ask('/drain_listeners?graceful&inboundonly&skip_exit', {
      method: 'POST',
      timeoutMs: ASK_MS,
    });
    let quiet = 0;
    for (;;) {
      const left = await inFlight(options);
      quiet = left === 0 ? quiet + 1 : 0;
      if (quiet >= QUIET_TIMES) return 0;
      if (clock.now() >= endsAtMs) return left;
      await wait(clock, Math.min(EVERY_MS, Math.max(endsAtMs - clock.now(), 0)));
    }
  } catch {
    /** It is gone, and nothing is in flight in it. */
    return 0;
  }
}

async function inFlight({ admin, drainsOutbound }: EnvoyDrainOptions): Promise<number> {
  const { body } = await admin.ask(FIGURES, { timeoutMs: ASK_MS });
  const figures = body.toString('utf8').split('\n').map(figureOf);
  const inbound = inFlightOf(figures, 'inbound');
  return drainsOutbound ? inbound + inFlightOf(figures, 'outbound') : inbound;
}

interface Figure {
  readonly name: string;
  readonly value: number;
}

function figureOf(line: string): Figure {
  const at = line.lastIndexOf(': ');
  return { name: line.slice(0, Math.max(at, 0)), value: Number(line.slice(at + 2)) || 0 };
}

const INBOUND = 'listener.0.0.0.0_15006.';
const ADMIN = 'listener.admin.';

const listensTo = (name: string, direction: 'inbound' | 'outbound'): boolean =>
  name.startsWith('listener.') &&
  !name.startsWith(ADMIN) &&
  name.endsWith('.downstream_cx_active') &&
  !name.includes('.worker_') &&
  name.startsWith(INBOUND) === (direction === 'inbound');

/** Requests, and connections that are not of HTTP: one of HTTP without a request is nothing that is lost. */
function inFlightOf(figures: readonly Figure[], direction: 'inbound' | 'outbound'): number {
  const sum = (fits: (name: string) => boolean): number =>
    figures.reduce((total, { name, value }) => (fits(name) ? total + value : total), 0);
  const http = `http.${direction}_`;
  const requests = sum((name) => name.startsWith(http) && name.endsWith('.downstream_rq_active'));
  const ofHttp = sum((name) => name.startsWith(http) && name.endsWith('.downstream_cx_active'));
  return requests + Math.max(0, sum((name) => listensTo(name, direction)) - ofHttp);
}

function wait(clock: Clock, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.setTimeout(resolve, ms);
  return promise;
}
