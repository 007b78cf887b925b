// Which headers of a request an authorizer is told: every value of each, as the mesh will forward them, and none of this hop's own.
import { isRemovedInbound } from '../filters/http-filters.ts';
import type { GateRequest } from '../filters/request-gate.ts';

/** Of one connection, or of the body that is not sent. */
const HOP: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'http2-settings',
  'host',
]);

/**
 * By name, in lower case. What a client says under the mesh's own names is nobody's word: in its place stands what
 * the mesh says (CVE-2021-32777: of a repeated header every value counts, not one).
 */
export function toldHeaders(request: GateRequest): ReadonlyMap<string, readonly string[]> {
  const { facts } = request;
  const told = new Map<string, readonly string[]>();
  const own = request.meshHeaders();
  for (const name of facts.headerNames()) {
    if (HOP.has(name) || isRemovedInbound(name) || isRemovedInbound(name.replaceAll('_', '-'))) {
      continue;
    }
    const values = facts.header(name);
    if (values !== undefined && values.length > 0) told.set(name, values);
  }
  for (let at = 0; at + 1 < own.length; at += 2) told.set(own[at] ?? '', [own[at + 1] ?? '']);
  return told;
}
