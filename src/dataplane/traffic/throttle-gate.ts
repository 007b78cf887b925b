// Lets through as many requests as token buckets have tokens for, counted by caller, address, header or what else is asked.
import { compileRbac, type Evaluator } from '@weft/model/policy/evaluate';
import type { ThrottleKey } from '@weft/model/traffic/types';
import type { ThrottleConfig } from '@weft/xds/resources/traffic';
import { formatIp } from '@weft/model/ip';
import type { ConnectionFacts } from '../filters/connection-facts.ts';
import {
  type GateOutcome,
  type GateRefusal,
  type GateRequest,
  PASSED,
} from '../filters/request-gate.ts';
import { BucketTable } from './bucket-table.ts';
import { KeyHash } from './key-hash.ts';
import type { LateGate } from './late-gate.ts';

interface Throttle {
  readonly config: ThrottleConfig;
  /** Absent: it counts every request. */
  readonly rules: Evaluator | undefined;
  readonly buckets: BucketTable;
}

/** One gate for all: a request that one of them refuses takes a token from none. */
export function createThrottleGate(
  configs: readonly ThrottleConfig[],
  tools: { readonly now?: () => number; readonly hash?: KeyHash } = {},
): LateGate {
  const { now = () => performance.now(), hash = new KeyHash() } = tools;
  const throttles = configs.map(
    (config): Throttle => ({
      config,
      rules: config.rules && compileRbac([config.rules]),
      buckets: new BucketTable(config, config.key.length === 0 ? 1 : config.maxKeys),
    }),
  );
  const counting: Throttle[] = [];
  return {
    check({ facts }: GateRequest): GateOutcome {
      counting.length = 0;
      const nowMs = now();
      for (const throttle of throttles) {
        const rule = throttle.rules?.decide(facts).decidedBy;
        if (throttle.rules !== undefined && rule === undefined) continue;
        hashKey(hash, throttle.config.key, facts, rule ?? '');
        const waitMs = throttle.buckets.look(hash.high, hash.low, nowMs);
        if (waitMs > 0) return refusalOf(throttle.config, waitMs);
        counting.push(throttle);
      }
      for (const { buckets } of counting) buckets.take();
      return PASSED;
    },
  };
}

function hashKey(
  hash: KeyHash,
  key: readonly ThrottleKey[],
  facts: ConnectionFacts,
  rule: string,
): void {
  hash.begin();
  for (const part of key) addPart(hash, part, facts, rule);
}

/** What is not there is a key of its own; an application that reads one of several values must not be reached by others. */
function addPart(hash: KeyHash, part: ThrottleKey, facts: ConnectionFacts, rule: string): void {
  switch (part.kind) {
    case 'caller':
      hash.addText(facts.peerUri ?? '');
      return;
    case 'address':
      hash.addText(facts.remoteIp === undefined ? '' : formatIp(facts.remoteIp));
      return;
    case 'host':
      hash.addText((facts.authority ?? '').toLowerCase());
      return;
    case 'method':
      hash.addText(facts.method ?? '');
      return;
    case 'path':
      hash.addText(facts.path ?? '');
      return;
    case 'rule':
      hash.addText(rule);
      return;
    case 'header':
      for (const value of facts.header(part.name) ?? []) hash.addText(value);
      return;
    default:
      part satisfies never;
  }
}

/** Source of the headers: RFC 9110 §10.2.3; draft-ietf-httpapi-ratelimit-headers-10. */
function refusalOf(
  { name, requests, intervalMs, burst }: ThrottleConfig,
  waitMs: number,
): GateRefusal {
  const seconds = String(Math.max(1, Math.ceil(waitMs / 1_000)));
  const label = name.slice(name.lastIndexOf('/') + 1);
  const windowSeconds = Math.max(1, Math.ceil((intervalMs * burst) / requests / 1_000));
  return {
    kind: 'refuse',
    status: 429,
    body: 'too many requests',
    reasonCode: 'throttled',
    headers: [
      'retry-after',
      seconds,
      'ratelimit-policy',
      `"${label}";q=${burst};w=${windowSeconds}`,
      'ratelimit',
      `"${label}";r=0;t=${seconds}`,
    ],
  };
}
