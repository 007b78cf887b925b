// The access-log record of a connection that was closed before anything was passed on.
import type { Refused } from '../listener/accept.ts';
import type { AccessRecord } from '../telemetry/access-log.ts';

export function refusedRecord(
  direction: AccessRecord['direction'],
  refused: Refused,
): AccessRecord {
  const { facts, reasonCode, verdict, marks, nearest } = refused;
  return {
    direction,
    protocol: 'tcp',
    source: facts.peerUri ?? 'plaintext',
    sourceIp: facts.endpoints.sourceAddress,
    destinationPort: facts.destinationPort,
    upstream: '',
    verdict,
    marks,
    nearest,
    reasonCode,
    bytesReceived: 0,
    bytesSent: 0,
    durationMs: 0,
  };
}
