// Asks an application's grpc.health.v1.Health, as the kubelet does: without TLS, one call on a connection of its own.
import { Channel } from '../control-plane/grpc/channel.ts';
import { CallFailure } from '../control-plane/grpc/status.ts';

const METHOD = '/grpc.health.v1.Health/Check';
/** Of HealthCheckResponse.ServingStatus. */
const SERVING = 1;
const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
/** An answer is two bytes. */
const MAX_ANSWER_BYTES = 4_096;

export interface GrpcHealthCheck {
  readonly address: string;
  readonly port: number;
  /** Empty: the server as a whole. */
  readonly service: string;
  readonly timeoutMs: number;
}

/** @returns what is wrong, or `undefined` when it serves. */
export async function checkGrpcHealth(check: GrpcHealthCheck): Promise<string | undefined> {
  const { address, port, service, timeoutMs } = check;
  const channel = new Channel({
    address: { host: address, port },
    userAgent: 'kube-probe/weft',
    maxMessageBytes: MAX_ANSWER_BYTES,
  });
  try {
    const status = decodeStatus(await channel.ask(METHOD, encodeRequest(service), timeoutMs));
    return status === SERVING ? undefined : `it says ${STATUS_NAMES[status] ?? status}`;
  } catch (error) {
    if (error instanceof CallFailure) return error.details;
    throw error;
  } finally {
    channel.close();
  }
}

/** HealthCheckRequest: `string service = 1`. */
function encodeRequest(service: string): Buffer {
  const text = Buffer.from(service);
  return text.length === 0
    ? text
    : Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** HealthCheckResponse: `ServingStatus status = 1`, and nothing else so far. Absent: UNKNOWN. */
function decodeStatus(bytes: Buffer): number {
  return bytes[0] === 0x08 && bytes[1] !== undefined && bytes[1] < 0x80 ? bytes[1] : 0;
}
