// Probes one container while it runs: tells when it has started, whether it is ready, and when it must be killed.
import { setTimeout as delay } from 'node:timers/promises';
import { act, type ActionTarget } from './action.ts';
import type { Probe } from './pod.ts';

export interface ProbeLoopOptions {
  readonly target: ActionTarget;
  /** Probes come at least so often: tests have no ten seconds. */
  readonly periodMs: number;
  readonly onStarted: () => void;
  readonly onReady: (isReady: boolean) => void;
  /** With the sentence of Kubernetes' events. */
  readonly onUnhealthy: (why: string) => void;
  readonly signal: AbortSignal;
}

/** Until a probe has passed for the first time: somebody waits for that. */
const EAGER_PERIOD_MS = 100;

const seconds = (value: number | undefined, otherwise: number): number =>
  (value ?? otherwise) * 1_000;

interface Verdict {
  readonly isOk: boolean;
  readonly text: string;
}

/**
 * Calls `onVerdict` at each change of the verdict that thresholds allow, until that returns true.
 * Probes come sooner than asked for, but a failure that kills must have lasted as long as it would with the real period.
 */
async function follow(
  probe: Probe,
  { target, periodMs, signal }: ProbeLoopOptions,
  kills: boolean,
  onVerdict: (verdict: Verdict) => boolean,
): Promise<void> {
  const { failureThreshold = 3, successThreshold = 1, timeoutSeconds } = probe;
  const realPeriodMs = seconds(probe.periodSeconds, 10);
  const steadyMs = Math.min(realPeriodMs, periodMs);
  let everyMs = Math.min(steadyMs, EAGER_PERIOD_MS);
  const patienceMs = kills ? (failureThreshold - 1) * realPeriodMs : 0;
  let inRow = 0;
  let last: boolean | undefined;
  let failingSince = 0;
  await delay(Math.min(seconds(probe.initialDelaySeconds, 0), periodMs), undefined, { ref: false });
  while (!signal.aborted) {
    const end = await act(probe, target, seconds(timeoutSeconds, 1));
    if (signal.aborted) return;
    if (end.isOk !== last) {
      inRow = 0;
      failingSince = performance.now();
    }
    last = end.isOk;
    inRow++;
    if (end.isOk) everyMs = steadyMs;
    const isEnough = end.isOk
      ? inRow >= successThreshold
      : inRow >= failureThreshold && performance.now() - failingSince >= patienceMs;
    if (isEnough && onVerdict(end)) return;
    await delay(everyMs, undefined, { ref: false });
  }
}

/** Returns at once; ends with the signal. A container without a probe passes it. */
export function startProbes(options: ProbeLoopOptions): void {
  void probeAll(options);
}

async function probeAll(options: ProbeLoopOptions): Promise<void> {
  const { target, signal, onStarted, onReady, onUnhealthy } = options;
  const { startupProbe, readinessProbe, livenessProbe } = target.container;
  if (startupProbe !== undefined) {
    let hasStarted = false;
    await follow(startupProbe, options, true, ({ isOk, text }) => {
      hasStarted = isOk;
      if (!isOk) onUnhealthy(`Startup probe failed: ${text}`);
      return true;
    });
    if (!hasStarted || signal.aborted) return;
  }
  onStarted();
  const loops: Promise<void>[] = [];
  if (readinessProbe === undefined) onReady(true);
  else {
    loops.push(
      follow(readinessProbe, options, false, ({ isOk }) => {
        onReady(isOk);
        return false;
      }),
    );
  }
  if (livenessProbe !== undefined) {
    loops.push(
      follow(livenessProbe, options, true, ({ isOk, text }) => {
        if (isOk) return false;
        onUnhealthy(`Liveness probe failed: ${text}`);
        return true;
      }),
    );
  }
  await Promise.all(loops);
}
