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
/** Requests, and connections that carry none. */
const IN_FLIGHT = [
  '/stats?filter=%5Ehttp%5C..*downstream_rq_active%24',
  '/stats?filter=%5Etcp%5C..*downstream_cx_active%24',
] as const;

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
  let sum = 0;
  for (const path of IN_FLIGHT) {
    const { body } = await admin.ask(path, { timeoutMs: ASK_MS });
    for (const line of body.toString('utf8').split('\n')) {
      const at = line.lastIndexOf(': ');
      const name = line.slice(0, Math.max(at, 0));
      const isCounted = isInbound(name) || (drainsOutbound && isOutbound(name));
      if (isCounted) sum += Number(line.slice(at + 2)) || 0;
    }
  }
  return sum;
}

/** As the control plane names statistics. */
const isInbound = (name: string): boolean =>
  name.startsWith('http.inbound_') || name.startsWith('tcp.inbound_');
const isOutbound = (name: string): boolean =>
  name.startsWith('http.outbound_') || name.startsWith('tcp.outbound_');

function wait(clock: Clock, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.setTimeout(resolve, ms);
  return promise;
}
