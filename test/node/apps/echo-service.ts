// The gRPC service of the test applications: plain text back and forth, and the standard health check.
import type { MethodDefinition } from '@grpc/grpc-js';

const text = {
  requestSerialize: (value: string): Buffer => Buffer.from(value),
  requestDeserialize: (bytes: Buffer): string => bytes.toString(),
  responseSerialize: (value: string): Buffer => Buffer.from(value),
  responseDeserialize: (bytes: Buffer): string => bytes.toString(),
};

const method = (
  path: string,
  stream: { readonly requestStream: boolean; readonly responseStream: boolean },
): MethodDefinition<string, string> => ({ path, ...stream, ...text });

export const ECHO = {
  unary: method('/test.Echo/Unary', { requestStream: false, responseStream: false }),
  chat: method('/test.Echo/Chat', { requestStream: true, responseStream: true }),
};

/** Messages as bytes: field 1 of the answer is the status. */
export const HEALTH = {
  check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Buffer): Buffer => value,
    requestDeserialize: (bytes: Buffer): Buffer => bytes,
    responseSerialize: (value: Buffer): Buffer => value,
    responseDeserialize: (bytes: Buffer): Buffer => bytes,
  },
};
