// Soaks proxies side by side under the same steady load and says how fast their private memory grows.
import { setTimeout as delay } from 'node:timers/promises';
import { memoryOf } from './accounting.ts';
import { credentialOf, type Identities } from './identities.ts';
import { startLoadGenerator } from './load/processes.ts';
import { checkInbound } from './memory-checks.ts';
import { type Slope, slopeOf } from './memory-figures.ts';
import type { Contender, Proxy } from './memory-proxies.ts';
import { CALLED, CALLER } from './policies.ts';

/** Well below saturation of every one of them. */
const RATE = 200;
const CONNECTIONS = 16;
const STEP_MS = 10_000;
/** Of the second half: a line through fewer says nothing. */
const LEAST_POINTS = 5;
const MAX_REQUESTS = 1_000_000;
const MS_PER_HOUR = 3_600_000;

interface Soaked {
  readonly contender: Contender;
  readonly proxy: Proxy;
  readonly generator: Awaited<ReturnType<typeof startLoadGenerator>>;
  readonly points: { readonly x: number; readonly y: number }[];
  requests: number;
}

export async function soak<B extends Bench>(
  bench: B,
  startCalled: (bench: B, contender: Contender, at: number) => Promise<Proxy>,
): Promise<readonly Slope[]> {
  const { plan, identities, contenders } = bench;
  await using stack = new AsyncDisposableStack();
  const soaked: Soaked[] = [];
  for (const contender of contenders) {
    // Weft's two take the first two of Weft's Pods, Envoy the first of its own.
    const at = contender.name === 'envoy' ? 0 : soaked.length;
    const proxy = stack.use(await startCalled(bench, contender, at));
    await checkInbound(proxy.inbound, identities);
    const generator = stack.use(await startLoadGenerator());
    soaked.push({ contender, proxy, generator, points: [], requests: 0 });
  }
  const from = performance.now();
  const endMs = plan.soakMinutes * 60_000;
  for (let nowMs = 0; nowMs < endMs; nowMs = performance.now() - from) {
    await Promise.all(soaked.map((one) => loadOnce(one, identities)));
    // Between loads, for what a request needs while it is in flight is not what a process keeps.
    await delay(100);
    const x = performance.now() - from;
    for (const { proxy, points } of soaked) points.push({ x, y: memoryOf(proxy.pid).privateMb });
  }
  return soaked.map(({ contender, points, requests }): Slope => {
    const late = points.slice(points.length >> 1);
    return {
      proxy: contender.name,
      minutes: plan.soakMinutes,
      requests,
      firstPrivateMb: points[0]?.y ?? 0,
      lastPrivateMb: points.at(-1)?.y ?? 0,
      ...(late.length >= LEAST_POINTS && { mbPerHour: slopeOf(late) * MS_PER_HOUR }),
    };
  });
}

interface Bench {
  readonly plan: { readonly soakMinutes: number };
  readonly identities: Identities;
  readonly contenders: readonly Contender[];
}

async function loadOnce(one: Soaked, identities: Identities): Promise<void> {
  const { keyPem, chainPem } = credentialOf(identities, CALLER);
  const result = await one.generator.run({
    ...one.proxy.inbound,
    path: '/100b',
    connections: CONNECTIONS,
    durationMs: STEP_MS,
    maxRequests: MAX_REQUESTS,
    rate: RATE,
    tls: {
      keyPem,
      chainPem,
      bundlePem: identities.bundlePem,
      serverId: credentialOf(identities, CALLED).spiffeId,
    },
  });
  one.requests += result.requests;
  if (result.failures > 0) {
    throw new Error(`Cannot soak ${one.contender.name}: ${result.firstFailure ?? 'it failed'}`);
  }
}
