// Holds every scenario of the data plane, protocol by protocol, in the order of the report.
import type { Scenario } from './scenario.ts';
import { CONNECTION_SCENARIOS } from './scenarios-connections.ts';
import { HTTP1_SCENARIOS } from './scenarios-http1.ts';
import { GRPC_SCENARIOS, HTTP2_SCENARIOS } from './scenarios-http2.ts';
import { TCP_SCENARIOS } from './scenarios-tcp.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...HTTP1_SCENARIOS,
  ...CONNECTION_SCENARIOS,
  ...HTTP2_SCENARIOS,
  ...GRPC_SCENARIOS,
  ...TCP_SCENARIOS,
];
