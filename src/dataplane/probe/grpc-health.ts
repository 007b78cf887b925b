// Asks an application's grpc.health.v1.Health, as the kubelet does: without TLS, one call on a connection of its own.
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';

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
export function checkGrpcHealth(check: GrpcHealthCheck): Promise<string | undefined> {
  const { address, port, service, timeoutMs } = check;
  const host = address.includes(':') ? `ipv6:[${address}]:${port}` : `ipv4:${address}:${port}`;
  const client = new Client(host, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.primary_user_agent': 'kube-probe/weft',
  });
  return new Promise((resolve) => {
    client.makeUnaryRequest<string, number>(
      METHOD,
      encodeRequest,
      decodeStatus,
      service,
      { deadline: Date.now() + timeoutMs },
      (error: ServiceError | null, status) => {
        client.close();
        if (error !== null) resolve(error.details);
        else if (status === SERVING) resolve(undefined);
        else resolve(`it says ${STATUS_NAMES[status ?? 0] ?? status}`);
      },
    );
  });
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
