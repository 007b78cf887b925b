// The scenarios of HTTP/2 and gRPC: streams in flight, connections, rates, and messages of streams.
import type { LoadSpec, MeshSpec, Scenario } from './scenario.ts';

const HTTP2: MeshSpec = { name: 'HTTP/2', app: 'h2c', port: 'http2-api', rules: 'two' };
const GRPC: MeshSpec = { name: 'gRPC', app: 'grpc', port: 'grpc-api', rules: 'two' };

const http2 = (
  name: string,
  load: Omit<LoadSpec, 'path'>,
  more: Partial<Scenario> = {},
): Scenario => ({
  name: `HTTP/2 100 B, ${name}`,
  mesh: HTTP2,
  drivers: ['h2load'],
  load: { path: '/100b', ...load },
  ...more,
});

const UNARY = { kind: 'grpc-unary', bytes: 100 };
const KILOBYTE = 1_024;

const grpc = (
  name: string,
  load: Omit<LoadSpec, 'path'>,
  more: Partial<Scenario> = {},
): Scenario => ({
  name: `gRPC ${name}`,
  mesh: GRPC,
  drivers: ['grpc'],
  load: { path: '/weft.bench.Echo/Unary', more: UNARY, ...load },
  ...more,
});

const QUICK = { isQuick: true };
/** Without HAProxy: 2.6 ends some streams without the trailers, which is a failure to gRPC and would end the run. */
const MESSAGES: Partial<Scenario> = { unit: 'message', pairs: ['weft', 'envoy', 'direct'] };

export const HTTP2_SCENARIOS: readonly Scenario[] = [
  http2('1 stream', { connections: 1, streams: 1 }),
  http2('16 streams', { connections: 1, streams: 16 }),
  http2('64 streams', { connections: 1, streams: 64 }, QUICK),
  http2('4 connections of 16 streams', { connections: 4, streams: 16 }),
  http2('16 streams, 1,000/s', { connections: 1, streams: 16, rate: 1_000 }),
];

export const GRPC_SCENARIOS: readonly Scenario[] = [
  grpc('unary, 1 in flight', { connections: 1, streams: 1 }),
  grpc('unary, 16 in flight', { connections: 1, streams: 16 }),
  grpc('unary, 64 in flight', { connections: 1, streams: 64 }, QUICK),
  grpc('unary, 4 connections of 16 in flight', { connections: 4, streams: 16 }),
  grpc('unary, 16 in flight, 1,000/s', { connections: 1, streams: 16, rate: 1_000 }),
  grpc(
    'server streaming 1 KB, 8 streams',
    { connections: 1, streams: 8, more: { kind: 'grpc-server-stream', bytes: KILOBYTE } },
    { ...MESSAGES, ...QUICK },
  ),
  grpc(
    'bidirectional 1 KB, 16 streams',
    { connections: 1, streams: 16, more: { kind: 'grpc-bidi', bytes: KILOBYTE } },
    MESSAGES,
  ),
];
