// A short name for what a policy says: equal for equal policies, whatever file or order of keys they came in.
import { hash } from 'node:crypto';
import type { PeerAuthentication } from './types.ts';

/** Hexadecimal digits: enough to tell versions apart, short enough to read out. */
const DIGITS = 16;

interface Policy extends Pick<PeerAuthentication, 'namespace' | 'name' | 'createdAtMs'> {}

/** When it was made is no part of it: files have no such time. */
export function policyDigest(policy: Policy): string {
  const { createdAtMs: _, ...said } = policy;
  return hash('sha256', JSON.stringify(canonical(said))).slice(0, DIGITS);
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (value instanceof Map) return [...value].map(canonical).sort(byText);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => [name, canonical(field)]);
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
