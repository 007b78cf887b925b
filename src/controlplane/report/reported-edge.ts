// Reads the edges of a report: who called which port of a proxy, how, and what was decided. A peer's word, so bounded.
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';

export interface ReportedEdge {
  /** The caller's SPIFFE id; empty for a caller without certificate. */
  readonly source: string;
  readonly port: number;
  readonly method: string;
  /** With its variable segments as `{*}`; empty on TCP. */
  readonly path: string;
  readonly isAllowed: boolean;
  readonly rule: string;
  readonly count: number;
}

const MAX_EDGES = 1_200;
const MAX_TEXT = 1_024;

const numberOf = (message: PlainMessage, field: string): number => {
  const value = message[field];
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
};

export function readEdges(report: PlainMessage): readonly ReportedEdge[] {
  return messagesOf(report, 'edges')
    .slice(0, MAX_EDGES)
    .map((edge) => ({
      source: textOf(edge, 'source').slice(0, MAX_TEXT),
      port: numberOf(edge, 'port'),
      method: textOf(edge, 'method').slice(0, MAX_TEXT),
      path: textOf(edge, 'path').slice(0, MAX_TEXT),
      isAllowed: edge['is_allowed'] === true,
      rule: textOf(edge, 'rule').slice(0, MAX_TEXT),
      count: numberOf(edge, 'count'),
    }))
    .filter(({ count }) => count > 0);
}
